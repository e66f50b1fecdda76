"""The queue, the attempts and the videos; adopts a `jobs` table that was made from the specification."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Exactly the specification's columns. On an adopted database this does nothing.
_JOBS = """
CREATE TABLE IF NOT EXISTS jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    type text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    params jsonb NOT NULL,
    progress integer DEFAULT 0,
    log text DEFAULT '',
    priority integer DEFAULT 5,
    queue_position integer,
    waiting_reason text,
    resource_category text NOT NULL,
    vram_required integer,
    created_at timestamp,
    started_at timestamp,
    completed_at timestamp,
    retry_count integer DEFAULT 0,
    max_retries integer DEFAULT 3,
    retry_after timestamp
)
"""

_OURS = """
ALTER TABLE jobs
    ADD COLUMN IF NOT EXISTS attempt integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS lease_token uuid,
    ADD COLUMN IF NOT EXISTS run_id text,
    ADD COLUMN IF NOT EXISTS host text,
    ADD COLUMN IF NOT EXISTS video_id uuid,
    ADD COLUMN IF NOT EXISTS unique_key text,
    ADD COLUMN IF NOT EXISTS origin text NOT NULL DEFAULT 'sql',
    ADD COLUMN IF NOT EXISTS cancel_requested_at timestamptz,
    ADD COLUMN IF NOT EXISTS error text,
    ADD COLUMN IF NOT EXISTS progress_detail jsonb,
    ADD COLUMN IF NOT EXISTS result jsonb,
    ADD COLUMN IF NOT EXISTS parent_id uuid,
    ADD COLUMN IF NOT EXISTS vram_units integer[],
    ADD COLUMN IF NOT EXISTS admitted_at timestamptz,
    -- "not given" must differ from "given as 0", so that the trigger can fill in the type's need
    ALTER COLUMN vram_required DROP DEFAULT,
    -- the default of the specification, now(), would store the session's local time
    ALTER COLUMN created_at SET DEFAULT (now() AT TIME ZONE 'utc')
