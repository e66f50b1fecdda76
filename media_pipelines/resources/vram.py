"""The GPU memory that one attempt takes: sampled while it runs, written and learned from at its end."""

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial

import psutil
import sqlalchemy as sa

from jobqueue_bridge import lease, nvml, vram
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.queue import Job
from jobqueue_bridge.retry import FailureKind
from jobqueue_bridge.settings import Settings
from media_pipelines.media.errors import is_out_of_gpu_memory
from media_pipelines.resources import gpu

_SAMPLE_S = 1.0


class VramUse:
    """Samples in a thread of its own: a driver that hangs must not stop the beat.

    Nothing is sampled for a job that declares no VRAM, nor on a host without a GPU.
    """

    def __init__(
        self,
        job: Job,
        settings: Settings,
        read: Callable[[], Mapping[int, int] | None] | None = None,
        *,
        present: Callable[[], bool] = nvml.is_present,
    ) -> None:
        self._job = job
        self._budget_mb = settings.most_vram_mb
        self._read = read or partial(gpu.used_by_pid_mb, settings.named_device(job.gpu))
        self._present = present
        self._over = threading.Event()
        self._work: vram.Work | None = vram.Work(job.type)
        self.peak_mb: int | None = None

    def start(self) -> None:
        if self._job.vram_required and self._present():
            threading.Thread(target=self._sample_until_over, name="vram", daemon=True).start()

    def encodes(self, codec: str, width: int, height: int, *, hardware: bool) -> None:
        """What the work is, as far as memory depends on it. Of an encode in software nothing is learned."""
        resolution = vram.resolution_class(width, height)
        self._work = vram.Work(self._job.type, codec, resolution) if hardware else None

    def stop(self) -> str | None:
        """No more samples. Returns a line for the log where the declaration is wrong."""
        self._over.set()
        if self.peak_mb is None or self._work is None:
            return None
        problem = vram.misdeclared(self._job.vram_required, self.peak_mb)
        return problem and f"VRAM: at most {problem}"

    def sample(self) -> bool:
        """Look once. False: there is nothing to read, now or later."""
        used = self._read()
        if used is None:
            return False
        taken_mb = gpu.held_mb(gpu.family_of(os.getpid()), used)
        if taken_mb:  # a container may hide whose memory it is: then nothing is known
            self.peak_mb = max(self.peak_mb or 0, taken_mb)
        return True

    def record(self, connection: sa.Connection, held: Lease) -> None:
        """Write the peak to the attempt. Raises LeaseLost."""
        if self.peak_mb is not None:
            lease.record_peak_vram(connection, held, self.peak_mb)

    def learn(self, connection: sa.Connection) -> None:
        """The attempt completed: what it took is what such work takes."""
        if self.peak_mb is not None and self._work is not None:
            vram.learn(connection, self._work, self.peak_mb)

    def exhausted(self) -> bool:
        """Whether the job has reserved all the VRAM that one job can: the whole of the largest GPU."""
        return self._job.vram_required >= self._budget_mb

    def after_failure(
        self, connection: sa.Connection, held: Lease, error: str, kind: FailureKind
    ) -> tuple[str, FailureKind]:
        """The error and its kind. After running out of GPU memory the next attempt reserves more; a job that had the
        whole budget has failed for good. Raises LeaseLost."""
        if kind != "capacity" or not is_out_of_gpu_memory(error):
            return error, kind
        known = vram.learned(connection, self._work) if self._work else None
        reserved_mb = self._job.vram_required
        wanted_mb = vram.raised(reserved_mb, known.recent_max_mb if known else None, self._budget_mb)
        if wanted_mb is None:
            return (
                f"The GPU memory does not suffice, although {reserved_mb} MB, all of it, were reserved\n{error}",
                "permanent",
            )
        lease.raise_vram(connection, held, wanted_mb)
        line = f"Out of GPU memory: the next attempt reserves {wanted_mb} MB instead of {reserved_mb} MB"
        lease.log(connection, held, [line])
        return error, kind

    def _sample_until_over(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            try:
                if not self.sample():
                    return
            except psutil.Error:  # a child that ended while it was looked at
                continue
