"""Cancel, pause, resume: runs hear of them at once, a paused row says what it still holds, the queue has a switch."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# As in 0001; new is the waiting text of a paused job.
_FOLLOW_THE_STATUS = """
CREATE OR REPLACE FUNCTION jobs_follow_status() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF NEW.status = 'paused' AND NEW.lease_token IS NOT NULL THEN
        NEW.waiting_reason := 'paused in mid-run: still holds a ' || NEW.resource_category || ' slot'
            || CASE WHEN NEW.vram_required > 0 THEN ' and ' || NEW.vram_required || ' MB of VRAM' ELSE '' END;
    END IF;
    IF NEW.status NOT IN ('completed', 'failed', 'cancelled') THEN
        NEW.completed_at := NULL;
    ELSIF NEW.completed_at IS NULL OR NEW.completed_at = OLD.completed_at THEN
        NEW.completed_at := now() AT TIME ZONE 'utc';
    END IF;
    RETURN NEW;
END $$
"""

# What a run must hear at once. Its own steps wake nobody.
_WAKE_RUNS = [
    """CREATE OR REPLACE FUNCTION jobs_wake_runs() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('runs_changed', '');
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER jobs_wake_runs AFTER UPDATE ON jobs FOR EACH ROW
       WHEN (OLD.lease_token IS NOT NULL AND OLD.status IS DISTINCT FROM NEW.status
             AND NEW.status IN ('cancelled', 'paused', 'running'))
       EXECUTE FUNCTION jobs_wake_runs()""",
]

_SWITCH = [
    """CREATE TABLE queue_switch (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        paused_at timestamptz,
        paused_by text
    )""",
    "INSERT INTO queue_switch DEFAULT VALUES",
    """CREATE TRIGGER queue_switch_wake AFTER UPDATE ON queue_switch
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_wake_dispatcher()""",
]


def upgrade() -> None:
    for statement in (_FOLLOW_THE_STATUS, *_WAKE_RUNS, *_SWITCH):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: a downgrade would lose who paused the queue.")
