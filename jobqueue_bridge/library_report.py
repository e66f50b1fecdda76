"""What a report on the library says: the one shape in which it is made, stored, served and printed. No SQL, no pandas.

Sizes are bytes, lengths seconds. A report that was stored before a field came to exist is read with its default.
"""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from jobqueue_bridge.text import instant

Instant = Annotated[datetime, PlainSerializer(instant, when_used="json")]


class Told(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        from_attributes=True,
        ser_json_inf_nan="null",
    )


class LibraryTotals(Told):
    """Of the videos whose files are there; the others are `missing`."""

    videos: int = 0
    size_bytes: int = 0
    duration_seconds: float = 0.0
    valid: int = 0
    invalid: int = 0
    unchecked: int = Field(default=0, description="Neither found valid nor invalid.")
    missing: int = 0
    without_thumbnail: int = 0
    renditions: int = Field(default=0, description="Made of another video of the library.")
    unknown_length: int = Field(default=0, description="Without a length that can be believed.")


class LibraryShare(Told):
    """The videos that have something in common, such as a codec."""

    name: str
    videos: int
    size_bytes: int
    duration_seconds: float


class ReportedVideo(Told):
    id: UUID
    path: str
    size_bytes: int
    duration_seconds: float | None
    width: int | None
    height: int | None
    video_codec: str | None
    bitrate_kbps: int | None


class WastefulVideo(ReportedVideo):
    """It takes more than a good encode of its size does."""

    fair_kbps: int = Field(description="What a good HEVC encode of this picture size takes.")
    avoidable_bytes: int


class Wasteful(Told):
    videos: int = 0
    avoidable_bytes: int = 0
    worst: list[WastefulVideo] = []


class SavedShare(Told):
    """Of completed re-encodes and transcodes; what grew counts, too."""

    name: str
    jobs: int
    before_bytes: int
    after_bytes: int
    saved_bytes: int


class Savings(Told):
    """The queue's jobs and the archive's. A rendition is beside its source, a transcode in its place."""

    jobs: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    saved_bytes: int = 0
    by_type: list[SavedShare] = []
    by_encoder: list[SavedShare] = []
    by_month: list[SavedShare] = Field(default=[], description="Named 2026-02, the oldest first.")


class DuplicateGroup(Told):
    kind: Literal["identical", "same picture"]
    proof: Literal["sha256", "fingerprint", "phash"]
    videos: int
    spare_bytes: int = Field(description="What all but the best take.")
    paths: list[str] = Field(description="The best first; the others as far as there is room.")


class Duplicates(Told):
    looked_at: int = 0
    without_hash: int = Field(
        default=0, description="Whose pictures nobody has compared: a validate job makes the hash."
    )
    groups: int = 0
    spare_bytes: int = 0
    largest: list[DuplicateGroup] = []
    left_out: str | None = Field(default=None, description="Why nothing was looked at.")


class GrowthStep(Told):
    """What came in the time that begins on this day (UTC), and what there was at its end."""

    begins: date
    videos: int
    size_bytes: int
    total_videos: int
    total_size_bytes: int


class Growth(Told):
    """By the rows that there are now: what has left the library since then is not in it."""

    step: Literal["day", "week"] = "day"
    steps: list[GrowthStep] = []


class TypeOutcomes(Told):
    """Of all time."""

    type: str
    completed: int
    failed: int


class FailureReason(Told):
    type: str
    reason: str = Field(description="The first line of the error, without what differs from video to video.")
    jobs: int
    last_at: Instant
    job_id: UUID = Field(description="The latest of them.")


class Failures(Told):
    jobs: int = Field(default=0, description="That ended as failed in the days of the report.")
    by_type: list[TypeOutcomes] = []
    reasons: list[FailureReason] = Field(default=[], description="The commonest first.")


class KeyFigures(Told):
    """Few enough to be kept for a long time, to see where things go."""

    videos: int = 0
    size_bytes: int = 0
    duration_seconds: float = 0.0
    valid_percent: float | None = None
    missing: int = 0
    without_thumbnail: int = 0
    saved_bytes: int = 0
    duplicate_bytes: int | None = Field(default=None, description="Null where duplicates were not looked for.")
    avoidable_bytes: int = 0
    failed_jobs: int = 0


class LibraryReport(Told):
    """What the library holds, and what the queue has done for it."""

    days: int = Field(description="How far back growth and failures are looked at.")
    totals: LibraryTotals = LibraryTotals()
    by_codec: list[LibraryShare] = []
    by_quality: list[LibraryShare] = []
    by_resolution: list[LibraryShare] = []
    by_directory: list[LibraryShare] = []
    by_orientation: list[LibraryShare] = []
    savings: Savings = Savings()
    duplicates: Duplicates = Duplicates()
    growth: Growth = Growth()
    largest: list[ReportedVideo] = []
    wasteful: Wasteful = Wasteful()
    failures: Failures = Failures()

    def key_figures(self) -> KeyFigures:
        totals, looked = self.totals, self.duplicates.left_out is None
        return KeyFigures(
            videos=totals.videos,
            size_bytes=totals.size_bytes,
            duration_seconds=totals.duration_seconds,
            valid_percent=round(100 * totals.valid / totals.videos, 2) if totals.videos else None,
            missing=totals.missing,
            without_thumbnail=totals.without_thumbnail,
            saved_bytes=self.savings.saved_bytes,
            duplicate_bytes=self.duplicates.spare_bytes if looked else None,
            avoidable_bytes=self.wasteful.avoidable_bytes,
            failed_jobs=self.failures.jobs,
        )
