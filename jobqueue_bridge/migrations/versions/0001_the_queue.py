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

# Every reader and the order of the line rely on these; old rows may lack them.
_MEND = [
    """UPDATE jobs SET
           priority = coalesce(priority, 5),
           created_at = coalesce(created_at, started_at, completed_at, now() AT TIME ZONE 'utc')
       WHERE priority IS NULL OR created_at IS NULL""",
    "ALTER TABLE jobs ALTER COLUMN priority SET NOT NULL, ALTER COLUMN created_at SET NOT NULL",
    """UPDATE jobs SET status = 'failed', error = format('The status was %L, which is none of the queue''s', status)
       WHERE status NOT IN ('pending', 'queued', 'running', 'completed', 'failed', 'cancelled', 'paused')""",
    """ALTER TABLE jobs ADD CONSTRAINT jobs_status_known
       CHECK (status IN ('pending', 'queued', 'running', 'completed', 'failed', 'cancelled', 'paused'))""",
]

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
       INCLUDE (retry_after) WHERE status = 'pending'""",
    """CREATE INDEX IF NOT EXISTS jobs_ready_strays ON jobs (id)
       WHERE status = 'pending' AND resource_category NOT IN ('cpu', 'gpu_encode', 'gpu_ai')""",
    """CREATE INDEX IF NOT EXISTS jobs_waiting_for_retry ON jobs (retry_after)
       WHERE status = 'pending' AND retry_after IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS jobs_with_position ON jobs (id)
       WHERE status = 'pending' AND queue_position IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS jobs_active ON jobs (status, id)
       WHERE status IN ('queued', 'running', 'paused')""",
    """CREATE UNIQUE INDEX IF NOT EXISTS jobs_unique_while_live ON jobs (unique_key)
       WHERE unique_key IS NOT NULL AND status IN ('pending', 'queued', 'running', 'paused')""",
    "CREATE INDEX IF NOT EXISTS jobs_newest ON jobs (created_at DESC, id DESC)",
    "CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, created_at DESC, id DESC)",
    "CREATE INDEX IF NOT EXISTS jobs_by_type ON jobs (type, created_at DESC, id DESC)",
    "CREATE INDEX IF NOT EXISTS jobs_by_category ON jobs (resource_category, created_at DESC, id DESC)",
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
        path text NOT NULL,
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
    "CREATE UNIQUE INDEX IF NOT EXISTS videos_path ON videos (path)",
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
        NEW.priority := coalesce(NEW.priority, 5);
        NEW.created_at := coalesce(NEW.created_at, now() AT TIME ZONE 'utc');
        RETURN NEW;
    END $$""",
    "DROP TRIGGER IF EXISTS jobs_fill_in_needs ON jobs",
    """CREATE TRIGGER jobs_fill_in_needs BEFORE INSERT ON jobs
       FOR EACH ROW EXECUTE FUNCTION jobs_fill_in_needs()""",
]

# What must hold whoever moves a job, this platform or a plain UPDATE.
_FOLLOW_THE_STATUS = [
    """CREATE OR REPLACE FUNCTION jobs_follow_status() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.status <> 'pending' THEN
            NEW.waiting_reason := NULL;
            NEW.queue_position := NULL;
        END IF;
        IF NEW.status NOT IN ('running', 'paused') THEN
            NEW.lease_token := NULL;
        END IF;
        IF NEW.status <> 'queued' AND NEW.lease_token IS NULL THEN
            NEW.vram_units := NULL;
        END IF;
        IF NEW.status NOT IN ('completed', 'failed', 'cancelled') THEN
            NEW.completed_at := NULL;
        ELSIF NEW.completed_at IS NULL OR NEW.completed_at = OLD.completed_at THEN
            NEW.completed_at := now() AT TIME ZONE 'utc';
        END IF;
        RETURN NEW;
    END $$""",
    "DROP TRIGGER IF EXISTS jobs_follow_status ON jobs",
    """CREATE TRIGGER jobs_follow_status BEFORE UPDATE ON jobs FOR EACH ROW
       WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION jobs_follow_status()""",
]

# Sums of changes, appended, so that writers never wait for each other; `tidy` folds them.
_TALLIES = [
    """CREATE TABLE job_tallies (
        status text NOT NULL, type text NOT NULL, resource_category text NOT NULL, jobs bigint NOT NULL
    )""",
    """INSERT INTO job_tallies
       SELECT status, type, resource_category, count(*) FROM jobs GROUP BY status, type, resource_category""",
    """CREATE OR REPLACE FUNCTION jobs_tally_rows() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO job_tallies
        SELECT status, type, resource_category, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
        FROM changed GROUP BY status, type, resource_category;
        RETURN NULL;
    END $$""",
    """CREATE OR REPLACE FUNCTION jobs_tally_move() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO job_tallies VALUES
            (OLD.status, OLD.type, OLD.resource_category, -1), (NEW.status, NEW.type, NEW.resource_category, 1);
        RETURN NULL;
    END $$""",
    """CREATE OR REPLACE FUNCTION jobs_tally_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM job_tallies;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER jobs_tally_insert AFTER INSERT ON jobs REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_tally_rows()""",
    """CREATE TRIGGER jobs_tally_delete AFTER DELETE ON jobs REFERENCING OLD TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_tally_rows()""",
    """CREATE TRIGGER jobs_tally_move AFTER UPDATE ON jobs FOR EACH ROW
       WHEN ((OLD.status, OLD.type, OLD.resource_category)
             IS DISTINCT FROM (NEW.status, NEW.type, NEW.resource_category))
       EXECUTE FUNCTION jobs_tally_move()""",
    """CREATE TRIGGER jobs_tally_truncate AFTER TRUNCATE ON jobs
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_tally_truncate()""",
]

# The triggers run for every program that writes `jobs`, whatever its search_path and whatever else it may touch.
_AS_OWNER = [
    "ALTER FUNCTION jobs_fill_in_needs() SECURITY DEFINER SET search_path FROM CURRENT",
    "ALTER FUNCTION jobs_tally_rows() SECURITY DEFINER SET search_path FROM CURRENT",
    "ALTER FUNCTION jobs_tally_move() SECURITY DEFINER SET search_path FROM CURRENT",
    "ALTER FUNCTION jobs_tally_truncate() SECURITY DEFINER SET search_path FROM CURRENT",
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
        _JOBS, _OURS, *_MEND, _STORAGE, *_INDEXES, *_AROUND_JOBS, *_VIDEOS,
        *_DEFAULTS_FROM_TYPE, *_FOLLOW_THE_STATUS, *_TALLIES, *_AS_OWNER, *_WAKE_UP,
    ]  # fmt: skip
    for statement in statements:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: a downgrade would drop job history.")
