"""Sends a growing file to the disk while it is written, so that the flush before it is published has little left.

Without it the kernel waits until a tenth of memory is unwritten, then slows the writer down; the flush pays the rest.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_EVERY_S = 0.25
_SYNC_FILE_RANGE_WRITE = 2


@contextlib.contextmanager
def written_back(path: Path) -> Iterator[None]:
    """Within the block, what comes to stand in the file is sent on at once. It need not exist yet. Promises nothing:
    where the system cannot do it, or there is no such file, the block runs as it would without."""
    ended = threading.Event()
    thread = threading.Thread(target=_send_on, args=(path, ended), name=f"writeback of {path.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _send_on(path: Path, ended: threading.Event) -> None:
    sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if sync_file_range is None:
        return
    with contextlib.ExitStack() as opened:
        descriptor: int | None = None
        while not ended.wait(_EVERY_S):
            if descriptor is None:
                with contextlib.suppress(OSError):
                    descriptor = os.open(path, os.O_RDONLY)
                    opened.callback(os.close, descriptor)
            if descriptor is not None:
                sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)