"""

# A queue is updated far more than read: leave room on each page for HOT updates, and vacuum early.
_STORAGE = """
ALTER TABLE jobs SET (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 1
)
"""

_INDEXES = [
    """CREATE INDEX IF NOT EXISTS jobs_ready ON jobs (resource_category, priority, created_at, id)
       WHERE status = 'pending'""",
    """CREATE INDEX IF NOT EXISTS jobs_active ON jobs (status, id)
       WHERE status IN ('queued', 'running', 'paused')""",
    """CREATE UNIQUE INDEX IF NOT EXISTS jobs_unique_while_live ON jobs (unique_key)
       WHERE unique_key IS NOT NULL AND status IN ('pending', 'queued', 'running', 'paused')""",
    "CREATE INDEX IF NOT EXISTS jobs_newest ON jobs (created_at DESC, id DESC)",
    "CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, created_at DESC, id DESC)",
    "CREATE INDEX IF NOT EXISTS jobs_by_type ON jobs (type, created_at DESC, id DESC)",
    "CREATE INDEX IF NOT EXISTS jobs_by_video ON jobs (video_id) WHERE video_id IS NOT NULL",
]

_AROUND_JOBS = [
    "CREATE TABLE job_types (type text PRIMARY KEY, resource_category text NOT NULL, vram_mb integer NOT NULL)",
    """CREATE TABLE job_leases (
        job_id uuid PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
        attempt integer NOT NULL,
        token uuid NOT NULL,
        heartbeat_at timestamptz NOT NULL DEFAULT now()
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200)""",
    """CREATE TABLE job_attempts (
        job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
        attempt integer NOT NULL,
        run_id text,
        host text,
        encoder text,
        started_at timestamptz NOT NULL DEFAULT now(),
        ended_at timestamptz,
        outcome text,
        error text,
        peak_vram_mb integer,
        PRIMARY KEY (job_id, attempt)
    )""",
    "CREATE INDEX job_attempts_open ON job_attempts (job_id, attempt) WHERE ended_at IS NULL",
    """CREATE TABLE job_logs (
        job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
        seq bigint GENERATED ALWAYS AS IDENTITY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        line text NOT NULL,
        PRIMARY KEY (job_id, seq)
    )""",
]

_VIDEOS = [
    """CREATE TABLE IF NOT EXISTS videos (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        path text NOT NULL UNIQUE,
        filename text NOT NULL
    )""",
    """ALTER TABLE videos
        ADD COLUMN IF NOT EXISTS title text,
        ADD COLUMN IF NOT EXISTS producer text,
        ADD COLUMN IF NOT EXISTS creator text,
        ADD COLUMN IF NOT EXISTS directory_type text,
        ADD COLUMN IF NOT EXISTS size_bytes bigint,
        ADD COLUMN IF NOT EXISTS mtime timestamptz,
        ADD COLUMN IF NOT EXISTS sha256 text,
        ADD COLUMN IF NOT EXISTS duration_seconds double precision,
        ADD COLUMN IF NOT EXISTS width integer,
        ADD COLUMN IF NOT EXISTS height integer,
        ADD COLUMN IF NOT EXISTS orientation text,
        ADD COLUMN IF NOT EXISTS quality text,
        ADD COLUMN IF NOT EXISTS fps double precision,
        ADD COLUMN IF NOT EXISTS video_codec text,
        ADD COLUMN IF NOT EXISTS audio_codec text,
        ADD COLUMN IF NOT EXISTS has_audio boolean,
        ADD COLUMN IF NOT EXISTS bitrate_kbps integer,
        ADD COLUMN IF NOT EXISTS is_valid boolean,
        ADD COLUMN IF NOT EXISTS invalid_reason text,
        ADD COLUMN IF NOT EXISTS tags text[] NOT NULL DEFAULT '{}',
        ADD COLUMN IF NOT EXISTS thumbnail_path text,
        ADD COLUMN IF NOT EXISTS reencode_job_id uuid,
        ADD COLUMN IF NOT EXISTS source_video_id uuid,
        ADD COLUMN IF NOT EXISTS phash text,
        ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now()""",
    "CREATE INDEX IF NOT EXISTS videos_newest ON videos (created_at DESC, id DESC)",
    """CREATE INDEX IF NOT EXISTS videos_to_compile ON videos (orientation, duration_seconds)
       WHERE is_valid AND source_video_id IS NULL""",
]

_DEFAULTS_FROM_TYPE = [
    """CREATE OR REPLACE FUNCTION jobs_fill_in_needs() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE need job_types%ROWTYPE;
    BEGIN
        SELECT * INTO need FROM job_types WHERE type = NEW.type;
        NEW.resource_category := coalesce(NEW.resource_category, need.resource_category);
        NEW.vram_required := coalesce(NEW.vram_required, need.vram_mb, 0);
        NEW.created_at := coalesce(NEW.created_at, now() AT TIME ZONE 'utc');
        RETURN NEW;
    END $$""",
    "DROP TRIGGER IF EXISTS jobs_fill_in_needs ON jobs",
    """CREATE TRIGGER jobs_fill_in_needs BEFORE INSERT ON jobs
       FOR EACH ROW EXECUTE FUNCTION jobs_fill_in_needs()""",
]

# NOTIFY is a wake-up with a constant payload, never data. Admission's own writes wake nobody.
_WAKE_UP = [
    """CREATE OR REPLACE FUNCTION jobs_wake_dispatcher() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('jobs_changed', '');
        RETURN NULL;
    END $$""",
    "DROP TRIGGER IF EXISTS jobs_wake_on_insert ON jobs",
    """CREATE TRIGGER jobs_wake_on_insert AFTER INSERT ON jobs
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_wake_dispatcher()""",
    "DROP TRIGGER IF EXISTS jobs_wake_on_move ON jobs",
    """CREATE TRIGGER jobs_wake_on_move AFTER UPDATE ON jobs FOR EACH ROW
       WHEN (OLD.status IS DISTINCT FROM NEW.status AND NEW.status NOT IN ('queued', 'running')
             OR OLD.priority IS DISTINCT FROM NEW.priority)
       EXECUTE FUNCTION jobs_wake_dispatcher()""",
]


def upgrade() -> None:
    statements = [
        _JOBS, _OURS, _STORAGE, *_INDEXES, *_AROUND_JOBS, *_VIDEOS, *_DEFAULTS_FROM_TYPE, *_WAKE_UP
    ]  # fmt: skip
    for statement in statements:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: a downgrade would drop job history.")
