"""The chain of jobs that each new video gets, as the settings name it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from jobqueue_bridge import params
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.vocabulary import PRIORITY_DEFAULT, PRIORITY_HIGHEST, PRIORITY_LOWEST, JobType

_SOME_VIDEO = str(UUID(int=0))
# What differs from video to video cannot stand in the settings.
_OF_ONE_VIDEO = ("videoId", "inputPath", "outputPath", "filename")


class Link(BaseModel):
    """One job of the chain: of a type that is about one video, with its params but for the video."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: JobType
    params: Mapping[str, Any] = Field(default_factory=dict)
    priority: int = Field(default=PRIORITY_DEFAULT, ge=PRIORITY_HIGHEST, le=PRIORITY_LOWEST)

    @field_validator("type", mode="before")
    @classmethod
    def _is_about_one_video(cls, value: Any) -> Any:
        about_one = [kind.value for kind, model in params.MODELS.items() if "video_id" in model.model_fields]
        if value not in about_one:
            known = "is about no single video" if value in list(JobType) else "is no job type"
            raise ValueError(f"{value!r} {known}; there are {', '.join(sorted(about_one))}")
        return value

    @model_validator(mode="after")
    def _can_run(self) -> "Link":
        """As far as can be said before there is a video."""
        if fixed := [name for name in _OF_ONE_VIDEO if name in self.params]:
            raise ValueError(f"{self.type}: {fixed[0]} differs from video to video: leave it out")
        try:
            params.parse(self.type, self.params_for(_SOME_VIDEO))
        except InvalidJob as error:
            raise ValueError(f"{self.type}: {error}") from error
        return self

    def params_for(self, video_id: UUID | str) -> dict[str, Any]:
        return {**self.params, "videoId": str(video_id)}


def as_given(value: Any) -> Sequence[Any]:
    """A name stands for a job without params. Raises ValueError."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list of job types, such as [validate, thumbnail_generate], got {value!r}")
    return [{"type": each} if isinstance(each, str) else each for each in value]
