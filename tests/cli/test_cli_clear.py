"""`jobs clear` and `jobs cleanup`: what is finished leaves the queue and is still known; what is unfinished goes."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import stats
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import file_changes, job_leases, jobs, jobs_archive
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.left_behind import owner
from media_pipelines.media import files

Cli = Callable[..., Any]
Add = Callable[..., UUID]
Finished = Callable[..., UUID]


@pytest.fixture(autouse=True)
def _library_path(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_LIBRARY_PATH", str(library))


@pytest.fixture
def finished(add_job: Add, connection: sa.Connection) -> Finished:
    """finished("failed", 31): a job that ended so many days ago."""

    def add(status: str = "completed", days: float = 0, **values: Any) -> UUID:
        ended_at = datetime.now(UTC) - timedelta(days=days)
        job_id = add_job("scan", {"path": f"inbox/{uuid4()}"}, status=status, **values)
        connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(completed_at=ended_at))
        return job_id

    return add


def left(connection: sa.Connection) -> set[UUID]:
    return set(connection.scalars(sa.select(jobs.c.id)))


def archived(connection: sa.Connection) -> set[UUID]:
    return set(connection.scalars(sa.select(jobs_archive.c.id)))


def test_clear_takes_completed_jobs_unless_told_otherwise(
    cli: Cli, finished: Finished, add_job: Add, connection: sa.Connection
) -> None:
    done, others = finished(), {finished("failed"), finished("cancelled"), add_job()}
    ended = cli("jobs", "clear", "--force")
    assert (ended.code, ended.out) == (
        0,
        "Cleared 1 completed job; `jobs show` still finds them, in the archive\n",
    )
    assert (left(connection), archived(connection)) == (others, {done})


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_clear_takes_the_status_that_is_named(
    cli: Cli, finished: Finished, connection: sa.Connection, status: str
) -> None:
    by_status = {name: finished(name) for name in ("completed", "failed", "cancelled")}
    assert cli("jobs", "clear", "--status", status, "--force", "--json").json == {"status": status, "cleared": 1}
    assert archived(connection) == {by_status[status]}


def test_clear_all_takes_every_finished_job_and_no_live_one(
    cli: Cli, finished: Finished, add_job: Add, connection: sa.Connection
) -> None:
    for status in ("completed", "failed", "cancelled"):
        finished(status)
    live = add_job()
    assert cli("jobs", "clear", "--status", "all", "--force", "--json").json == {"status": "all", "cleared": 3}
    assert left(connection) == {live}


def test_clear_with_nothing_to_clear_asks_nothing(cli: Cli) -> None:
    ended = cli("jobs", "clear", "--status", "failed")
    assert (ended.code, ended.out) == (0, "No failed jobs to clear\n")


def test_clear_refuses_a_status_that_is_not_finished(cli: Cli) -> None:
    assert cli("jobs", "clear", "--status", "running").code == 2


@pytest.mark.parametrize(("answer", "moved"), [("n\n", 0), ("\n", 0), ("y\n", 1)])
def test_clear_asks_first(finished: Finished, connection: sa.Connection, answer: str, moved: int) -> None:
    finished("failed")
    keyboard, terminal = pty.openpty()
    os.write(keyboard, answer.encode())
    ended = subprocess.run(
        [sys.executable, "-m", "media_pipelines.cli.main", "jobs", "clear", "--status", "failed"],
        stdin=terminal, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    os.close(keyboard)
    os.close(terminal)
    assert "Move 1 failed job to the archive?" in ended.stderr
    assert ended.returncode == (0 if moved else 1)
    assert len(archived(connection)) == moved


def test_show_and_logs_read_a_cleared_job(cli: Cli, finished: Finished, connection: sa.Connection) -> None:
    job = finished("failed", log="first\nlast", error="it broke")
    before = cli("jobs", "show", str(job), "--json").json
    cli("jobs", "clear", "--status", "failed", "--force")
    shown = cli("jobs", "show", str(job)[:8])
    assert "Archived:" in shown.out
    assert "it broke" in shown.out
    after = cli("jobs", "show", str(job)[:8], "--json").json
    assert {**before, "archivedAt": after["archivedAt"]} == after
    assert cli("jobs", "logs", str(job)).out == "first\nlast\n"
    assert cli("jobs", "logs", str(job), "--follow", "--tail", "1").out == "last\n"


# Cleanup of jobs


def test_cleanup_archives_what_is_older_than_the_setting(
    cli: Cli, finished: Finished, connection: sa.Connection
) -> None:
    old, young = finished("failed", 31), finished("failed", 29)
    shown = cli("jobs", "cleanup", "--dry-run")
    assert (shown.code, shown.out) == (0, "1 finished job older than 30 days, for the archive\n")
    assert left(connection) == {old, young}
    assert cli("jobs", "cleanup", "--force").code == 0
    assert (left(connection), archived(connection)) == ({young}, {old})


def test_cleanup_archives_what_is_older_than_the_option_says(
    cli: Cli, finished: Finished, connection: sa.Connection
) -> None:
    old, young = finished("completed", 8), finished("completed", 6)
    ended = cli("jobs", "cleanup", "--older-than", "7", "--force", "--json").json
    assert (ended["olderThanDays"], ended["jobs"], ended["archived"]) == (7, 1, 1)
    assert (left(connection), archived(connection)) == ({young}, {old})


def test_cleanup_without_anything_to_do_asks_nothing(cli: Cli) -> None:
    ended = cli("jobs", "cleanup", "--include-backups", "--remove-temp")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "0 finished jobs older than 30 days, for the archive",
        "0 originals kept, 0 B",
        "0 unfinished files, 0 B",
    ]


# Unfinished files


@pytest.fixture
def unfinished(library: Path) -> Callable[..., Path]:
    """unfinished(job, 1): a partial that the attempt has left below the library."""

    def make(job_id: UUID, attempt: int, name: str = "playback/deep/a.mp4", age_s: float = 0) -> Path:
        target = library / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = files.partial_path(target, owner(job_id, attempt))
        partial.write_bytes(b"half")
        past = datetime.now(UTC).timestamp() - age_s
        os.utime(partial, (past, past))
        return partial

    return make


@pytest.mark.parametrize("status", [status.value for status in JobStatus])
def test_an_unfinished_file_goes_unless_its_attempt_is_at_work(
    cli: Cli, add_job: Add, unfinished: Any, status: str
) -> None:
    job = add_job("scan", {"path": "inbox/x"}, attempt=2)
    at_work = status in ("queued", "running")
    latest, earlier = unfinished(job, 2), unfinished(job, 1)
    with_status = {"status": status, "lease_token": uuid4() if status == "running" else None}
    _set(job, with_status)
    ended = cli("jobs", "cleanup", "--remove-temp", "--force", "--json").json
    assert {one["attempt"] for one in ended["unfinished"]} == ({1} if at_work else {1, 2})
    assert latest.exists() == at_work
    assert not earlier.exists()


def _set(job: UUID, values: dict[str, Any]) -> None:
    from jobqueue_bridge.database import engine_for
    from jobqueue_bridge.settings import load_settings

    with engine_for(load_settings()).begin() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id == job).values(**values))


def test_an_unfinished_file_of_a_run_that_is_still_ending_stays(
    cli: Cli, finished: Finished, unfinished: Any, connection: sa.Connection
) -> None:
    job = finished("cancelled", attempt=1)
    connection.execute(sa.insert(job_leases).values(job_id=job, attempt=1, token=uuid4()))
    partial = unfinished(job, 1)
    assert cli("jobs", "cleanup", "--remove-temp", "--force", "--json").json["removedUnfinished"] == 0
    assert partial.exists()


def test_an_unfinished_file_of_an_archived_job_goes(
    cli: Cli, finished: Finished, unfinished: Any, connection: sa.Connection
) -> None:
    partial = unfinished(finished(attempt=3), 3)
    cli("jobs", "clear", "--force")
    assert cli("jobs", "cleanup", "--remove-temp", "--force").code == 0
    assert not partial.exists()


def test_an_unfinished_file_that_a_change_still_needs_stays(
    cli: Cli, add_job: Add, unfinished: Any, connection: sa.Connection, library: Path
) -> None:
    job = add_job("scan", {"path": "inbox/y"}, status="running", attempt=2, lease_token=uuid4())
    partial = unfinished(job, 1)
    connection.execute(
        sa.insert(file_changes).values(
            job_id=job,
            attempt=1,
            action="replace",
            path="a.mp4",
            target="a.mp4",
            partial=str(partial.relative_to(library)),
        )
    )
    assert cli("jobs", "cleanup", "--remove-temp", "--dry-run", "--json").json["unfinished"] == []
    connection.execute(sa.update(file_changes).values(state="done"))
    assert len(cli("jobs", "cleanup", "--remove-temp", "--dry-run", "--json").json["unfinished"]) == 1


def test_a_strangers_unfinished_file_goes_only_when_it_is_a_day_old(cli: Cli, unfinished: Any) -> None:
    young, old = unfinished(uuid4(), 1), unfinished(uuid4(), 1, age_s=90_000)
    assert cli("jobs", "cleanup", "--remove-temp", "--force").code == 0
    assert (young.exists(), old.exists()) == (True, False)


def test_files_that_bear_no_mark_of_ours_stay(cli: Cli, library: Path, settings: Settings) -> None:
    names = [
        "a.partial.mp4", "a.part", f"{uuid4()}.partial.mp4", f"a.{uuid4()}-0.partial.mp4", f"a.{uuid4()}-1.mp4",
        f"a.{uuid4()}-1.partial.mp4.bak", "a.tmp", f"undo-{uuid4()}.partial.mp4",
    ]  # fmt: skip
    for name in names:
        (library / name).write_bytes(b"theirs")
        os.utime(library / name, (0, 0))
    (library / "linked").mkdir()
    (library / "linked" / f"a.{uuid4()}-1.partial.mp4").symlink_to(library / "a.tmp")
    settings.temp_dir.mkdir(exist_ok=True)
    theirs = settings.temp_dir / "notes"
    theirs.mkdir()
    assert cli("jobs", "cleanup", "--remove-temp", "--force", "--json").json["unfinished"] == []
    assert sorted(path.name for path in library.glob("*.*")) == sorted(names)
    assert theirs.exists()
    theirs.rmdir()


def test_folders_for_temporary_files_are_cleaned_up_too(
    cli: Cli, finished: Finished, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIA_TEMP_DIRECTORY", str(tmp_path))
    job = finished("failed", attempt=1)
    pieces = settings.temp_dir / owner(job, 1) / "join-1"
    pieces.mkdir(parents=True)
    (pieces / "0.ts").write_bytes(b"piece")
    partial = files.partial_path(tmp_path / "a.mkv", owner(job, 1))
    partial.write_bytes(b"half")
    below = tmp_path / "somebody" / partial.name
    below.parent.mkdir()
    below.write_bytes(b"not where we write")
    ended = cli("jobs", "cleanup", "--remove-temp", "--force", "--json").json
    assert ended["removedUnfinished"] == 2
    assert not pieces.parent.exists()
    assert not partial.exists()
    assert below.exists()


def test_young_unfinished_files_stay_when_only_older_ones_are_asked_for(
    cli: Cli, finished: Finished, unfinished: Any
) -> None:
    job = finished("failed", attempt=1)
    young, old = unfinished(job, 1, "playback/a.mp4"), unfinished(job, 1, "playback/b.mp4", age_s=8 * 86_400)
    assert cli("jobs", "cleanup", "--remove-temp", "--older-than", "7", "--force").code == 0
    assert (young.exists(), old.exists()) == (True, False)


def test_a_dry_run_names_unfinished_files_and_removes_none(cli: Cli, finished: Finished, unfinished: Any) -> None:
    partial = unfinished(finished("failed", attempt=1), 1)
    shown = cli("jobs", "cleanup", "--remove-temp", "--dry-run").out
    assert str(partial) in shown
    assert "1 unfinished files, 4 B" in shown
    assert partial.exists()


def test_restore_knows_an_archived_job(cli: Cli, finished: Finished, connection: sa.Connection) -> None:
    job = finished("completed")
    cli("jobs", "clear", "--force")
    ended = cli("restore", str(job)[:8])
    assert "Nothing that this job did is left to undo" in ended.err
    assert stats.read(connection).by_status[JobStatus.COMPLETED] == 0
