"""Finished jobs move to an archive by month; a log is bounded; what grows and shrinks is vacuumed early."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# `job` is the whole row as it was, without its log, so that columns that other programs or later migrations add are
# kept, too. A row that never said when it ended is put where it was created.
_ARCHIVE = [
    """CREATE TABLE jobs_archive (
        id uuid NOT NULL,
        type text NOT NULL,
        status text NOT NULL,
        created_at timestamp NOT NULL,
        completed_at timestamp NOT NULL,
        archived_at timestamptz NOT NULL DEFAULT now(),
        job jsonb NOT NULL,
        attempts jsonb NOT NULL,
        log text NOT NULL,
        PRIMARY KEY (id, completed_at)
    ) PARTITION BY RANGE (completed_at)""",
    "CREATE INDEX jobs_archive_newest ON jobs_archive (created_at DESC, id DESC)",
]

_PARTITIONS = [
    """CREATE FUNCTION jobs_archive_months() RETURNS SETOF text LANGUAGE sql AS $$
        SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
        WHERE inhparent = 'jobs_archive'::regclass ORDER BY relname
    $$""",
    # Attached, not created in place: that would wait for everybody who reads the archive, a backup for instance.
    """CREATE FUNCTION jobs_archive_make_month(day date) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        first date := date_trunc('month', day);
        part text := 'jobs_archive_' || to_char(day, 'YYYY_MM');
    BEGIN
        IF part IN (SELECT jobs_archive_months()) THEN
            RETURN;
        END IF;
        PERFORM pg_advisory_xact_lock(7261114005);
        IF part NOT IN (SELECT jobs_archive_months()) THEN  -- nor has anybody made it meanwhile
            EXECUTE format('CREATE TABLE %I (LIKE jobs_archive INCLUDING ALL)', part);
            EXECUTE format('ALTER TABLE jobs_archive ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           part, first, first + interval '1 month');
        END IF;
    END $$""",
    """CREATE FUNCTION jobs_archive_drop_oldest(before date) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE
        part text;
    BEGIN
        SELECT min(month) INTO part FROM jobs_archive_months() AS month
        WHERE month < 'jobs_archive_' || to_char(before, 'YYYY_MM');
        IF part IS NOT NULL THEN
            EXECUTE format('DROP TABLE %I', part);
        END IF;
        RETURN part;
    END $$""",
]

_INDEXES = [
    # what ended, oldest first; and whether a live job names an ended one
    """CREATE INDEX jobs_ended ON jobs (status, (coalesce(completed_at, created_at)), id)
       WHERE status IN ('completed', 'failed', 'cancelled')""",
    """CREATE INDEX jobs_live_children ON jobs (parent_id)
       WHERE parent_id IS NOT NULL AND status IN ('pending', 'queued', 'running', 'paused')""",
]

_LOGS = [
    """ALTER TABLE job_leases
        ADD COLUMN log_lines integer NOT NULL DEFAULT 0, ADD COLUMN log_bytes bigint NOT NULL DEFAULT 0""",
    # a line that stands for so many others
    "ALTER TABLE job_logs ADD COLUMN left_out bigint",
]

# Logs and attempts go by the thousand when their jobs are archived; tallies are written and folded all the time.
_STORAGE = [
    """ALTER TABLE job_logs SET (
        autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1,
        autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1
    )""",
    """ALTER TABLE job_attempts SET (
        fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05,
        autovacuum_vacuum_cost_delay = 1
    )""",
    """ALTER TABLE job_tallies SET (
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
    )""",
]


def upgrade() -> None:
    for statement in (*_ARCHIVE, *_PARTITIONS, *_INDEXES, *_LOGS, *_STORAGE):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: a downgrade would drop job history.")
