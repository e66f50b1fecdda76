"""NVIDIA's library, and what it says of the memory of this host's GPUs. A host without one has None everywhere."""

import importlib
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from jobqueue_bridge.devices import Device

MB = 1024 * 1024

Answer = TypeVar("Answer")
# Where the driver shows itself, also in a container, and under Windows' Linux.
_SIGNS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")
_one_reader = threading.Lock()


@dataclass(frozen=True)
class Memory:
    """MB of one GPU, whoever uses them."""

    total_mb: int
    used_mb: int
    free_mb: int


@cache
def is_present() -> bool:
    """Whether this host may have an NVIDIA GPU. Loads nothing."""
    return any(Path(sign).exists() for sign in _SIGNS)


def library() -> Any:
    """`pynvml`, whose other package of the same name warns on import that it only wraps it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return importlib.import_module("pynvml")


def handle_of(pynvml: Any, device: Device) -> Any:
    """Of an initialised library. Raises pynvml.NVMLError where there is no such GPU."""
    if device.uuid:
        return pynvml.nvmlDeviceGetHandleByUUID(device.uuid)
    return pynvml.nvmlDeviceGetHandleByIndex(device.index)


def ask(read: Callable[[Any], Answer]) -> Answer | None:
    """What `read` finds with an open NVML. None: no GPU, no driver, or NVML refuses."""
    pynvml = library()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return read(pynvml)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def memory(devices: Sequence[Device]) -> Mapping[int, Memory]:
    """By index; GPUs that cannot be read are left out, all of them while another thread waits for the driver."""
    if not is_present() or not _one_reader.acquire(blocking=False):
        return {}
    try:
        found = {device.index: ask(lambda pynvml, of=device: _memory(pynvml, of)) for device in devices}  # type: ignore[misc]
    finally:
        _one_reader.release()
    return {index: seen for index, seen in found.items() if seen is not None}


def _memory(pynvml: Any, device: Device) -> Memory:
    seen = pynvml.nvmlDeviceGetMemoryInfo(handle_of(pynvml, device))
    return Memory(seen.total // MB, seen.used // MB, seen.free // MB)
