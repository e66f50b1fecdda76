"""The tables, as SQLAlchemy Core sees them. The migrations make them; nothing here creates anything.

The specification's own columns keep its type, `timestamp` without time zone, because the admin app reads and writes
them so; they hold UTC. Columns that are ours are `timestamptz`.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.engine import Dialect

metadata = sa.MetaData()


class UtcTimestamp(sa.types.TypeDecorator[datetime]):
    """`timestamp` holding UTC; aware datetimes in Python."""

    impl = sa.DateTime(timezone=False)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value and value.replace(tzinfo=UTC)


def utcnow() -> sa.ColumnElement[datetime]:
    """The database's clock, as the specification's columns hold it."""
    return sa.type_coerce(sa.func.timezone("utc", sa.func.now()), UtcTimestamp())


_INSTANT = sa.DateTime(timezone=True)


def _column(name: str, kind: Any, *args: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *args, **options)


jobs = sa.Table(
    "jobs",
    metadata,
    _column("id", sa.Uuid, primary_key=True, server_default=sa.func.gen_random_uuid()),
    _column("type", sa.Text, nullable=False),
    _column("status", sa.Text, nullable=False, server_default="pending"),
    _column("params", pg.JSONB, nullable=False),
    _column("progress", sa.Integer, server_default="0"),
    _column("log", sa.Text, server_default=""),
    _column("priority", sa.Integer, nullable=False, server_default="5"),
    _column("queue_position", sa.Integer),
    _column("waiting_reason", sa.Text),
    _column("resource_category", sa.Text, nullable=False),
    _column("vram_required", sa.Integer),
    _column("created_at", UtcTimestamp, nullable=False),
    _column("started_at", UtcTimestamp),
    _column("completed_at", UtcTimestamp),
    _column("retry_count", sa.Integer, server_default="0"),
    _column("max_retries", sa.Integer, server_default="3"),
    _column("retry_after", UtcTimestamp),
    # beyond the specification
    _column("attempt", sa.Integer, nullable=False, server_default="0"),
    _column("lease_token", sa.Uuid),
    _column("run_id", sa.Text),
    _column("host", sa.Text),
    _column("video_id", sa.Uuid),
    _column("unique_key", sa.Text),
    _column("origin", sa.Text, nullable=False, server_default="sql"),
    _column("cancel_requested_at", _INSTANT),
    _column("error", sa.Text),
    _column("progress_detail", pg.JSONB),
    _column("result", pg.JSONB),
    _column("parent_id", sa.Uuid),
    _column("vram_units", pg.ARRAY(sa.Integer)),
    _column("admitted_at", _INSTANT),
    # the run, launched in Dagster itself, that waits to do it; and the partition that it makes
    _column("waiting_run_id", sa.Text),
    _column("partition_key", sa.Text),
    # grows with every change of the row
    _column("version", sa.BigInteger, nullable=False, server_default="1"),
    # nothing admits it; and whether it was held, and will be lifted, because of its parent
    _column("held", sa.Boolean, nullable=False, server_default=sa.false()),
    _column("held_by_parent", sa.Boolean, nullable=False, server_default=sa.false()),
)

job_types = sa.Table(
    "job_types",
    metadata,
    _column("type", sa.Text, primary_key=True),
    _column("resource_category", sa.Text, nullable=False),
    _column("vram_mb", sa.Integer, nullable=False),
)

# How many jobs of each kind there are, as sums of changes: a trigger on `jobs` appends, `queue` reads and folds.
job_tallies = sa.Table(
    "job_tallies",
    metadata,
    _column("status", sa.Text, nullable=False),
    _column("type", sa.Text, nullable=False),
    _column("resource_category", sa.Text, nullable=False),
    _column("jobs", sa.BigInteger, nullable=False),
)

# One row: since when, and by whom, nothing more is admitted.
queue_switch = sa.Table(
    "queue_switch",
    metadata,
    _column("only_row", sa.Boolean, primary_key=True, server_default=sa.true()),
    _column("paused_at", _INSTANT),
    _column("paused_by", sa.Text),
)

job_leases = sa.Table(
    "job_leases",
    metadata,
    _column("job_id", sa.Uuid, primary_key=True),
    _column("attempt", sa.Integer, nullable=False),
    _column("token", sa.Uuid, nullable=False),
    _column("heartbeat_at", _INSTANT, nullable=False, server_default=sa.func.now()),
    # what the job's log holds by now
    _column("log_lines", sa.Integer, nullable=False, server_default="0"),
    _column("log_bytes", sa.BigInteger, nullable=False, server_default="0"),
)

job_attempts = sa.Table(
    "job_attempts",
    metadata,
    _column("job_id", sa.Uuid, primary_key=True),
    _column("attempt", sa.Integer, primary_key=True),
    _column("run_id", sa.Text),
    _column("host", sa.Text),
    _column("encoder", sa.Text),
    _column("started_at", _INSTANT, nullable=False, server_default=sa.func.now()),
    _column("ended_at", _INSTANT),
    _column("outcome", sa.Text),
    _column("error", sa.Text),
    _column("peak_vram_mb", sa.Integer),
    _column("gpu", sa.Integer),
)

# What completed jobs took of GPU memory, by what it depends on; `recent_mb` is of the newest few, the newest first.
vram_learned = sa.Table(
    "vram_learned",
    metadata,
    _column("type", sa.Text, primary_key=True),
    _column("codec", sa.Text, primary_key=True),
    _column("resolution", sa.Text, primary_key=True),
    _column("runs", sa.BigInteger, nullable=False),
    _column("max_mb", sa.Integer, nullable=False),
    _column("recent_mb", pg.ARRAY(sa.Integer), nullable=False),
    _column("updated_at", _INSTANT, nullable=False, server_default=sa.func.now()),
)

job_logs = sa.Table(
    "job_logs",
    metadata,
    _column("job_id", sa.Uuid, primary_key=True),
    _column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _column("at", _INSTANT, nullable=False, server_default=sa.func.clock_timestamp()),
    _column("line", sa.Text, nullable=False),
    # a line that stands for so many others
    _column("left_out", sa.BigInteger),
)

# Jobs that ended long ago, a partition for each month. `job` is the row as it was, without its log.
jobs_archive = sa.Table(
    "jobs_archive",
    metadata,
    _column("id", sa.Uuid, primary_key=True),
    _column("type", sa.Text, nullable=False),
    _column("status", sa.Text, nullable=False),
    _column("created_at", UtcTimestamp, nullable=False),
    _column("completed_at", UtcTimestamp, primary_key=True),
    _column("archived_at", _INSTANT, nullable=False, server_default=sa.func.now()),
    _column("job", pg.JSONB, nullable=False),
    _column("attempts", pg.JSONB, nullable=False),
    _column("log", sa.Text, nullable=False),
)

# The comments of these columns are what the Dagster UI tells of them.
videos = sa.Table(
    "videos",
    metadata,
    _column(
        "id",
        sa.Uuid,
        primary_key=True,
        server_default=sa.func.gen_random_uuid(),
        comment="The video, whatever becomes of its file; also its partition in Dagster.",
    ),
    _column("path", sa.Text, nullable=False, unique=True, comment="Where the file lies, relative to the library root."),
    _column("filename", sa.Text, nullable=False, comment="The last part of the path."),
    _column(
        "title",
        sa.Text,
        comment="What people call it; a scan takes the file's name and never changes what a person has given.",
    ),
    _column("producer", sa.Text, comment="Who produced it, as far as a person has said."),
    _column("creator", sa.Text, comment="Who made it, as far as a person has said."),
    _column(
        "directory_type",
        sa.Text,
        comment="The folder below library/ that it lies in, or the library's own: playback, compilations, clips.",
    ),
    _column("size_bytes", sa.BigInteger, comment="Size of the file."),
    _column(
        "mtime",
        _INSTANT,
        comment="When the file was last changed; a scan takes a file whose size and time are these for the same.",
    ),
    _column(
        "sha256", sa.Text, comment="Checksum of the whole content; only a validation that is asked for it computes one."
    ),
    _column("duration_seconds", sa.Double, comment="How long it plays."),
    _column("width", sa.Integer, comment="Pixels, as it is stored."),
    _column("height", sa.Integer, comment="Pixels, as it is stored."),
    _column("orientation", sa.Text, comment="landscape, portrait or square, as it is shown."),
    _column("quality", sa.Text, comment="The usual word for its size: 720p, 1080p, 4K."),
    _column("fps", sa.Double, comment="Pictures a second."),
    _column("video_codec", sa.Text, comment="Of the picture."),
    _column("audio_codec", sa.Text, comment="Of the sound that plays unless another is chosen."),
    _column("has_audio", sa.Boolean, comment="Whether it has sound."),
    _column("bitrate_kbps", sa.Integer, comment="Of the whole file."),
    _column("is_valid", sa.Boolean, comment="Whether it can be read; null until somebody has looked."),
    _column("invalid_reason", sa.Text, comment="Why it cannot be read."),
    _column(
        "tags",
        pg.ARRAY(sa.Text),
        nullable=False,
        server_default=sa.text("'{}'"),
        comment="What people and tag_generation say that it shows.",
    ),
    _column("thumbnail_path", sa.Text, comment="Its picture below thumbnails/."),
    _column("reencode_job_id", sa.Uuid, comment="The job that re-encoded it last, or made it."),
    _column(
        "source_video_id",
        sa.Uuid,
        comment="The video that it was made of; null for originals and for what is made of several.",
    ),
    _column("phash", sa.Text, comment="Hashes of its pictures, by which the same film in another encoding is found."),
    _column(
        "fingerprint", sa.Text, comment="Of its size and samples of its content, by which a moved file is found again."
    ),
    _column("missing_since", _INSTANT, comment="Since when a scan finds no file; null while it is there."),
    _column("storyboard_path", sa.Text, comment="The index of its small pictures, for scrubbing."),
    _column(
        "created_at", _INSTANT, nullable=False, server_default=sa.func.now(), comment="When the library first saw it."
    ),
    _column(
        "updated_at", _INSTANT, nullable=False, server_default=sa.func.now(), comment="When this row last changed."
    ),
)

video_shots = sa.Table(
    "video_shots",
    metadata,
    _column("video_id", sa.Uuid, nullable=False, primary_key=True, comment="The video."),
    _column("number", sa.Integer, nullable=False, primary_key=True, comment="Of the shot in the video, from 1."),
    _column(
        "scene", sa.Integer, nullable=False, comment="Which scene it belongs to, from 1: shots of one place share it."
    ),
    _column("start_s", sa.Double, nullable=False, comment="Seconds from the beginning of the video."),
    _column("end_s", sa.Double, nullable=False, comment="Seconds from the beginning of the video."),
    _column("transition", sa.Text, nullable=False, comment="How it begins: cut, dissolve or fade."),
)

video_tags = sa.Table(
    "video_tags",
    metadata,
    _column("video_id", sa.Uuid, nullable=False, primary_key=True, comment="The video."),
    _column("name", sa.Text, nullable=False, primary_key=True, comment="What is seen."),
    _column("score", sa.Double, nullable=False, comment="How sure the model is where it is surest, from 0 to 1."),
    _column("count", sa.Integer, nullable=False, comment="In how many shots it is seen."),
    _column("seconds", sa.Double, nullable=False, comment="For how long it is seen, all together."),
    _column("spans", pg.JSONB, nullable=False, comment="When: lists of start, end and score."),
    _column("model", sa.Text, nullable=False, comment="Which model says so."),
)

# Every change to an original, before and after it is made: what a crash left half-done is finished or rolled back from
# here, and what was done can be undone. Paths are relative to the library root.
file_changes = sa.Table(
    "file_changes",
    metadata,
    _column("id", sa.Uuid, primary_key=True, server_default=sa.func.gen_random_uuid()),
    _column("job_id", sa.Uuid),
    _column("attempt", sa.Integer),
    _column("video_id", sa.Uuid),
    _column("action", sa.Text, nullable=False),
    _column("path", sa.Text, nullable=False),
    _column("target", sa.Text, nullable=False),
    _column("backup", sa.Text),
    _column("partial", sa.Text),
    _column("state", sa.Text, nullable=False, server_default="intended"),
    _column("facts", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
    _column("created_at", _INSTANT, nullable=False, server_default=sa.func.now()),
    _column("finished_at", _INSTANT),
)

# What happened to a video where no run was at hand to tell Dagster; whoever tells it removes the note.
video_notes = sa.Table(
    "video_notes",
    metadata,
    _column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _column("video_id", sa.Uuid, nullable=False),
    _column("what", sa.Text, nullable=False),
    _column("path", sa.Text, nullable=False),
    _column("at", _INSTANT, nullable=False, server_default=sa.func.now()),
)

# What came of a content under a policy, so that what cannot succeed is not tried again.
transcode_outcomes = sa.Table(
    "transcode_outcomes",
    metadata,
    _column("content", sa.Text, primary_key=True),
    _column("policy", sa.Text, primary_key=True),
    _column("outcome", sa.Text, nullable=False),
    _column("detail", sa.Text, nullable=False),
    _column("job_id", sa.Uuid),
    _column("at", _INSTANT, nullable=False, server_default=sa.func.now()),
)

# What the library held at that time, and what the queue had done for it. The newest ones are kept.
library_reports = sa.Table(
    "library_reports",
    metadata,
    _column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _column("job_id", sa.Uuid),
    _column("made_at", _INSTANT, nullable=False, server_default=sa.func.now()),
    _column("key_figures", pg.JSONB, nullable=False),
    _column("report", pg.JSONB, nullable=False),
)

# Each `jobs start` at work: what it may still admit, and whether somebody still stands behind it.
drains = sa.Table(
    "drains",
    metadata,
    _column("id", sa.Uuid, primary_key=True),
    _column("name", sa.Text, nullable=False),
    _column("limited", sa.Boolean, nullable=False),
    _column("platform", sa.Text),
    _column("max_jobs", sa.Integer),
    _column("ends_at", _INSTANT),
    _column("cpu_cores", sa.Integer),
    _column("counted", sa.Integer, nullable=False, server_default="0"),
    _column("opened_at", _INSTANT, nullable=False, server_default=sa.func.now()),
    _column("closed_at", _INSTANT),
    _column("heartbeat_at", _INSTANT, nullable=False, server_default=sa.func.now()),
)

drain_jobs = sa.Table(
    "drain_jobs",
    metadata,
    _column("drain_id", sa.Uuid, primary_key=True),
    _column("job_id", sa.Uuid, primary_key=True),
    _column("seq", sa.BigInteger, sa.Identity(always=True)),
)


def _sums() -> list[sa.Column[Any]]:
    """Of jobs that ended: how many, the seconds that `runs` of them took and `waits` of them waited, what was saved."""
    return [
        _column("jobs", sa.BigInteger, nullable=False),
        _column("run_s", sa.Double, nullable=False),
        _column("runs", sa.BigInteger, nullable=False),
        _column("wait_s", sa.Double, nullable=False),
        _column("waits", sa.BigInteger, nullable=False),
        _column("bytes_saved", sa.Numeric, nullable=False),
    ]


def _kind_of_outcome(*, key: bool) -> list[sa.Column[Any]]:
    return [
        _column("type", sa.Text, primary_key=key, nullable=False),
        _column("resource_category", sa.Text, primary_key=key, nullable=False),
        _column("outcome", sa.Text, primary_key=key, nullable=False),
    ]


# A trigger on `jobs` appends to the first, `history` folds it into the other two. Hours are UTC.
job_outcomes_new = sa.Table(
    "job_outcomes_new",
    metadata,
    _column("hour", UtcTimestamp, nullable=False),
    *_kind_of_outcome(key=False),
    *_sums(),
)
job_hours = sa.Table(
    "job_hours", metadata, _column("hour", UtcTimestamp, primary_key=True), *_kind_of_outcome(key=True), *_sums()
)
job_totals = sa.Table("job_totals", metadata, *_kind_of_outcome(key=True), *_sums())

# Every action that somebody asked for.
audit_log = sa.Table(
    "audit_log",
    metadata,
    _column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _column("at", _INSTANT, nullable=False, server_default=sa.func.now()),
    _column("who", sa.Text, nullable=False),
    _column("action", sa.Text, nullable=False),
    _column("job_id", sa.Uuid),
    _column("details", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
)

# What was answered to a request that named a key, so that its repetition gets the same answer.
idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    _column("who", sa.Text, primary_key=True),
    _column("key", sa.Text, primary_key=True),
    _column("request", sa.Text, nullable=False),
    _column("answer", pg.JSONB),
    _column("created_at", _INSTANT, nullable=False, server_default=sa.func.now()),
)

# What was made of each instant of a schedule.
schedule_ticks = sa.Table(
    "schedule_ticks",
    metadata,
    _column("schedule", sa.Text, primary_key=True),
    _column("at", UtcTimestamp, primary_key=True),
    _column("job_id", sa.Uuid),
    _column("said", sa.Text, nullable=False),
    _column("created_at", _INSTANT, nullable=False, server_default=sa.func.now()),
)

# Which content of a video a job of a type has worked on: a trigger on `jobs` writes `made_of`, automation `asked_for`.
video_products = sa.Table(
    "video_products",
    metadata,
    _column("video_id", sa.Uuid, primary_key=True),
    _column("type", sa.Text, primary_key=True),
    _column("made_of", sa.Text),
    _column("asked_for", sa.Text),
)

# Codes of sign-in links that were used.
spent_codes = sa.Table(
    "spent_codes",
    metadata,
    _column("id", sa.Uuid, primary_key=True),
    _column("expires_at", _INSTANT, nullable=False),
)

# Triggers append what metrics count, `counters` folds it. `bucket`: of `total` in seconds, among `counters.BOUNDS_S`.
job_counters = sa.Table(
    "job_counters",
    metadata,
    _column("event", sa.Text, nullable=False),
    _column("type", sa.Text, nullable=False),
    _column("resource_category", sa.Text, nullable=False),
    _column("bucket", sa.SmallInteger, nullable=False),
    _column("n", sa.BigInteger, nullable=False),
    _column("total", sa.Double, nullable=False),
)

# Where to tell of changes, and what is still to be told; a trigger on `jobs` writes the messages.
webhooks = sa.Table(
    "webhooks",
    metadata,
    _column("url", sa.Text, primary_key=True),
    _column("statuses", pg.ARRAY(sa.Text), nullable=False),
    _column("types", pg.ARRAY(sa.Text), nullable=False),
)

webhook_messages = sa.Table(
    "webhook_messages",
    metadata,
    _column("id", sa.Uuid, primary_key=True, server_default=sa.func.gen_random_uuid()),
    _column("url", sa.Text, nullable=False),
    _column("payload", pg.JSONB, nullable=False),
    _column("created_at", _INSTANT, nullable=False, server_default=sa.func.now()),
    _column("tries", sa.Integer, nullable=False, server_default="0"),
    _column("due_at", _INSTANT, server_default=sa.func.now()),
    _column("delivered_at", _INSTANT),
    _column("error", sa.Text),
)
