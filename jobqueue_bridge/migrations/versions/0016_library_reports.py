"""Reports on the library: each whole, and its key figures beside it, so that a row of them is read at once."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE library_reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- without a reference to jobs, which are archived and cleared as if no report looked on
    job_id uuid,
    made_at timestamptz NOT NULL DEFAULT now(),
    key_figures jsonb NOT NULL,
    report jsonb NOT NULL
)
"""


def upgrade() -> None:
    op.execute(_TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE library_reports")
