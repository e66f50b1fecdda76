"""Runs that somebody launches in Dagster itself wait for their rows to be admitted, and hear of it at once."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COLUMNS = [
    "ALTER TABLE jobs ADD COLUMN waiting_run_id text, ADD COLUMN partition_key text",
    "CREATE INDEX jobs_waiting_run ON jobs (waiting_run_id) WHERE waiting_run_id IS NOT NULL",
    "CREATE INDEX job_attempts_by_run ON job_attempts (run_id)",
]

# Whoever moves it: a job that has begun or is over waits for no run.
_NO_LONGER_WAITS = [
    """CREATE FUNCTION jobs_leave_run() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.waiting_run_id := NULL;
        RETURN NEW;
    END $$""",
    """CREATE TRIGGER jobs_leave_run BEFORE UPDATE ON jobs FOR EACH ROW
       WHEN (NEW.waiting_run_id IS NOT NULL AND NEW.status NOT IN ('pending', 'queued', 'paused'))
       EXECUTE FUNCTION jobs_leave_run()""",
]

# As in 0003; new are the steps of a job whose run waits for it.
_WAKE_RUNS = [
    "DROP TRIGGER jobs_wake_runs ON jobs",
    """CREATE TRIGGER jobs_wake_runs AFTER UPDATE ON jobs FOR EACH ROW
       WHEN (OLD.status IS DISTINCT FROM NEW.status
             AND (OLD.lease_token IS NOT NULL AND NEW.status IN ('cancelled', 'paused', 'running')
                  OR OLD.waiting_run_id IS NOT NULL AND NEW.status IN ('queued', 'cancelled', 'failed')))
       EXECUTE FUNCTION jobs_wake_runs()""",
]


def upgrade() -> None:
    for statement in (*_COLUMNS, *_NO_LONGER_WAITS, *_WAKE_RUNS):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: a downgrade would lose which runs wait for which jobs.")
