"""What metrics count: jobs that came and ended, attempts by how they ended and how long they took, retries, bytes."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Sums of changes, appended, so that writers never wait for each other; `counters` folds them. `bucket` is the place of
# `total` among BOUNDS_S where the count is of durations, else 0.
_TABLE = """
CREATE TABLE job_counters (
    event text NOT NULL,
    type text NOT NULL,
    resource_category text NOT NULL,
    bucket smallint NOT NULL,
    n bigint NOT NULL,
    total double precision NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)
"""
_BOUNDS = "ARRAY[1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400]::double precision[]"


def _size(key: str) -> str:
    number = f"(NEW.result ->> '{key}')::numeric"
    is_size = f"jsonb_typeof(NEW.result -> '{key}') = 'number' AND {number} BETWEEN 0 AND 1e15"
    return f"CASE WHEN {is_size} THEN {number}::double precision END"


_JOBS = [
    """CREATE FUNCTION jobs_count_created() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO job_counters
        SELECT 'created', type, resource_category, 0, count(*), 0 FROM changed GROUP BY type, resource_category;
        RETURN NULL;
    END $$""",
    f"""CREATE FUNCTION jobs_count_moved() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        bytes_in double precision := {_size("sourceSizeBytes")};
        bytes_out double precision := {_size("sizeBytes")};
    BEGIN
        IF NEW.status <> 'pending' THEN
            INSERT INTO job_counters VALUES (NEW.status, NEW.type, NEW.resource_category, 0, 1, 0);
        ELSIF NEW.retry_after IS NOT NULL THEN
            INSERT INTO job_counters VALUES
                (CASE WHEN NEW.retry_count > OLD.retry_count THEN 'retried' ELSE 'snoozed' END,
                 NEW.type, NEW.resource_category, 0, 1, 0);
        END IF;
        IF NEW.status = 'completed' AND bytes_in IS NOT NULL AND bytes_out IS NOT NULL THEN
            INSERT INTO job_counters VALUES ('bytes in', NEW.type, NEW.resource_category, 0, 1, bytes_in),
                                            ('bytes out', NEW.type, NEW.resource_category, 0, 1, bytes_out);
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER jobs_count_created AFTER INSERT ON jobs REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_count_created()""",
    """CREATE TRIGGER jobs_count_moved AFTER UPDATE ON jobs FOR EACH ROW
       WHEN (OLD.status <> NEW.status AND (NEW.status IN ('completed', 'failed', 'cancelled')
             OR (OLD.status = 'running' AND NEW.status = 'pending')))
       EXECUTE FUNCTION jobs_count_moved()""",
]
# A job waits since it came, since its last attempt ended, or since its time to retry came.
_DURATIONS = [
    f"""CREATE FUNCTION jobs_count_wait() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        ended timestamp := (SELECT max(ended_at) AT TIME ZONE 'utc' FROM job_attempts WHERE job_id = NEW.id);
        since timestamp := greatest(NEW.created_at, OLD.retry_after, ended);
        seconds double precision;
    BEGIN
        IF isfinite(since) THEN
            seconds := greatest(0, extract(epoch FROM now() AT TIME ZONE 'utc' - since));
            INSERT INTO job_counters VALUES
                ('wait', NEW.type, NEW.resource_category, width_bucket(seconds, {_BOUNDS}), 1, seconds);
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER jobs_count_wait AFTER UPDATE ON jobs FOR EACH ROW
       WHEN (OLD.status = 'queued' AND NEW.status = 'running') EXECUTE FUNCTION jobs_count_wait()""",
    f"""CREATE FUNCTION job_attempts_count() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO job_counters
        SELECT 'run ' || NEW.outcome, type, resource_category, width_bucket(seconds, {_BOUNDS}), 1, seconds
        FROM jobs, greatest(0, extract(epoch FROM NEW.ended_at - NEW.started_at)::double precision) AS took (seconds)
        WHERE id = NEW.job_id;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER job_attempts_count AFTER UPDATE ON job_attempts FOR EACH ROW
       WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.outcome IS NOT NULL)
       EXECUTE FUNCTION job_attempts_count()""",
]
# As with the other triggers: for every program that writes, whatever its search_path and rights.
_AS_OWNER = [
    f"ALTER FUNCTION {name}() SECURITY DEFINER SET search_path FROM CURRENT"
    for name in ("jobs_count_created", "jobs_count_moved", "jobs_count_wait", "job_attempts_count")
]


def upgrade() -> None:
    for statement in (_TABLE, *_JOBS, *_DURATIONS, *_AS_OWNER):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: a downgrade would lose what was counted.")
