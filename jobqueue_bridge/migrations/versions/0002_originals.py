"""What is done to originals and can be undone; outcomes of transcodes; how a moved or vanished file is known."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_VIDEOS = """
ALTER TABLE videos
    -- digest of the size and of samples of the content: cheap, and enough to know a moved file
    ADD COLUMN fingerprint text,
    ADD COLUMN missing_since timestamptz,
    -- the WebVTT of the sprite sheet, relative to the library root
    ADD COLUMN storyboard_path text
"""

_FILE_CHANGES = """
CREATE TABLE file_changes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id uuid,
    attempt integer,
    video_id uuid,
    action text NOT NULL CHECK (action IN ('replace', 'move')),
    path text NOT NULL,
    target text NOT NULL,
    backup text,
    partial text,
    state text NOT NULL DEFAULT 'intended'
        CHECK (state IN ('intended', 'done', 'rolled_back', 'undoing', 'undone')),
    facts jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
)
"""

_TRANSCODE_OUTCOMES = """
CREATE TABLE transcode_outcomes (
    content text NOT NULL,
    policy text NOT NULL,
    outcome text NOT NULL,
    detail text NOT NULL,
    job_id uuid,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (content, policy)
)
"""

_INDEXES = [
    "CREATE INDEX videos_fingerprint ON videos (fingerprint) WHERE fingerprint IS NOT NULL",
    "CREATE INDEX videos_sha256 ON videos (sha256) WHERE sha256 IS NOT NULL",
    # at most one at a time for a file, and what a crash left is found without reading the history
    "CREATE UNIQUE INDEX file_changes_unfinished ON file_changes (path) WHERE state = 'intended' OR state = 'undoing'",
    "CREATE INDEX file_changes_video ON file_changes (video_id, created_at)",
    "CREATE INDEX file_changes_job ON file_changes (job_id)",
]


def upgrade() -> None:
    for statement in (_VIDEOS, _FILE_CHANGES, _TRANSCODE_OUTCOMES, *_INDEXES):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: a downgrade would drop what undo needs.")
