"""Notes of what happened to videos outside of any run; whatever program removes a video's row leaves one."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_STATEMENTS = [
    """CREATE TABLE video_notes (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        video_id uuid NOT NULL,
        what text NOT NULL,
        path text NOT NULL,
        at timestamptz NOT NULL DEFAULT now()
    )""",
    """CREATE FUNCTION videos_note_forgotten() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO video_notes (video_id, what, path) SELECT id, 'forgotten', path FROM gone;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER videos_note_forgotten AFTER DELETE ON videos REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION videos_note_forgotten()""",
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER videos_note_forgotten ON videos")
    op.execute("DROP FUNCTION videos_note_forgotten")
    op.execute("DROP TABLE video_notes")
