"""Params of the jobs that make one video of several."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from jobqueue_bridge.params.fields import (
    Crf,
    DirectoryType,
    Int,
    Mp4Path,
    Number,
    Orientation,
    Params,
    Preset,
    Seconds,
    SomeVideo,
)

QUAD_CELLS = 4
_MOST_SOURCES = 1000


def _multiple_of_four(pixels: int) -> int:
    """Two cells stand side by side, and each is even."""
    if pixels % 4:
        raise ValueError(f"must be a multiple of 4, got {pixels}")
    return pixels


Tag = Annotated[str, Field(min_length=1, max_length=200)]
GridPixels = Annotated[Int, Field(ge=64, le=7680), AfterValidator(_multiple_of_four)]


class Criteria(Params):
    """Which videos of the library a compilation may be made of."""

    min_duration: Seconds | None = Field(default=None, description="Seconds that a source must last at least.")
    max_duration: Seconds | None = Field(default=None, description="Seconds that a source may last at most.")
    orientation: Orientation | None = Field(default=None, description="Only videos that are shown so.")
    directory_type: DirectoryType | None = Field(default=None, description="Sources of one folder below library/ only.")
    tags: list[Tag] | None = Field(
        default=None, min_length=1, max_length=50, description="Tags that a source must have, all of them."
    )
    seed: Int | None = Field(
        default=None,
        ge=0,
        le=2**53,
        description="The same seed picks the same videos; default: from the job's id.",
    )

    @model_validator(mode="after")
    def _durations_in_order(self) -> "Criteria":
        if self.min_duration is not None and self.max_duration is not None and self.min_duration > self.max_duration:
            raise ValueError("minDuration must not exceed maxDuration")
        return self

    def _criteria_that_are_set(self) -> list[str]:
        fields = Criteria.model_fields
        return [fields[name].alias or name for name in fields if getattr(self, name) is not None]


class CompileRandom(Criteria):
    """Join randomly chosen videos into one."""

    count: Int = Field(default=10, ge=1, le=_MOST_SOURCES, description="How many videos; fewer if fewer fit.")
    output_path: Mp4Path | None = Field(default=None, description="Default: compilations/random-<job>.mp4.")

    def unique_key(self) -> str | None:
        return f"compile_random:{self.output_path}" if self.output_path else None


class NamedOrChosen(Criteria):
    """A compilation of videos that are named in their order, or else chosen like those of compile_random."""

    def _names_or_criteria(self, named: list[UUID] | None, *others: str) -> None:
        useless = [*self._criteria_that_are_set(), *others]
        if named is not None and useless:
            raise ValueError(f"videoIds names the videos: {', '.join(useless)} would have no effect")


class CompileQuad(NamedOrChosen):
    """Four videos at a time, as a grid of two by two."""

    sources: list[SomeVideo] | None = Field(
        default=None,
        alias="videoIds",
        min_length=QUAD_CELLS,
        max_length=QUAD_CELLS,
        description="Four ids: upper left, upper right, lower left, lower right. Default: chosen by the criteria.",
    )
    width: GridPixels = Field(default=1920, description="Pixels of the whole grid; a cell has half of them.")
    height: GridPixels = Field(default=1080, description="Pixels of the whole grid; a cell has half of them.")
    fps: Number = Field(default=30, ge=1, le=60, description="Frames a second.")
    audio: Literal["mix", "first", "1", "2", "3", "4", "none"] = Field(
        default="mix", description="Sound of all cells, of the first that has any, of one cell, or none."
    )
    length: Literal["shortest", "longest", "loop"] = Field(
        default="longest",
        description="Ends with the shortest source; or with the longest, while the others show their last picture or,"
        " with loop, start again.",
    )
    preset: Preset = "medium"
    crf: Crf = 23
    output_path: Mp4Path | None = Field(default=None, description="Default: compilations/quad-<job>.mp4.")

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> "CompileQuad":
        self._names_or_criteria(self.sources)
        return self

    def unique_key(self) -> str | None:
        return f"compile_quad:{self.output_path}" if self.output_path else None

    def video_ids(self) -> tuple[UUID, ...]:
        return tuple(self.sources or ())


class CompileMega(NamedOrChosen):
    """Many videos as one: equally loud, with a chapter for each, if wanted with cross-fades and title cards."""

    sources: list[SomeVideo] | None = Field(
        default=None,
        alias="videoIds",
        min_length=1,
        max_length=_MOST_SOURCES,
        description="The videos, in their order. Default: chosen by the criteria.",
    )
    count: Int | None = Field(
        default=None, ge=1, le=_MOST_SOURCES, description="How many videos to choose; fewer if fewer fit. Default: 100."
    )
    crossfade: Seconds = Field(default=0, le=10, description="Seconds that one video fades into the next; 0: a cut.")
    title_cards: Seconds = Field(
        default=0, le=30, description="Seconds that a video's title is shown before it; 0: no title cards."
    )
    level_loudness: bool = Field(default=True, description="Make all sources equally loud (EBU R128).")
    loudness: Number = Field(default=-16, ge=-40, le=-5, description="LUFS that each source is brought to.")
    preset: Preset = "medium"
    crf: Crf = 23
    output_path: Mp4Path | None = Field(default=None, description="Default: compilations/mega-<job>.mp4.")

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> "CompileMega":
        self._names_or_criteria(self.sources, *(["count"] if self.count is not None else []))
        return self

    def unique_key(self) -> str | None:
        return f"compile_mega:{self.output_path}" if self.output_path else None

    def video_ids(self) -> tuple[UUID, ...]:
        return tuple(self.sources or ())
