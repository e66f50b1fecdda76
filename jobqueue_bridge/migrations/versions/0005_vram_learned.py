"""What completed jobs took of GPU memory, by type, codec and class of resolution."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_VRAM_LEARNED = """
CREATE TABLE vram_learned (
    type text NOT NULL,
    codec text NOT NULL,
    resolution text NOT NULL,
    runs bigint NOT NULL,
    max_mb integer NOT NULL,
    recent_mb integer[] NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (type, codec, resolution)
)
"""


def upgrade() -> None:
    op.execute(_VRAM_LEARNED)


def downgrade() -> None:
    op.execute("DROP TABLE vram_learned")
