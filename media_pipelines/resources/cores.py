"""How many cores a run may use. What it starts, ffmpeg and the probers, inherits that and sizes its threads by it."""

import os
from pathlib import Path


def keep_to_cores(wanted: int | None) -> str | None:
    """Keep this process to as many cores; what was done, or None.

    All runs of a drain share the same cores, the first ones: the limit is one for all of them together.
    """
    usable = sorted(os.sched_getaffinity(0))
    if wanted is None or wanted >= len(usable):
        return None
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), usable[:wanted])
    return f"Kept to {wanted} of {len(usable)} cores"
