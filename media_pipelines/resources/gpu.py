"""The doorway to NVML. A host without an NVIDIA GPU has None everywhere, and the declared VRAM decides alone."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
from pydantic import Field

from jobqueue_bridge import nvml
from jobqueue_bridge.devices import Device
from media_pipelines.resources.doorway import Doorway


@dataclass(frozen=True)
class GpuMemory:
    """MB of one GPU: what is free, and what each process on it holds."""

    free_mb: int
    by_pid_mb: dict[int, int]


class Gpu(Doorway):
    """Live GPU memory, or what `Gpu(free_mb=…)` says in its place."""

    free_mb: int | None = Field(
        default=None, ge=0, description="MB that each GPU has free; empty: what its driver says."
    )

    def memory(self, device: Device) -> GpuMemory | None:
        """None: no such GPU, no driver, or NVML refuses."""
        if self.free_mb is not None:
            return GpuMemory(self.free_mb, {})
        return nvml.ask(lambda pynvml: _memory_of(pynvml, device))

    def free_beside_reservations_mb(self, reserved: Iterable[tuple[int | None, int]], device: Device) -> int | None:
        """A GPU's free memory less what runs have reserved and not taken yet.

        `reserved`: for each active job on it the pid of its run (None: not started) and the MB it declared. What a run
        and its children use counts as taken.
        """
        memory = self.memory(device)
        if memory is None:
            return None
        pending = sum(max(0, mb - _used_by(pid, memory)) for pid, mb in reserved)
        return memory.free_mb - pending


def _memory_of(pynvml: Any, device: Device) -> GpuMemory:
    handle = nvml.handle_of(pynvml, device)
    free = pynvml.nvmlDeviceGetMemoryInfo(handle).free // nvml.MB
    return GpuMemory(int(free), _by_pid(pynvml, handle))


def _all_gpus(pynvml: Any) -> dict[int, int]:
    used: dict[int, int] = {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        for pid, mb in _by_pid(pynvml, pynvml.nvmlDeviceGetHandleByIndex(index)).items():
            used[pid] = used.get(pid, 0) + mb
    return used


def _by_pid(pynvml: Any, device: object) -> dict[int, int]:
    processes = [
        *pynvml.nvmlDeviceGetComputeRunningProcesses(device),
        *pynvml.nvmlDeviceGetGraphicsRunningProcesses(device),
    ]
    used: dict[int, int] = {}
    for process in processes:  # one that computes and draws is in both lists
        used[process.pid] = max(used.get(process.pid, 0), (process.usedGpuMemory or 0) // nvml.MB)
    return used


def used_by_pid_mb(device: Device | None = None) -> dict[int, int] | None:
    """What each process holds on a GPU, or on all together. None: no GPU, no driver, or NVML refuses."""
    if device is None:
        return nvml.ask(_all_gpus)
    return nvml.ask(lambda pynvml: _by_pid(pynvml, nvml.handle_of(pynvml, device)))


def family_of(pid: int) -> set[int]:
    """A process and all that descend from it; empty where it is gone."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return {pid, *(child.pid for child in process.children(recursive=True))}
    return set()


def held_mb(pids: Iterable[int], by_pid_mb: Mapping[int, int]) -> int:
    return sum(by_pid_mb.get(pid, 0) for pid in pids)


def _used_by(pid: int | None, memory: GpuMemory) -> int:
    return 0 if pid is None else held_mb(family_of(pid), memory.by_pid_mb)
