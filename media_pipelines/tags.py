"""The run tags by which the coordinator's limits, the sensors and people find runs."""

from collections.abc import Mapping

from jobqueue_bridge.devices import place_of

TYPE_TAG = "media/type"
CATEGORY_TAG = "media/category"
JOB_TAG = "media/job_id"
ATTEMPT_TAG = "media/attempt"
PRIORITY_TAG = "media/priority"
ORIGIN_TAG = "media/origin"
VIDEO_TAG = "media/video_id"
# The sensor whose runs the queue has asked for.
DISPATCHER = "dispatch"
# The slot that a run holds, by its category. A run that was launched in Dagster itself holds none: its rows do.
SLOT_TAG = "media/slot"
# Such a run, by the category of its row, or SEVERAL: how many of them may wait for their rows at a time.
LAUNCHED_TAG = "media/launched"
SEVERAL = "several"
# Its own id, where it was not Dagster's user who ended it.
ENDED_TAG = "media/ended_by_itself"
# Its own id, once it has rows: a re-execution copies the tags of the run that it repeats.
ADOPTED_TAG = "media/adopted"
# Where the settings name the GPUs: which one a run is given, and its slot there.
GPU_TAG = "media/gpu"
GPU_SLOT_TAG = "media/gpu_slot"


def facts_of(tags: Mapping[str, str]) -> dict[str, object]:
    """Which job a run is of, as log lines name it."""
    names = {"job_id": JOB_TAG, "type": TYPE_TAG, "attempt": ATTEMPT_TAG}
    facts: dict[str, object] = {name: tags[tag] for name, tag in names.items() if tag in tags}
    return {**facts, "attempt": int(tags[ATTEMPT_TAG])} if tags.get(ATTEMPT_TAG, "").isdecimal() else facts


VRAM_TAGS = ("media/vram_", GPU_TAG)
"""What the tags begin with that say what a run holds of the GPUs."""


def vram_tag(unit: int) -> str:
    """The tag of one unit of VRAM; `dagster.yaml` limits each to one run at a time. Those of GPU 0 do not say so: a
    second GPU changes nothing for runs that are already tagged."""
    gpu, number = place_of(unit)
    return f"media/vram_g{gpu}_u{number:02d}" if gpu else f"media/vram_u{number:02d}"


def gpu_slot(category: str, gpu: int) -> str:
    """The value of GPU_SLOT_TAG; `dagster.yaml` limits each to a GPU's slots."""
    return f"{category}@{gpu}"
