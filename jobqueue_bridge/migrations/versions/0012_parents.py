"""A job may wait for its parent: it is held until that has completed, and says for what it waits."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# `held`: nothing admits it. `held_by_parent`: it was held here, and its parent lifts it; who has inserted a held row
# himself lifts that himself. Rows that are there stay as they are: until now a parent was a mere note.
_COLUMNS = """
ALTER TABLE jobs
    ADD COLUMN held boolean NOT NULL DEFAULT false,
    ADD COLUMN held_by_parent boolean NOT NULL DEFAULT false
"""

# The first three as in 0001, now without what is held: however much of that stands at the head of the line, nobody has
# to pass over it.
_INDEXES = [
    "DROP INDEX jobs_ready",
    """CREATE INDEX jobs_ready ON jobs (resource_category, priority, created_at, id)
       INCLUDE (retry_after) WHERE status = 'pending' AND NOT held""",
    "DROP INDEX jobs_ready_strays",
    """CREATE INDEX jobs_ready_strays ON jobs (id)
       WHERE status = 'pending' AND NOT held AND resource_category NOT IN ('cpu', 'gpu_encode', 'gpu_ai')""",
    "DROP INDEX jobs_waiting_for_retry",
    """CREATE INDEX jobs_waiting_for_retry ON jobs (retry_after)
       WHERE status = 'pending' AND NOT held AND retry_after IS NOT NULL""",
    "CREATE INDEX jobs_held ON jobs (id) WHERE status = 'pending' AND held",
    # with the status, so that one look tells whether a pending one is among them
    "CREATE INDEX jobs_held_children ON jobs (parent_id, status) WHERE held_by_parent",
    "CREATE INDEX jobs_by_parent ON jobs (parent_id, created_at DESC, id DESC) WHERE parent_id IS NOT NULL",
]

# Why a child of this job has to wait; null: it has not. Of the jobs above only those that themselves are held for
# theirs are looked at, up to the one that has ended without completing.
_WHY = """
CREATE FUNCTION jobs_why_held(parent uuid) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    above record;
    own text;
    steps integer := 0;
BEGIN
    SELECT id, type, status, error, parent_id, held_by_parent INTO above FROM jobs WHERE id = parent;
    IF NOT FOUND THEN
        RETURN CASE WHEN NOT EXISTS (SELECT FROM jobs_archive WHERE id = parent AND status = 'completed')
            THEN format('its parent %s is gone; cancel this', left(parent::text, 8)) END;
    ELSIF above.status = 'completed' THEN
        RETURN NULL;
    END IF;
    own := jobs_short_name(above.type, above.id);
    WHILE above.held_by_parent AND steps < 10000 LOOP
        SELECT id, type, status, error, parent_id, held_by_parent INTO above FROM jobs WHERE id = above.parent_id;
        steps := steps + 1;
    END LOOP;
    RETURN CASE
        WHEN above.status IS NULL OR above.status NOT IN ('failed', 'cancelled') THEN 'waits for its parent: ' || own
        ELSE CASE WHEN above.id = parent THEN 'its parent ' || own
                  ELSE jobs_short_name(above.type, above.id) || ', for which its parent waits,' END
            || CASE WHEN above.status = 'cancelled' THEN ' was cancelled'
                    ELSE ' failed' || coalesce(': ' || nullif(left(split_part(above.error, E'\\n', 1), 200), ''), '')
               END
            || '; retry it, or cancel this'
    END;
