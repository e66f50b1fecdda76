"""What the kernel tells of a folder: real events of real files."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from media_pipelines.media.watch import CannotWatch, Watch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inbox/old").mkdir(parents=True)
    return tmp_path / "inbox"


@pytest.fixture
def watch(folder: Path) -> Iterator[Watch]:
    watch = Watch(folder)
    yield watch
    watch.close()


def heard(watch: Watch, wanted: set[str]) -> set[str]:
    """All hints until those that are wanted have come."""
    found: set[str] = set()
    deadline_s = time.monotonic() + 10
    while not wanted <= found:
        assert time.monotonic() < deadline_s, f"heard only of {found}"
        time.sleep(0.02)
        found.update(watch.hints()[0])
    return found


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def broken(watch: Watch) -> str:
    deadline_s = time.monotonic() + 10
    while not watch.broken:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return watch.broken


def test_it_hears_of_files_that_come_change_and_go(watch: Watch, folder: Path) -> None:
    path = folder / "old/it's \n new.mp4"
    path.write_bytes(b"x")
    assert heard(watch, {"old/it's \n new.mp4"}) == {"old/it's \n new.mp4"}
    with path.open("ab") as appending:
        appending.write(b"y")
    heard(watch, {"old/it's \n new.mp4"})
    path.unlink()
    heard(watch, {"old/it's \n new.mp4"})
    assert watch.hints() == ([], True)


def test_it_hears_what_happens_in_folders_that_come_later(watch: Watch, folder: Path, tmp_path: Path) -> None:
    (folder / "made/deep").mkdir(parents=True)
    heard(watch, {"made"})
    time.sleep(0.1)
    (folder / "made/deep/a.mp4").write_bytes(b"")
    heard(watch, {"made/deep/a.mp4"})

    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere").rename(folder / "moved in")
    heard(watch, {"moved in"})
    time.sleep(0.1)
    (folder / "moved in/deep/b.mp4").write_bytes(b"")
    heard(watch, {"moved in/deep/b.mp4"})


def test_it_passes_over_what_no_scan_would_take(watch: Watch, folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / "@eaDir").mkdir()
    for name in ("a.txt", "a.mp4.part", ".a.mp4", "a.1.partial.mp4", ".hidden/a.mp4", os.fsdecode(b"\xe9.mp4")):
        (folder / name).write_bytes(b"")
    (folder / "a.mp4.part").rename(folder / "a.mp4")
    assert heard(watch, {"a.mp4"}) == {"a.mp4"}


def test_reading_a_file_is_no_event(watch: Watch, folder: Path) -> None:
    (folder / "a.mp4").write_bytes(b"x")
    heard(watch, {"a.mp4"})
    (folder / "a.mp4").read_bytes()
    (folder / "b.mp4").write_bytes(b"x")
    assert heard(watch, {"b.mp4"}) == {"b.mp4"}


def test_a_folder_that_is_moved_away_ends_it_because_paths_are_no_longer_true(watch: Watch, folder: Path) -> None:
    (folder / "old").rename(folder.parent / "away")
    assert "'old' was moved away" in broken(watch)


def test_it_says_when_the_folder_itself_has_gone(watch: Watch, folder: Path) -> None:
    (folder / "old").rmdir()
    folder.rmdir()
    assert "moved, removed" in broken(watch)


def test_it_says_that_folders_are_reached_by_links(folder: Path, watch: Watch) -> None:
    assert not watch.has_links
    (folder / "link").symlink_to("old")
    heard(watch, {"link"})
    assert watch.has_links
    again = Watch(folder)
    assert again.has_links
    again.close()


def test_more_than_it_can_remember_is_not_taken_for_all(
    folder: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_pipelines.media.watch._MOST_HINTS", 3)
    for number in range(5):
        (folder / f"{number}.mp4").write_bytes(b"")
    deadline_s = time.monotonic() + 10
    while len(watch._hints) < 3:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    hints, are_all = watch.hints()
    assert (len(hints), are_all) == (3, False)


def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(CannotWatch, match="no such folder"):
        Watch(tmp_path / "nothing")


def test_where_the_system_allows_no_more_it_says_which_limit_it_was(folder: Path) -> None:
    """In a process of its own that may open nothing more: one's own limit has the error number of the system's."""
    code = """
import os, resource, sys
from pathlib import Path
import watchdog.observers.inotify_c
from media_pipelines.media import watch
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, 4096))
try:
    watch._inotify(Path(sys.argv[1]))
except watch.CannotWatch as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "the limit fs.inotify.max_user_instances is reached\n"


def test_a_limit_that_is_met_below_the_folder_frees_all_that_was_watched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from watchdog.observers.inotify_c import Inotify

    def full(self: Inotify, path: bytes) -> None:
        raise OSError(28, "inotify watch limit reached")

    before, threads = _open_files(), threading.active_count()
    monkeypatch.setattr(Inotify, "add_watch", full)
    for _ in range(5):
        with pytest.raises(CannotWatch, match="max_user_watches is reached"):
            Watch(folder)
    assert (_open_files(), threading.active_count()) == (before, threads)


def test_nothing_is_left_when_it_is_closed(folder: Path) -> None:
    before, threads = _open_files(), threading.active_count()
    watches = [Watch(folder) for _ in range(5)]
    assert threading.active_count() == threads + 5
    for watch in watches:
        watch.close()
    assert (_open_files(), threading.active_count()) == (before, threads)
