"""What the platform costs while it has nothing to do."""

import time

import psutil

from bench.figures import Figure
from jobqueue_bridge.settings import Settings

_LOOK_S = 20


def measure(settings: Settings) -> list[Figure]:
    before = _usage(settings)
    time.sleep(_LOOK_S)
    after = _usage(settings)
    cpu_s = sum(after[pid][0] - before[pid][0] for pid in before.keys() & after.keys())
    memory_mb = sum(memory for _, memory in after.values()) / 1e6
    return [
        Figure("idle: processor time", f"{100 * cpu_s / _LOOK_S:.1f} % of one core"),
        Figure("idle: memory (proportional set size)", f"{memory_mb:.0f} MB"),
    ]


def _usage(settings: Settings) -> dict[int, tuple[float, int]]:
    """pid → (processor seconds, bytes) of every process of the platform."""
    usage = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("MEDIA_PIPELINES_HOME") == str(settings.home):
                times = process.cpu_times()
                usage[process.pid] = (times.user + times.system, process.memory_full_info().pss)
        except psutil.Error:
            continue
    return usage
