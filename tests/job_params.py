"""The least that each job type must be told, for tests that go through all of them."""

from typing import Any
from uuid import UUID

from jobqueue_bridge.params import MODELS
from jobqueue_bridge.vocabulary import JobType

# Beside videoId, which every type about one video takes.
_REQUIRED: dict[JobType, dict[str, Any]] = {
    JobType.TRANSCODE: {"policy": {"target_video_codec": "hevc"}},
    JobType.MOVE_TO_LIBRARY: {"directoryType": "studios"},
}


def least(kind: JobType, video: UUID | str) -> dict[str, Any]:
    about = {"videoId": str(video)} if "video_id" in MODELS[kind].model_fields else {}
    return {**about, **_REQUIRED.get(kind, {})}
