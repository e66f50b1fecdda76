"""What videos show: their shots and their tags, as rows to be queried. Everything else about a content is in a file."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = [
    """CREATE TABLE video_shots (
        video_id uuid NOT NULL REFERENCES videos ON DELETE CASCADE,
        number integer NOT NULL,
        scene integer NOT NULL,
        start_s double precision NOT NULL,
        end_s double precision NOT NULL,
        transition text NOT NULL,
        PRIMARY KEY (video_id, number)
    )""",
    """CREATE TABLE video_tags (
        video_id uuid NOT NULL REFERENCES videos ON DELETE CASCADE,
        name text NOT NULL,
        score double precision NOT NULL,
        count integer NOT NULL,
        seconds double precision NOT NULL,
        spans jsonb NOT NULL,
        model text NOT NULL,
        PRIMARY KEY (video_id, name)
    )""",
    "CREATE INDEX video_tags_by_name ON video_tags (name, score DESC, video_id)",
]


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE video_tags, video_shots")
