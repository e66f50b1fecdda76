"""What the API needs: news of every change, versions of rows, outcomes by the hour, who did what, keys of requests."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Grows with every change of a row, so that whoever hears of two states of it knows which is the later one.
_VERSION = [
    "ALTER TABLE jobs ADD COLUMN version bigint NOT NULL DEFAULT 1",
    """CREATE FUNCTION jobs_count_versions() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.version := OLD.version + 1;
        RETURN NEW;
    END $$""",
    """CREATE TRIGGER jobs_version BEFORE UPDATE ON jobs
       FOR EACH ROW EXECUTE FUNCTION jobs_count_versions()""",
]

# Year 1 to 9999, which every reader takes; another program's row may say infinity.
_WITHIN_REASON = "least(greatest({0}, timestamp '0001-01-02'), timestamp '9999-12-30')"
_INSTANT = "CASE WHEN {0} IS NOT NULL THEN to_char(" + _WITHIN_REASON + ', \'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\') END'
_NEWS = {
    "id": "n.id",
    "version": "n.version",
    "type": "left(n.type, 200)",
    "status": "n.status",
    "progress": "coalesce(n.progress, 0)",
    "progressDetail": "CASE WHEN pg_column_size(n.progress_detail) < 1500 THEN n.progress_detail END",
    "resourceCategory": "left(n.resource_category, 200)",
    "vramRequired": "coalesce(n.vram_required, 0)",
    "priority": "n.priority",
    "queuePosition": "n.queue_position",
    "waitingReason": "left(n.waiting_reason, 1000)",
    "createdAt": _INSTANT.format("n.created_at"),
    "startedAt": _INSTANT.format("n.started_at"),
    "completedAt": _INSTANT.format("n.completed_at"),
    "retryCount": "coalesce(n.retry_count, 0)",
    "maxRetries": "coalesce(n.max_retries, 3)",
    "retryAfter": _INSTANT.format("n.retry_after"),
    "attempt": "n.attempt",
    "runId": "left(n.run_id, 200)",
    "host": "left(n.host, 200)",
    "videoId": "n.video_id",
    "origin": "left(n.origin, 100)",
    "error": "left(n.error, 1000)",
    "parentId": "n.parent_id",
}
_FIELDS = ", ".join(f"'{name}', {value}" for name, value in _NEWS.items())
_JOB = f"jsonb_build_object({_FIELDS})"
# What a client sees of a row, whole.
_SHOWN = (
    "type", "status", "progress", "progress_detail", "resource_category", "vram_required", "priority",
    "queue_position", "waiting_reason", "created_at", "started_at", "completed_at", "retry_count", "max_retries",
    "retry_after", "attempt", "run_id", "host", "video_id", "origin", "error", "parent_id", "params", "result",
)  # fmt: skip
_BEFORE, _AFTER = (", ".join(f"{row}.{name}" for name in _SHOWN) for row in "on")
_CHANGED = f"({_BEFORE}) IS DISTINCT FROM ({_AFTER})"

# Notifications arrive in the order of the commits, and those of a transaction in its own order: this is what puts
# events in order, which no number that rows are given before their commit could do. Many at once are told as one.
_TELL = [
    """CREATE FUNCTION jobs_tell(news jsonb) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF octet_length(news::text) > 7900 THEN  -- a notification has less than 8000 bytes
            news := news #- '{job,error}' #- '{job,waitingReason}' #- '{job,progressDetail}'
                || jsonb_build_object('job', (news -> 'job')
                    || '{"error": null, "waitingReason": null, "progressDetail": null}');
        END IF;
        PERFORM pg_notify('job_news', news::text);
    END $$""",
    """CREATE FUNCTION jobs_tell_many() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('job_news', '{"kind": "many"}');
        RETURN NULL;
    END $$""",
    f"""CREATE FUNCTION jobs_tell_created() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) FROM (SELECT FROM changed LIMIT 501) AS few) > 500 THEN
            PERFORM pg_notify('job_news', '{{"kind": "many"}}');
        ELSE
            PERFORM jobs_tell(jsonb_build_object('kind', 'job', 'change', 'created', 'from', NULL, 'job', {_JOB}))
            FROM changed AS n ORDER BY n.created_at, n.id;
        END IF;
        RETURN NULL;
    END $$""",
    f"""CREATE FUNCTION jobs_tell_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) FROM (SELECT FROM after LIMIT 501) AS few) > 500 THEN
            PERFORM pg_notify('job_news', '{{"kind": "many"}}');
        ELSE
            PERFORM jobs_tell(jsonb_build_object('kind', 'job', 'change', 'changed', 'from', o.status, 'job', {_JOB}))
            FROM before AS o JOIN after AS n ON n.id = o.id WHERE {_CHANGED};
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION jobs_tell_removed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) FROM (SELECT FROM changed LIMIT 501) AS few) > 500 THEN
            PERFORM pg_notify('job_news', '{"kind": "many"}');
        ELSE
            PERFORM jobs_tell(jsonb_build_object('kind', 'removed', 'id', id)) FROM changed;
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION job_logs_tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM jobs_tell(jsonb_build_object('kind', 'log', 'id', job_id, 'first', first, 'last', last))
        FROM (SELECT job_id, min(seq) AS first, max(seq) AS last FROM changed GROUP BY job_id ORDER BY 2) AS logged;
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION queue_switch_tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM jobs_tell(jsonb_build_object('kind', 'queue', 'pausedBy', left(NEW.paused_by, 200), 'pausedAt',
            to_char(NEW.paused_at AT TIME ZONE 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER jobs_tell_created AFTER INSERT ON jobs REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_tell_created()""",
    """CREATE TRIGGER jobs_tell_changed AFTER UPDATE ON jobs REFERENCING OLD TABLE AS before NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_tell_changed()""",
    """CREATE TRIGGER jobs_tell_removed AFTER DELETE ON jobs REFERENCING OLD TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_tell_removed()""",
    """CREATE TRIGGER jobs_tell_truncated AFTER TRUNCATE ON jobs
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_tell_many()""",
    """CREATE TRIGGER job_logs_tell AFTER INSERT ON job_logs REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION job_logs_tell()""",
    """CREATE TRIGGER queue_switch_tell AFTER UPDATE ON queue_switch
       FOR EACH ROW EXECUTE FUNCTION queue_switch_tell()""",
]

# Outcomes by the hour, as sums: appended by triggers, folded by `history`, so that writers never wait for each other.
_SUMS = """
    type text NOT NULL,
    resource_category text NOT NULL,
    outcome text NOT NULL,
    jobs bigint NOT NULL,
    run_s double precision NOT NULL,
    runs bigint NOT NULL,
    wait_s double precision NOT NULL,
    waits bigint NOT NULL,
    bytes_saved numeric NOT NULL
"""
_OUTCOMES = [
    f"CREATE TABLE job_outcomes_new (hour timestamp NOT NULL, {_SUMS})",
    f"CREATE TABLE job_hours (hour timestamp NOT NULL, {_SUMS}, PRIMARY KEY (hour, type, resource_category, outcome))",
    f"CREATE TABLE job_totals ({_SUMS}, PRIMARY KEY (type, resource_category, outcome))",
    "ALTER TABLE job_outcomes_new SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)",
]
_FINAL = "('completed', 'failed', 'cancelled')"


def _seconds(begin: str, end: str) -> str:
    return (
        f"CASE WHEN isfinite({begin}) AND isfinite({end}) AND {end} >= {begin} "
        f"THEN extract(epoch FROM {end} - {begin})::double precision END"
    )


def _size(key: str) -> str:
    number = f"(n.result ->> '{key}')::numeric"
    return f"CASE WHEN jsonb_typeof(n.result -> '{key}') = 'number' AND {number} BETWEEN 0 AND 1e15 THEN {number} END"


def _sums(rows: str) -> str:
    """One row for each kind of outcome of `n`, which `rows` names. A job waits until its first attempt begins."""
    return f"""
    SELECT hour, type, resource_category, status, count(*),
           coalesce(sum(run_s), 0), count(run_s), coalesce(sum(wait_s), 0), count(wait_s), coalesce(sum(saved), 0)
    FROM (
        SELECT date_trunc('hour', CASE WHEN isfinite(n.completed_at) THEN n.completed_at
                                       WHEN isfinite(n.created_at) THEN n.created_at
                                       ELSE now() AT TIME ZONE 'utc' END) AS hour,
               n.type, n.resource_category, n.status,
               CASE WHEN n.status = 'completed' THEN {_seconds("n.started_at", "n.completed_at")} END AS run_s,
               {_seconds("n.created_at", "coalesce(first.began, n.started_at)")} AS wait_s,
               CASE WHEN n.status = 'completed' THEN {_size("sourceSizeBytes")} - {_size("sizeBytes")} END AS saved
        FROM {rows}
    ) AS ended
    GROUP BY hour, type, resource_category, status"""


_ENDED = f"n.status IN {_FINAL}"
_FIRST = """LEFT JOIN LATERAL (
    SELECT min(a.started_at) AT TIME ZONE 'utc' AS began FROM job_attempts AS a WHERE a.job_id = n.id
) AS first ON true"""
_NO_ATTEMPTS = "CROSS JOIN (SELECT NULL::timestamp AS began) AS first"
_ARCHIVED = "jobs_archive AS a CROSS JOIN LATERAL jsonb_populate_record(NULL::jobs, a.job) AS n"
_COUNT = [
    f"""CREATE FUNCTION jobs_count_ended() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO job_outcomes_new
        {_sums(f"before AS o JOIN after AS n ON n.id = o.id {_FIRST} WHERE {_ENDED} AND o.status NOT IN {_FINAL}")};
        RETURN NULL;
    END $$""",
    f"""CREATE FUNCTION jobs_count_born_ended() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO job_outcomes_new {_sums(f"changed AS n {_NO_ATTEMPTS} WHERE {_ENDED}")};
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER jobs_count_ended AFTER UPDATE ON jobs REFERENCING OLD TABLE AS before NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_count_ended()""",
    """CREATE TRIGGER jobs_count_born_ended AFTER INSERT ON jobs REFERENCING NEW TABLE AS changed
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_count_born_ended()""",
    # what has ended so far
    f"INSERT INTO job_outcomes_new {_sums(f'jobs AS n {_FIRST} WHERE {_ENDED}')}",
    f"INSERT INTO job_outcomes_new {_sums(f'{_ARCHIVED} {_NO_ATTEMPTS} WHERE {_ENDED}')}",
]

_BY_WHOM = [
    """CREATE TABLE audit_log (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT now(),
        who text NOT NULL,
        action text NOT NULL,
        job_id uuid,
        details jsonb NOT NULL DEFAULT '{}'
    )""",
    "CREATE INDEX audit_log_of_job ON audit_log (job_id, id) WHERE job_id IS NOT NULL",
    "CREATE INDEX audit_log_by_whom ON audit_log (who, id)",
    "CREATE INDEX audit_log_by_action ON audit_log (action, id)",
    """CREATE TABLE idempotency_keys (
        who text NOT NULL,
        key text NOT NULL,
        request text NOT NULL,
        answer jsonb,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (who, key)
    )""",
    "CREATE INDEX idempotency_keys_oldest ON idempotency_keys (created_at)",
    "CREATE TABLE spent_codes (id uuid PRIMARY KEY, expires_at timestamptz NOT NULL)",
]

# The triggers run for every program that writes, whatever its search_path and whatever else it may touch.
_AS_OWNER = [
    f"ALTER FUNCTION {name}() SECURITY DEFINER SET search_path FROM CURRENT"
    for name in (
        *("jobs_tell_many", "jobs_tell_created", "jobs_tell_changed", "jobs_tell_removed", "job_logs_tell"),
        *("queue_switch_tell", "jobs_count_ended", "jobs_count_born_ended"),
    )
]

# Each order in which a client may ask for the list; rows that have no such instant yet come as the latest.
_INDEXES = [
    "CREATE INDEX jobs_by_start ON jobs ((coalesce(started_at, 'infinity')), id)",
    "CREATE INDEX jobs_by_end ON jobs ((coalesce(completed_at, 'infinity')), id)",
    "CREATE INDEX jobs_by_priority ON jobs (priority, created_at, id)",
    "CREATE INDEX jobs_by_error ON jobs USING gin (to_tsvector('simple', left(error, 10000))) WHERE error IS NOT NULL",
]


def upgrade() -> None:
    for statement in (*_VERSION, *_TELL, *_OUTCOMES, *_COUNT, *_AS_OWNER, *_BY_WHOM, *_INDEXES):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: a downgrade would lose who did what.")
