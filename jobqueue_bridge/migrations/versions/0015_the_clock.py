"""What was made of each instant of a schedule, and which content of a video a kind of job has worked on."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TICKS = """
CREATE TABLE schedule_ticks (
    schedule text NOT NULL,
    at timestamptz NOT NULL,
    -- without a reference to jobs, which are archived and cleared while Dagster may still ask for the instant
    job_id uuid,
    said text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule, at)
)
"""

_CONTENT = """
CREATE FUNCTION video_content(video videos) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(video.fingerprint, video.size_bytes || ' bytes of ' || extract(epoch FROM video.mtime), '')
$$
"""

_PRODUCTS = [
    """CREATE TABLE video_products (
        video_id uuid NOT NULL REFERENCES videos ON DELETE CASCADE,
        type text NOT NULL,
        made_of text,
        asked_for text,
        PRIMARY KEY (type, video_id)
    ) WITH (fillfactor = 80)""",
    "CREATE INDEX video_products_of_video ON video_products (video_id)",
    # what there is by now was made of what is there now
    """INSERT INTO video_products (video_id, type, made_of)
       SELECT id, 'thumbnail_generate', video_content(videos) FROM videos WHERE thumbnail_path IS NOT NULL""",
    """INSERT INTO video_products (video_id, type, made_of)
       SELECT DISTINCT videos.id, 'validate', video_content(videos)
       FROM videos JOIN jobs ON jobs.video_id = videos.id
       WHERE jobs.type = 'validate' AND jobs.status = 'completed'""",
]

_NOTE = [
    """CREATE FUNCTION video_products_note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO video_products (video_id, type, made_of)
        SELECT id, NEW.type, video_content(videos) FROM videos WHERE id = NEW.video_id
        ON CONFLICT (type, video_id) DO UPDATE SET made_of = excluded.made_of;
        RETURN NULL;
    END $$""",
    "ALTER FUNCTION video_products_note() SECURITY DEFINER SET search_path FROM CURRENT",
    """CREATE TRIGGER video_products_note AFTER UPDATE ON jobs FOR EACH ROW
       WHEN (NEW.status = 'completed' AND OLD.status IS DISTINCT FROM NEW.status
             AND NEW.type IN ('thumbnail_generate', 'validate'))
       EXECUTE FUNCTION video_products_note()""",
]


def upgrade() -> None:
    for statement in (_TICKS, _CONTENT, *_PRODUCTS, *_NOTE):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION video_products_note() CASCADE")
    op.execute("DROP TABLE video_products, schedule_ticks")
    op.execute("DROP FUNCTION video_content(videos)")
