"""Asking the kernel for a signal when the parent goes away, however it goes. Linux."""

import ctypes
import signal
from typing import Any

_PR_SET_PDEATHSIG = 1


def libc() -> Any:
    """Loaded before a fork, because loading takes locks that another thread may hold."""
    return ctypes.CDLL(None)


def die_with_parent(number: signal.Signals, loaded: Any = None) -> None:
    """The "parent" is the thread that forked this process."""
    (loaded or libc()).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
