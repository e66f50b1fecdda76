"""A file has arrived once it has stood still: what counts as a change, whatever clocks and copying programs do."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_pipelines.media.stability import GONE, Facts, Gate, Pending, is_unfinished

STABLE_S = 10.0
SMALL, LARGE = Facts(1, 1, 1), Facts(2, 2, 2)


def of(path: Path) -> Facts:
    return Facts.of(path.stat())


def test_a_file_is_ready_once_it_has_not_changed_for_long_enough() -> None:
    gate = Gate(STABLE_S)
    assert [gate.see("a", SMALL, now_s) for now_s in (0, 5, 9.9, 10, 60)] == [False, False, False, True, True]


def test_a_file_that_grows_is_new_at_each_look() -> None:
    gate = Gate(STABLE_S)
    assert not any(gate.see("a", Facts(size, size, size), float(10 * size)) for size in range(50))
    assert gate.see("a", Facts(49, 49, 49), 500.0)


def test_what_was_taken_is_told_again_only_when_it_has_changed() -> None:
    gate = Gate(STABLE_S)
    gate.see("a", SMALL, 0)
    gate.take(["a"])
    assert not gate.see("a", SMALL, 100)
    assert not gate.see("a", LARGE, 200), "it has changed: it waits anew"
    assert gate.see("a", LARGE, 210)


def test_what_is_forgotten_begins_anew() -> None:
    gate = Gate(STABLE_S)
    gate.see("a", SMALL, 0)
    gate.forget("a")
    assert (len(gate), gate.see("a", SMALL, 20)) == (0, False)


def test_a_file_that_vanishes_and_returns_has_changed_twice() -> None:
    gate = Gate(STABLE_S)
    assert [gate.see("a", facts, now_s) for facts, now_s in [(SMALL, 0), (GONE, 8), (SMALL, 11), (SMALL, 20)]] == [
        False
    ] * 4
    assert gate.see("a", SMALL, 21)


def test_a_clock_that_begins_anew_costs_one_wait_and_never_takes_a_file_early() -> None:
    gate = Gate(STABLE_S)
    gate.resume([("a", Pending(SMALL, 90_000.0))], [])
    assert [gate.see("a", SMALL, now_s) for now_s in (5, 14, 15)] == [False, False, True]


def test_no_time_at_all_may_be_asked_for() -> None:
    assert Gate(0).see("a", SMALL, 0)


def test_those_that_wait_longest_are_looked_at_first_and_no_more_than_asked_for() -> None:
    gate = Gate(STABLE_S)
    for number in range(100):
        gate.see(f"{number}", SMALL, float(number))
    gate.see("0", LARGE, 99.5)
    assert gate.due(30.0, at_most=5) == ["1", "2", "3", "4", "5"]
    assert len(gate.due(30.0, at_most=1_000)) == 20, "those of the first 20 seconds, without the one that changed"
    assert gate.is_settling(109.0)
    assert not gate.is_settling(109.5)


def test_what_somebody_else_works_on_lets_others_pass() -> None:
    gate = Gate(STABLE_S)
    gate.see("a", SMALL, 0)
    gate.see("b", SMALL, 0)
    gate.postpone(["a"], 12)
    assert gate.due(12, 10) == ["b"]
    assert gate.due(22, 10) == ["b", "a"]


def test_memory_is_bounded() -> None:
    gate = Gate(STABLE_S, most=3)
    for name in "abcd":
        gate.see(name, SMALL, 0)
    assert (len(gate), gate.is_full) == (3, True)
    gate.take("abc")
    assert not gate.is_full
    gate.see("d", SMALL, 1)
    gate.take("d")
    assert [path for path, _ in gate.taken] == ["b", "c", "d"]


def test_a_gate_goes_on_where_another_was() -> None:
    before, after = Gate(STABLE_S), Gate(STABLE_S)
    before.see("taken", SMALL, 0)
    before.take(["taken"])
    before.see("pending", SMALL, 5)
    after.resume(list(before.pending), list(before.taken))
    assert not after.see("taken", SMALL, 15)
    assert after.see("pending", SMALL, 15)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.floats(0, 30)), max_size=60))
def test_no_file_is_ever_ready_before_it_was_seen_unchanged_for_the_whole_time(
    looks: list[tuple[str, int, float]],
) -> None:
    gate, now_s = Gate(STABLE_S), 0.0
    since: dict[str, tuple[int, float]] = {}
    for path, size, pause_s in looks:
        now_s += pause_s
        if since.get(path, (None,))[0] != size:
            since[path] = (size, now_s)
        ready = gate.see(path, Facts(size, 0, 0), now_s)
        assert ready == (now_s - since[path][1] >= STABLE_S)
        assert set(gate.due(now_s, 100)) == {path for path, (_, at_s) in since.items() if now_s - at_s >= STABLE_S}


# What real files show


def test_a_file_that_was_written_anew_has_changed_though_its_size_and_time_were_put_back(tmp_path: Path) -> None:
    """As copying programs put back the time of what they copy."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    before = of(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    after = of(path)
    assert (before.size_bytes, before.mtime_ns) == (after.size_bytes, after.mtime_ns)
    assert before != after


def test_a_file_that_was_put_in_anothers_place_has_changed(tmp_path: Path) -> None:
    path, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    for one in (path, other):
        one.write_bytes(b"same")
        os.utime(one, ns=(1, 1))
    before = of(path)
    other.rename(path)
    assert of(path) != before


def test_a_file_from_the_future_is_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    os.utime(path, (4_000_000_000, 4_000_000_000))
    gate = Gate(STABLE_S)
    assert [gate.see("a", of(path), now_s) for now_s in (0, 10)] == [False, True]


@pytest.mark.parametrize(
    "name",
    [
        *("a.mp4.part", "a.part.mp4", "a.temp.mp4", "a.TMP.mkv", "a.mp4.crdownload", "a.partial.mp4"),
        *(".a.mp4", "~a.mp4", "a.mp4~", "a.mp4.download", ".a.mp4.Xy12Zw", "a.mp4.filepart"),
    ],
)
def test_a_name_tells_that_a_file_is_still_written(name: str) -> None:
    assert is_unfinished(name)


@pytest.mark.parametrize(
    "name", ["Kill.Bill.Part.1.mkv", "part.mp4", "a~b.mp4", "temp.mp4", "a.b.c.mp4", "-rf.mp4", "a"]
)
def test_other_names_tell_nothing(name: str) -> None:
    assert not is_unfinished(name)
