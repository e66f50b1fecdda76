"""What a scan asks for when it finds new videos: a chain for each, in the transaction that adds its row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import dispatching, lifecycle, logs, queue, videos
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.tables import videos as videos_table
from jobqueue_bridge.vocabulary import JobStatus
from tests.pipelines.conftest import make_clip, run_in_process

Configure = Callable[[Any], None]
Chains = Callable[[], dict[str, list[str]]]


@pytest.fixture
def on_new_video(monkeypatch: pytest.MonkeyPatch) -> Configure:
    return lambda chain: monkeypatch.setenv("MEDIA_ON_NEW_VIDEO", json.dumps(chain))


@pytest.fixture
def chains(connection: sa.Connection) -> Chains:
    """By path, the types of the jobs that a scan asked for, in their order; from a look on they are cancelled."""

    def look() -> dict[str, list[str]]:
        asked = sa.select(videos_table.c.path, jobs.c.type, jobs.c.id, jobs.c.parent_id, jobs.c.status).join(
            jobs, jobs.c.video_id == videos_table.c.id
        )
        rows = connection.execute(
            asked.where(jobs.c.origin == "chain", jobs.c.status == "pending").order_by(jobs.c.created_at)
        ).all()
        found: dict[str, list[str]] = {}
        latest: dict[str, UUID] = {}
        for row in rows:
            assert row.parent_id == latest.get(row.path), "each is the child of the one before"
            found.setdefault(row.path, []).append(row.type)
            latest[row.path] = row.id
        lifecycle.apply(connection, lifecycle.Action.CANCEL, [row.id for row in rows])
        return found

    return look


@pytest.fixture
def clip(ffmpeg: Path, library: Path) -> Path:
    return make_clip(ffmpeg, library / "library/videos/a.mp4")


def log(database: sa.Engine, job: queue.Job) -> str:
    with database.begin() as connection:
        return logs.text(connection, job.id)


def test_each_new_video_gets_its_chain_and_nothing_else_does(
    run_job: Any, clip: Path, on_new_video: Configure, chains: Chains, ffmpeg: Path, database: sa.Engine
) -> None:
    on_new_video(["validate", "thumbnail_generate", "reencode_streaming"])
    clip.with_name("b.mp4").write_bytes(clip.read_bytes() + b"\0" * 8)
    done = run_job("scan", {})
    wanted = ["validate", "thumbnail_generate", "reencode_streaming"]
    assert (done.result["new"], done.result["enqueued"]) == (2, 6)
    assert "6 jobs enqueued for what is new" in log(database, done)
    assert chains() == {"library/videos/a.mp4": wanted, "library/videos/b.mp4": wanted}

    clip.rename(clip.with_name("moved.mp4"))
    clip.with_name("b.mp4").unlink()
    make_clip(ffmpeg, clip.with_name("b.mp4"), 2, "blue")
    done = run_job("scan", {})
    assert (done.result["moved"], done.result["changed"]) == (1, 1)
    assert "enqueued" not in done.result
    assert run_job("scan", {"skipExisting": False}).result["changed"] == 2
    assert chains() == {}


def test_by_default_a_new_video_gets_nothing(run_job: Any, clip: Path, chains: Chains) -> None:
    assert run_job("scan", {}).result["new"] == 1
    assert chains() == {}


def test_a_video_that_cannot_be_read_gets_no_jobs_and_the_log_says_so(
    run_job: Any, clip: Path, on_new_video: Configure, chains: Chains, database: sa.Engine
) -> None:
    on_new_video(["validate"])
    broken = "library/videos/broken ' \n.mp4"
    (clip.parent / broken.rpartition("/")[2]).write_bytes(b"no film" * 999)
    done = run_job("scan", {})
    assert (done.result["new"], done.result["invalid"], done.result["enqueued"]) == (2, 1, 1)
    assert f"No jobs for {broken!r}: " in log(database, done)
    assert chains() == {"library/videos/a.mp4": ["validate"]}


def test_what_jobs_have_made_is_no_new_video(
    run_job: Any, clip: Path, on_new_video: Configure, chains: Chains, library: Path, connection: sa.Connection
) -> None:
    """A rendition whose row is lost, one whose row is yet to come, and a file on its way to another place."""
    on_new_video(["validate"])
    (library / "playback").mkdir()
    (library / "playback/a.mp4").write_bytes(clip.read_bytes())
    assert run_job("scan", {"path": "playback"}).result["new"] == 1
    assert chains() == {}

    for status, path, gets in (
        ("running", "library/videos/a.mp4", {}),
        ("cancelled", "library/videos/a.mp4", {"library/videos/a.mp4": ["validate"]}),
    ):
        connection.execute(sa.delete(videos_table))
        connection.execute(
            sa.insert(jobs).values(
                type="compile_random",
                params={},
                resource_category="gpu_encode",
                status=status,
                result={"publishing": path, "sizeBytes": 1},
            )
        )
        assert run_job("scan", {}).result["new"] == 1
        assert chains() == gets
        connection.execute(sa.text("DELETE FROM jobs WHERE type = 'compile_random'"))

    connection.execute(sa.delete(videos_table))
    connection.execute(
        sa.text("INSERT INTO file_changes (action, path, target) VALUES ('move', 'inbox/x.mp4', :at)"),
        {"at": "library/videos/a.mp4"},
    )
    assert run_job("scan", {}).result["new"] == 1
    assert chains() == {}


def test_no_video_is_ever_there_without_its_jobs(
    run_job: Any, clip: Path, on_new_video: Configure, chains: Chains, connection: sa.Connection
) -> None:
    """Whatever ends the scan between the two: both are of one transaction."""
    on_new_video(["validate", "thumbnail_generate"])
    connection.execute(
        sa.text(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'the power is gone'; END $$"
        )
    )
    connection.execute(
        sa.text(
            "CREATE TRIGGER refuse BEFORE INSERT ON jobs FOR EACH ROW"
            " WHEN (NEW.type = 'thumbnail_generate') EXECUTE FUNCTION refuse()"
        )
    )
    try:
        assert run_job("scan", {}).status != JobStatus.COMPLETED
        assert connection.scalar(sa.select(sa.func.count()).select_from(videos_table)) == 0
    finally:
        connection.execute(sa.text("DROP FUNCTION refuse() CASCADE"))
    connection.execute(sa.delete(jobs))
    assert run_job("scan", {}).result["new"] == 1
    assert chains() == {"library/videos/a.mp4": ["validate", "thumbnail_generate"]}


def test_of_two_scans_that_meet_the_same_file_one_has_found_it(database: sa.Engine) -> None:
    facts = [{"path": "library/videos/a.mp4", "filename": "a.mp4"}]
    with database.begin() as first:
        ids = videos.upsert(first, facts).values()
        assert videos.added(first, ids) == set(ids)
    with database.begin() as second:
        assert videos.added(second, videos.upsert(second, facts).values()) == set()


def test_a_chain_runs_one_job_after_the_other_with_the_params_that_the_settings_give(
    run_job: Any,
    clip: Path,
    on_new_video: Configure,
    settings: Settings,
    instance: dg.DagsterInstance,
    library: Path,
    database: sa.Engine,
) -> None:
    on_new_video(["validate", {"type": "thumbnail_generate", "params": {"width": 64, "timestamp": 0.2}, "priority": 2}])
    run_job("scan", {})
    for kind, priority in (("validate", 5), ("thumbnail_generate", 2)):
        with database.begin() as connection:
            (ready,) = dispatching.ready(connection)
        assert (ready.type, ready.priority, ready.origin) == (kind, priority, "chain")
        done = run_in_process(settings, instance, ready)
        assert done.status == JobStatus.COMPLETED, done.error
    assert done.params["width"] == 64
    assert [path.suffix for path in (library / "thumbnails").iterdir()] == [".jpg"]


def test_where_the_first_job_of_a_chain_fails_the_others_wait_and_say_why(
    run_job: Any,
    clip: Path,
    on_new_video: Configure,
    settings: Settings,
    instance: dg.DagsterInstance,
    database: sa.Engine,
) -> None:
    on_new_video(["validate", "thumbnail_generate"])
    run_job("scan", {})
    clip.write_bytes(b"not a film any more" * 99)
    with database.begin() as connection:
        (ready,) = dispatching.ready(connection)
    assert run_in_process(settings, instance, ready).status == JobStatus.FAILED
    with database.begin() as connection:
        assert dispatching.ready(connection) == []
        (child,) = queue.children(connection, ready.id, limit=2)
    assert str(child.waiting_reason).startswith(f"its parent validate {str(ready.id)[:8]} failed: ")
