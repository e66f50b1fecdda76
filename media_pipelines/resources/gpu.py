"""The doorway to NVML. A host without an NVIDIA GPU has None everywhere, and the declared VRAM decides alone."""

import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import dagster as dg
import psutil

_MB = 1024 * 1024


@dataclass(frozen=True)
class GpuMemory:
    """MB of the first GPU: what is free, and what each process on it holds."""

    free_mb: int
    by_pid_mb: dict[int, int]


class Gpu(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Live GPU memory."""

    def memory(self) -> GpuMemory | None:
        """None: no GPU, no driver, or NVML refuses."""
        pynvml: Any = _nvml()
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return None
        try:
            device = pynvml.nvmlDeviceGetHandleByIndex(0)
            free = pynvml.nvmlDeviceGetMemoryInfo(device).free // _MB
            return GpuMemory(int(free), _by_pid(device))
        except pynvml.NVMLError:
            return None
        finally:
            pynvml.nvmlShutdown()

    def free_beside_reservations_mb(self, reserved: Iterable[tuple[int | None, int]]) -> int | None:
        """Free memory less what runs have reserved and not taken yet.

        `reserved`: for each active job the pid of its run (None: not started) and the MB it declared. What a run and
        its children use counts as taken.
        """
        memory = self.memory()
        if memory is None:
            return None
        pending = sum(max(0, mb - _used_by(pid, memory)) for pid, mb in reserved)
        return memory.free_mb - pending


def _nvml() -> ModuleType:
    """NVIDIA's own binding. The package of the same name warns on import that it only wraps it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import pynvml
    return pynvml


def _by_pid(device: object) -> dict[int, int]:
    pynvml: Any = _nvml()
    processes = [
        *pynvml.nvmlDeviceGetComputeRunningProcesses(device),
        *pynvml.nvmlDeviceGetGraphicsRunningProcesses(device),
    ]
    return {process.pid: (process.usedGpuMemory or 0) // _MB for process in processes}


def _used_by(pid: int | None, memory: GpuMemory) -> int:
    if pid is None:
        return 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(memory.by_pid_mb.get(member.pid, 0) for member in family)
    return 0
