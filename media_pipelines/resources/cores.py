"""How many cores a run may use. What it starts, ffmpeg and the probers, inherits that and sizes its threads by it."""

import os
from pathlib import Path
from uuid import UUID

from jobqueue_bridge import drains
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings


def keep_to_cores(settings: Settings, job_id: UUID) -> str | None:
    """Keep this process to as many cores as the drain of the job allows; what was done, or None.

    All runs of a drain share the same cores, the first ones: the limit is one for all of them together.
    """
    with engine_for(settings).begin() as connection:
        wanted = drains.cores_for(connection, job_id)
    usable = sorted(os.sched_getaffinity(0))
    if wanted is None or wanted >= len(usable):
        return None
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), usable[:wanted])
    return f"Kept to {wanted} of {len(usable)} cores"
