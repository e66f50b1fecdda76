"""Params of the jobs that look at what a video shows and is heard to say."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jobqueue_bridge.params.fields import Crf, Int, Mp4Path, Number, OneVideo, Preset, Seconds

Aspect = Literal["source", "16:9", "9:16", "1:1", "4:5"]
Fade = Annotated[Seconds, Field(le=5)]
Label = Annotated[str, Field(min_length=1, max_length=200)]


class SceneExtract(OneVideo):
    """Find the cuts, dissolves and fades of a video, and its scenes; export them, if wanted as files of their own."""

    similarity: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How alike shots of one scene are; more makes more scenes. Default: what suits the model.",
    )
    min_scene_length: Seconds = Field(
        default=1, le=3600, description="Seconds; a shorter scene joins the neighbour that it is more like."
    )
    exports: list[Literal["json", "csv", "edl", "otio"]] = Field(
        default=["json", "csv", "edl"], max_length=4, description="Lists of shots and scenes, written below scenes/."
    )
    files: Literal["none", "copy", "exact"] = Field(
        default="none",
        description="A file for each scene: copy is quick and begins at the key frame before it, exact is encoded.",
    )
    preset: Preset = "veryfast"
    crf: Crf = 20

    def unique_key(self) -> str | None:
        return f"scene_extract:{self.video_id}"


class TagGeneration(OneVideo):
    """Say what a video shows: tags with score, count, time spans and the model that found them."""

    min_score: Number = Field(default=0.25, ge=0, le=1, description="How sure the model must be of a shot's tag.")
    max_tags: Int = Field(default=20, ge=1, le=200, description="At most so many, the surest first.")
    labels: list[Label] | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Words of your own to look for; needs a zero-shot model in the settings.",
    )
    apply: bool = Field(default=True, description="Add them to the tags on the video's row, by which videos are found.")

    def unique_key(self) -> str | None:
        return f"tag_generation:{self.video_id}"


class HighlightGenerate(OneVideo):
    """Rank the moments in which most happens, and join the best of them to a reel."""

    target_length: Seconds = Field(default=30, ge=1, le=3600, description="Seconds of the reel.")
    min_moment: Seconds = Field(default=2, ge=0.5, le=60, description="Seconds of a moment at least.")
    max_moment: Seconds = Field(default=8, ge=1, le=300, description="Seconds of a moment at most.")
    reel: bool = Field(default=True, description="Make the film; without it the moments are only listed.")
    motion: Number = Field(default=0.35, ge=0, le=1, description="What movement counts.")
    loudness: Number = Field(default=0.35, ge=0, le=1, description="What loud sound counts.")
    faces: Number = Field(default=0.15, ge=0, le=1, description="What faces count.")
    novelty: Number = Field(default=0.15, ge=0, le=1, description="What pictures unlike the others count.")
    crossfade: Fade = Field(
        default=0.2, description="Seconds that picture and sound of one fade into the next; 0: a cut."
    )
    preset: Preset = "veryfast"
    crf: Crf = 21
    output_path: Mp4Path | None = Field(default=None, description="Default: highlights/, named after the video.")

    @model_validator(mode="after")
    def _moments_in_order(self) -> "HighlightGenerate":
        if self.min_moment > self.max_moment:
            raise ValueError("minMoment must not exceed maxMoment")
        if not any((self.motion, self.loudness, self.faces, self.novelty)):
            raise ValueError("one of motion, loudness, faces and novelty must count for something")
        return self

    def unique_key(self) -> str | None:
        return f"highlight_generate:{self.video_id}:{self.output_path or ''}"


class ClipGenerate(OneVideo):
    """Cut clips out of a video or a digest: at shots and pauses, if wanted in another shape around the faces."""

    count: Int = Field(default=3, ge=1, le=50, description="How many clips; fewer where the video has no more.")
    min_length: Seconds = Field(default=5, ge=1, le=3600, description="Seconds of a clip at least.")
    max_length: Seconds = Field(default=30, ge=1, le=3600, description="Seconds of a clip at most.")
    aspect: Aspect = Field(default="source", description="The shape of the picture; what is cut off avoids faces.")
    height: Int | None = Field(
        default=None, ge=64, le=4320, multiple_of=2, description="Pixels; the width follows. Default: the source's own."
    )
    preset: Preset = "veryfast"
    crf: Crf = 21

    @model_validator(mode="after")
    def _lengths_in_order(self) -> "ClipGenerate":
        if self.min_length > self.max_length:
            raise ValueError("minLength must not exceed maxLength")
        return self

    def unique_key(self) -> str | None:
        return f"clip_generate:{self.video_id}:{self.aspect}"


class DigestGenerate(OneVideo):
    """Make a short film of a long one: every scene as far as there is time, in order, nothing twice."""

    target_length: Seconds = Field(default=60, ge=2, le=7200, description="Seconds of the digest.")
    include_highlights: bool = Field(default=True, description="A third of it shows the best moments.")
    crossfade: Fade = Field(
        default=0.2, description="Seconds that picture and sound of one fade into the next; 0: a cut."
    )
    chapters: bool = Field(default=True, description="A chapter for each scene that is seen.")
    poster: bool = Field(default=True, description="A picture of its best moment as the digest's thumbnail.")
    preset: Preset = "veryfast"
    crf: Crf = 21
    output_path: Mp4Path | None = Field(default=None, description="Default: digests/, named after the video.")

    def unique_key(self) -> str | None:
        return f"digest_generate:{self.video_id}:{self.output_path or ''}"
