"""Webhooks: a message for each change of a job's status, written in the transaction that makes the change."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TABLES = [
    # what the settings name; the API writes them here when it starts
    """CREATE TABLE webhooks (
        url text PRIMARY KEY,
        statuses text[] NOT NULL,
        types text[] NOT NULL  -- none: every type
    )""",
    """CREATE TABLE webhook_messages (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        url text NOT NULL REFERENCES webhooks ON DELETE CASCADE,
        payload jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        tries integer NOT NULL DEFAULT 0,
        -- null: nothing more is to be done
        due_at timestamptz DEFAULT now(),
        delivered_at timestamptz,
        error text
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)""",
    "CREATE INDEX webhook_messages_due ON webhook_messages (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX webhook_messages_newest ON webhook_messages (created_at, id)",
]
_INSTANT = 'to_char({0}, \'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\')'
_DATA = {
    "id": "NEW.id",
    "type": "NEW.type",
    "status": "NEW.status",
    "from": "CASE TG_OP WHEN 'UPDATE' THEN OLD.status END",
    "resourceCategory": "NEW.resource_category",
    "priority": "NEW.priority",
    "videoId": "NEW.video_id",
    "attempt": "NEW.attempt",
    "retryCount": "NEW.retry_count",
    "error": "left(NEW.error, 1000)",
    "createdAt": _INSTANT.format("NEW.created_at"),
    "startedAt": _INSTANT.format("NEW.started_at"),
    "completedAt": _INSTANT.format("NEW.completed_at"),
}
_FIELDS = ", ".join(f"'{name}', {value}" for name, value in _DATA.items())
_TELL = [
    f"""CREATE FUNCTION webhooks_tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO webhook_messages (url, payload)
        SELECT url, jsonb_build_object('type', 'job.' || NEW.status,
                                       'timestamp', {_INSTANT.format("now() AT TIME ZONE 'utc'")},
                                       'data', jsonb_build_object({_FIELDS}))
        FROM webhooks
        WHERE NEW.status = ANY (statuses) AND (types = '{{}}' OR NEW.type = ANY (types));
        RETURN NULL;
    END $$""",
    "ALTER FUNCTION webhooks_tell() SECURITY DEFINER SET search_path FROM CURRENT",
    """CREATE TRIGGER webhooks_tell_created AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION webhooks_tell()""",
    """CREATE TRIGGER webhooks_tell_moved AFTER UPDATE ON jobs FOR EACH ROW
       WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION webhooks_tell()""",
]


def upgrade() -> None:
    for statement in (*_TABLES, *_TELL):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION webhooks_tell() CASCADE")
    op.execute("DROP TABLE webhook_messages, webhooks")