END $$
"""
_NAME = """
CREATE FUNCTION jobs_short_name(type text, id uuid) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT left(type, 60) || ' ' || left(id::text, 8)
$$
"""

# A parent that is looked at with this lock has not moved until the child is there for its own move to find.
_LOCK = "PERFORM FROM jobs WHERE id = NEW.parent_id FOR SHARE;"

_HOLD = [
    # A row whose parent there never was ends at once and says why, like every row that can never run.
    f"""CREATE FUNCTION jobs_hold_new() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        why text;
    BEGIN
        NEW.held_by_parent := false;
        IF NEW.status NOT IN ('pending', 'paused') THEN
            NEW.held := false;
        ELSIF NEW.parent_id IS NOT NULL THEN
            {_LOCK}
            IF FOUND THEN
                why := jobs_why_held(NEW.parent_id);
            ELSIF NOT EXISTS (SELECT FROM jobs_archive WHERE id = NEW.parent_id AND status = 'completed') THEN
                NEW.status := 'failed';
                NEW.completed_at := now() AT TIME ZONE 'utc';
                NEW.held := false;
                NEW.waiting_reason := NULL;
                NEW.error := CASE WHEN NEW.parent_id = NEW.id THEN 'parentId: a job cannot wait for itself'
                    ELSE format('parentId: there is no job %s that could still complete', NEW.parent_id) END;
            END IF;
            IF why IS NOT NULL AND NOT NEW.held THEN
                NEW.held := true;
                NEW.held_by_parent := true;
                NEW.waiting_reason := CASE NEW.status WHEN 'pending' THEN why END;
            END IF;
        END IF;
        NEW.queue_position := CASE WHEN NOT NEW.held THEN NEW.queue_position END;
        RETURN NEW;
    END $$""",
    """CREATE TRIGGER jobs_hold_new BEFORE INSERT ON jobs FOR EACH ROW
       WHEN (NEW.parent_id IS NOT NULL OR NEW.held OR NEW.held_by_parent) EXECUTE FUNCTION jobs_hold_new()""",
    # Whoever adopts a parent, comes back from its end or is lifted by the one who held it asks for its parent anew.
    f"""CREATE FUNCTION jobs_hold() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        other_parent boolean := NEW.parent_id IS DISTINCT FROM OLD.parent_id;
        comes_back boolean := OLD.status NOT IN ('pending', 'paused', 'queued', 'running');
        let_go boolean := OLD.held AND NOT OLD.held_by_parent AND NOT NEW.held;
        own boolean := NEW.held AND NOT OLD.held_by_parent;
        why text;
    BEGIN
        NEW.held_by_parent := OLD.held_by_parent AND NEW.held;
        IF other_parent AND NEW.parent_id IS NOT NULL THEN
            PERFORM jobs_refuse_parent(NEW.id, NEW.parent_id);
        END IF;
        IF NEW.status NOT IN ('pending', 'paused') THEN
            NEW.held := false;
        ELSIF NEW.parent_id IS NOT NULL AND (other_parent OR comes_back OR let_go) THEN
            {_LOCK}
            why := jobs_why_held(NEW.parent_id);
            NEW.held := own OR why IS NOT NULL;
            NEW.held_by_parent := NOT own AND why IS NOT NULL;
        ELSIF NEW.parent_id IS NULL AND OLD.held_by_parent THEN
            NEW.held := false;
        ELSIF NEW.held_by_parent AND NEW.status <> OLD.status THEN
            why := jobs_why_held(NEW.parent_id);
            NEW.held := why IS NOT NULL;
        END IF;
        NEW.held_by_parent := NEW.held_by_parent AND NEW.held;
        IF NEW.held_by_parent AND why IS NOT NULL THEN
            NEW.waiting_reason := CASE NEW.status WHEN 'pending' THEN why END;
        ELSIF OLD.held <> NEW.held AND NEW.waiting_reason IS NOT DISTINCT FROM OLD.waiting_reason THEN
            NEW.waiting_reason := NULL;  -- it told of something else
        END IF;
        NEW.queue_position := CASE WHEN NOT NEW.held THEN NEW.queue_position END;
        RETURN NEW;
    END $$""",
    """CREATE TRIGGER jobs_hold BEFORE UPDATE ON jobs FOR EACH ROW
       WHEN ((OLD.status, OLD.parent_id, OLD.held, OLD.held_by_parent)
             IS DISTINCT FROM (NEW.status, NEW.parent_id, NEW.held, NEW.held_by_parent))
       EXECUTE FUNCTION jobs_hold()""",
    # Locked on the way up: of two that would close a circle from both ends, one fails.
    """CREATE FUNCTION jobs_refuse_parent(child uuid, parent uuid) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        above uuid := parent;
        its_parent uuid;
    BEGIN
        WHILE above IS NOT NULL LOOP
            IF above = child THEN
                RAISE EXCEPTION 'Job % would wait for itself', child USING ERRCODE = 'check_violation';
            END IF;
            SELECT parent_id INTO its_parent FROM jobs WHERE id = above FOR SHARE;
            IF NOT FOUND AND above = parent
                AND NOT EXISTS (SELECT FROM jobs_archive WHERE id = parent AND status = 'completed') THEN
                RAISE EXCEPTION 'There is no job % that could still complete', parent
                    USING ERRCODE = 'foreign_key_violation';
            END IF;
            above := its_parent;
        END LOOP;
    END $$""",
]

# By each statement, for all parents that it has moved at once. One look at the index of held children tells that there
# are none; which one is looked at does not matter, they all say the same. What is changed here comes by here again and
# finds nothing left to say, unless a child has come meanwhile.
_TELL_CHILDREN = [
    """CREATE FUNCTION jobs_tell_children() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        parents uuid[];
    BEGIN
        SELECT array_agg(n.id) INTO parents
        FROM after AS n CROSS JOIN LATERAL (
            SELECT status, waiting_reason FROM jobs WHERE parent_id = n.id AND held_by_parent
            ORDER BY status DESC LIMIT 1
        ) AS child
        WHERE n.status = 'completed'
            OR (child.status = 'pending' AND child.waiting_reason IS DISTINCT FROM jobs_why_held(n.id));
        IF parents IS NULL THEN
            RETURN NULL;
        END IF;
        -- the eldest first, as everything that moves many jobs takes them
        PERFORM FROM jobs WHERE parent_id = ANY (parents) AND held_by_parent
        ORDER BY created_at, id FOR NO KEY UPDATE;
        WITH RECURSIVE above (id) AS (
            SELECT unnest(parents)
            UNION SELECT child.id FROM above JOIN jobs AS child ON child.parent_id = above.id AND child.held_by_parent
        ), told (id, why) AS MATERIALIZED (SELECT id, jobs_why_held(id) FROM above)
        UPDATE jobs AS child SET
            held = told.why IS NOT NULL, waiting_reason = CASE child.status WHEN 'pending' THEN told.why END
        FROM told
        WHERE child.parent_id = told.id AND child.held_by_parent
            AND (told.why IS NULL OR (child.status = 'pending' AND child.waiting_reason IS DISTINCT FROM told.why));
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER jobs_tell_children AFTER UPDATE ON jobs REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_tell_children()""",
    """CREATE FUNCTION jobs_orphan() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM gone CROSS JOIN LATERAL (
            SELECT FROM jobs WHERE parent_id = gone.id AND held_by_parent LIMIT 1) AS child) THEN
            RETURN NULL;
        END IF;
        WITH orphans AS (
            UPDATE jobs AS child SET
                status = 'cancelled',
                error = 'its parent ' || jobs_short_name(gone.type, gone.id) || ' was deleted before it had completed'
            FROM gone WHERE child.parent_id = gone.id AND child.held_by_parent
            RETURNING child.id, child.error
        )
        INSERT INTO job_logs (job_id, line) SELECT id, 'Cancelled: ' || error FROM orphans;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER jobs_orphan AFTER DELETE ON jobs REFERENCING OLD TABLE AS gone
       FOR EACH STATEMENT EXECUTE FUNCTION jobs_orphan()""",
]

# As with the other triggers: for every program that writes, whatever its search_path and rights.
_AS_OWNER = [
    f"ALTER FUNCTION {name}() SECURITY DEFINER SET search_path FROM CURRENT"
    for name in ("jobs_hold_new", "jobs_hold", "jobs_tell_children", "jobs_orphan")
]

# A session keeps the plan that it made when one row had changed, and that would compare each row of many with every
# other: two hundred thousand children of one parent are told within one statement.
_NO_NESTED_LOOP = "ALTER FUNCTION jobs_count_ended() SET enable_nestloop = off"

# As in 0001; new is what was held and is lifted.
_WAKE_UP = [
    "DROP TRIGGER jobs_wake_on_move ON jobs",
    """CREATE TRIGGER jobs_wake_on_move AFTER UPDATE ON jobs FOR EACH ROW
       WHEN (OLD.status IS DISTINCT FROM NEW.status AND NEW.status NOT IN ('queued', 'running')
             OR OLD.priority IS DISTINCT FROM NEW.priority
             OR OLD.held AND NOT NEW.held AND NEW.status = 'pending')
       EXECUTE FUNCTION jobs_wake_dispatcher()""",
]


def upgrade() -> None:
    for statement in (
        _COLUMNS,
        *_INDEXES,
        _NAME,
        _WHY,
        *_HOLD,
        *_TELL_CHILDREN,
        *_AS_OWNER,
        _NO_NESTED_LOOP,
        *_WAKE_UP,
    ):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: a downgrade would start what waits for another job.")
