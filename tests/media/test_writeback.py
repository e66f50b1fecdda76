import os
import threading
from pathlib import Path

from media_pipelines.media.writeback import written_back


def test_a_file_that_comes_later_is_sent_on_and_let_go(tmp_path: Path) -> None:
    path = tmp_path / "growing.mp4"
    with written_back(path):
        path.write_bytes(b"x" * 1_000_000)
        thread = _sender(path)
        while not _is_open(path):
            thread.join(0.05)
            assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()
    assert not _is_open(path)
    assert path.read_bytes() == b"x" * 1_000_000


def test_a_file_that_never_comes_is_no_reason_to_fail(tmp_path: Path) -> None:
    path = tmp_path / "never.mp4"
    with written_back(path):
        thread = _sender(path)
    thread.join(10)
    assert not thread.is_alive()
    assert not path.exists()


def _sender(path: Path) -> threading.Thread:
    return next(thread for thread in threading.enumerate() if thread.name == f"writeback of {path.name}")


def _is_open(path: Path) -> bool:
    return any(os.path.realpath(number) == str(path) for number in Path("/proc/self/fd").iterdir())
