"""Params of the jobs that make one video of several."""

from pydantic import Field, model_validator

from jobqueue_bridge.params.fields import Int, Mp4Path, Orientation, Params, Seconds


class CompileRandom(Params):
    """Join randomly chosen videos into one."""

    count: Int = Field(default=10, ge=1, le=1000, description="How many videos; fewer if fewer fit.")
    min_duration: Seconds | None = Field(default=None, description="Seconds that a source must last at least.")
    max_duration: Seconds | None = Field(default=None, description="Seconds that a source may last at most.")
    orientation: Orientation | None = Field(default=None, description="Only videos that are shown so.")
    output_path: Mp4Path | None = Field(default=None, description="Default: compilations/random-<job>.mp4.")
    seed: Int | None = Field(
        default=None,
        ge=0,
        le=2**53,
        description="The same seed picks the same videos; default: from the job's id.",
    )

    @model_validator(mode="after")
    def _durations_in_order(self) -> "CompileRandom":
        if self.min_duration is not None and self.max_duration is not None and self.min_duration > self.max_duration:
            raise ValueError("minDuration must not exceed maxDuration")
        return self

    def unique_key(self) -> str | None:
        return f"compile_random:{self.output_path}" if self.output_path else None
