"""The run tags by which the coordinator's limits, the sensors and people find runs."""

TYPE_TAG = "media/type"
CATEGORY_TAG = "media/category"
JOB_TAG = "media/job_id"
ATTEMPT_TAG = "media/attempt"
PRIORITY_TAG = "media/priority"
ORIGIN_TAG = "media/origin"


def vram_tag(unit: int) -> str:
    """The tag of one unit of VRAM; `dagster.yaml` limits each to one run at a time."""
    return f"media/vram_u{unit:02d}"
