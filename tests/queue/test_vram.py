"""What is learned of the GPU memory that jobs take, and what is made of it."""

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_bridge import vram
from jobqueue_bridge.vram import Learned, Work, misdeclared, raised, resolution_class

ENCODE = Work("reencode_streaming", "hevc", "1080p")


@pytest.mark.parametrize(
    ("size", "named"),
    [
        ((160, 90), "480p"),
        ((854, 480), "480p"),
        ((1280, 720), "720p"),
        ((1920, 1080), "1080p"),
        ((1080, 1920), "1080p"),
        ((1920, 1088), "1440p"),
        ((3840, 2160), "2160p"),
        ((7680, 4320), "4320p"),
        ((10000, 10000), "4320p"),
    ],
)
def test_a_resolution_is_named_by_its_shorter_side(size: tuple[int, int], named: str) -> None:
    assert resolution_class(*size) == named


@pytest.mark.parametrize(
    ("declared_mb", "peak_mb", "problem"),
    [
        (4000, 4000, None),
        (4000, 4400, None),
        (4000, 4401, "4401 MB of GPU memory were used, only 4000 MB are declared"),
        (4000, 2000, None),
        (4000, 1999, "only 1999 MB of GPU memory were used, 4000 MB are declared"),
        (1500, 700, None),
        (0, 300, "300 MB of GPU memory were used, only 0 MB are declared"),
    ],
)
def test_a_declaration_is_wrong_beyond_a_margin(declared_mb: int, peak_mb: int, problem: str | None) -> None:
    assert misdeclared(declared_mb, peak_mb) == problem


@pytest.mark.parametrize(
    ("reserved_mb", "learned_mb", "expected_mb"),
    [
        (4000, None, 6000),
        (4500, None, 7000),
        (4000, 3000, 6000),
        (4000, 5100, 6000),
        (4000, 9900, 10000),
        (12000, None, 16000),
        (12000, 40000, 16000),
        (0, None, 1000),
        (16000, None, None),
        (16000, 18000, None),
    ],
)
def test_after_too_little_more_is_reserved_and_never_more_than_there_is(
    reserved_mb: int, learned_mb: int | None, expected_mb: int | None
) -> None:
    assert raised(reserved_mb, learned_mb, 16000) == expected_mb


@given(st.integers(0, 100_000), st.none() | st.integers(0, 200_000), st.integers(0, 64).map(lambda units: units * 1000))
def test_what_is_reserved_next_is_more_in_whole_units_and_fits(
    reserved_mb: int, learned_mb: int | None, budget_mb: int
) -> None:
    wanted_mb = raised(reserved_mb, learned_mb, budget_mb)
    if wanted_mb is None:
        assert reserved_mb >= budget_mb
    else:
        assert reserved_mb < wanted_mb <= budget_mb
        assert wanted_mb % 1000 == 0


def test_what_was_never_measured_is_not_known(connection: sa.Connection) -> None:
    assert vram.learned(connection, ENCODE) is None


def test_runs_are_counted_and_the_newest_twenty_kept(connection: sa.Connection) -> None:
    vram.learn(connection, ENCODE, 9000)
    for number in range(25):
        vram.learn(connection, ENCODE, 3000 + number)
    assert vram.learned(connection, ENCODE) == Learned(ENCODE, runs=26, max_mb=9000, recent_max_mb=3024)
    assert vram.learned(connection, Work("reencode_streaming", "hevc", "720p")) is None
    kept = connection.scalar(sa.text("SELECT recent_mb FROM vram_learned"))
    assert kept == [3000 + number for number in range(24, 4, -1)]


def test_a_type_that_declares_too_little_or_too_much_is_told_after_three_runs(connection: sa.Connection) -> None:
    scarce, ample, right = ENCODE, Work("digest_generate"), Work("compile_mega", "h264", "720p")
    for _ in range(2):
        vram.learn(connection, scarce, 6100)
    assert vram.wrong_declarations(connection) == []
    for work, peak_mb in ((scarce, 5000), *[(ample, 1200)] * 3, *[(right, 5500)] * 3):
        vram.learn(connection, work, peak_mb)
    assert vram.wrong_declarations(connection) == [
        "digest_generate: in 3 runs at most only 1200 MB of GPU memory were used, 8000 MB are declared",
        "reencode_streaming hevc 1080p: in 3 runs at most 6100 MB of GPU memory were used, only 4000 MB are declared",
    ]
