"""Params of the job that makes one video comply with a policy."""

from uuid import UUID

from pydantic import Field, model_validator

from jobqueue_bridge.params.fields import LibraryPath, Params, SomeVideo
from jobqueue_bridge.policy import Policy


class Transcode(Params):
    """Bring one video into line with a policy: in its place, the original kept, or below the policy's destination."""

    video_id: SomeVideo | None = Field(default=None, description="The video; or name it by inputPath.")
    input_path: LibraryPath | None = Field(default=None, description="Instead of videoId, or the same video's path.")
    policy: Policy = Field(description="What stands under `transcode:` in a policy file, with the same keys.")
    force: bool = Field(default=False, description="Also where this content was tried under this policy before.")

    @model_validator(mode="after")
    def _names_a_source(self) -> "Transcode":
        if self.video_id is None and self.input_path is None:
            raise ValueError("videoId or inputPath is required")
        return self

    def unique_key(self) -> str | None:
        return f"transcode:{self.video_id or self.input_path}"

    def video_ids(self) -> tuple[UUID, ...]:
        return (self.video_id,) if self.video_id else ()
