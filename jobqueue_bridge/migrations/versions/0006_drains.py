"""Drains: each `jobs start` at work, with its limits, and the jobs that count for it."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DRAINS = """
CREATE TABLE drains (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    limited boolean NOT NULL,
    -- where a platform lives only for this drain: it leaves with that platform
    platform text,
    max_jobs integer,
    ends_at timestamptz,
    cpu_cores integer,
    -- how many jobs it has admitted; a job that comes back counts once
    counted integer NOT NULL DEFAULT 0,
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    heartbeat_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200)
"""

# Without a reference to jobs, which are archived and cleared as if no drain looked on.
_DRAIN_JOBS = """
CREATE TABLE drain_jobs (
    drain_id uuid NOT NULL REFERENCES drains ON DELETE CASCADE,
    job_id uuid NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (drain_id, job_id)
)
"""

_INDEX = "CREATE INDEX drain_jobs_newest ON drain_jobs (drain_id, seq)"


def upgrade() -> None:
    for statement in (_DRAINS, _DRAIN_JOBS, _INDEX):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE drain_jobs, drains")
