"""Which GPU an attempt was given. Of a job that holds VRAM the numbers of its units tell it."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE job_attempts ADD COLUMN gpu integer")


def downgrade() -> None:
    op.execute("ALTER TABLE job_attempts DROP COLUMN gpu")
