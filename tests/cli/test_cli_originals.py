"""`restore` and `jobs cleanup` on files that were really replaced."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import audit
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.file_changes import FileChange
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.settings import Settings
from media_pipelines.journal import Journal
from media_pipelines.media import replace

Cli = Callable[..., Any]
Replace = Callable[..., FileChange]


@pytest.fixture(autouse=True)
def _library_path(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_LIBRARY_PATH", str(library))


@pytest.fixture
def replaced(settings: Settings, library: Path, add_job: Any, add_video: Any) -> Replace:
    """replaced("a.mp4"): a video whose original "old" is kept, and in whose place "new" is."""

    def act(name: str, *, keep: bool = True) -> FileChange:
        path = library / "inbox" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"the old one")
        partial = path.with_name("x.partial.mp4")
        partial.write_bytes(b"new")
        token = uuid4()
        job = add_job("scan", {"path": f"inbox/{token}"}, status="running", attempt=1, lease_token=token)
        journal = Journal(engine_for(settings), library)
        return journal.replace(
            Lease(job, 1, token), add_video(f"inbox/{name}"), path=path, target=path, partial=partial,
            expected=replace.seen(path), keep_original=keep, mark="x", columns={"video_codec": "hevc"},
        )  # fmt: skip

    return act


@pytest.mark.parametrize("how", ["video", "job", "change", "prefix of a change", "path"])
def test_an_original_comes_back_whatever_names_it(cli: Cli, replaced: Replace, library: Path, how: str) -> None:
    change = replaced("a.mp4")
    named = {
        "video": str(change.video_id),
        "job": str(change.job_id),
        "change": str(change.id),
        "prefix of a change": str(change.id)[:12],
        "path": "inbox/a.mp4",
    }[how]

    ended = cli("restore", named, "--json")

    assert ended.code == 0, ended.err
    assert (ended.json["path"], ended.json["state"]) == ("inbox/a.mp4", "undone")
    assert [path.read_bytes() for path in (library / "inbox").iterdir()] == [b"the old one"]
    assert cli("restore", named).code == 1, "nothing is left to undo"


def test_what_was_restored_stands_in_the_audit_log(
    cli: Cli, replaced: Replace, library: Path, connection: sa.Connection
) -> None:
    change = replaced("a.mp4")
    assert cli("restore", str(change.video_id)).code == 0
    [entry] = audit.page(connection, limit=10).entries
    assert (entry.action, entry.job_id) == ("video.restore", change.job_id)
    assert entry.details == {"changeId": str(change.id), "videoId": str(change.video_id), "path": "inbox/a.mp4"}


def test_a_dry_run_restores_nothing(cli: Cli, replaced: Replace, library: Path) -> None:
    change = replaced("a.mp4")
    ended = cli("restore", str(change.video_id), "--dry-run")
    assert (ended.code, ended.out.strip()) == (0, "inbox/a.mp4 would be the original again")
    assert (library / "inbox/a.mp4").read_bytes() == b"new"


def test_a_dry_run_leaves_what_a_crash_left(cli: Cli, replaced: Replace, connection: sa.Connection) -> None:
    left = replaced("a.mp4")
    connection.execute(sa.text("UPDATE file_changes SET state = 'intended', finished_at = NULL"))
    connection.execute(sa.text("UPDATE jobs SET status = 'failed', lease_token = NULL"))
    states = sa.text("SELECT state FROM file_changes WHERE id = :id")
    cli("restore", str(left.id), "--dry-run")
    assert connection.execute(states, {"id": left.id}).scalar_one() == "intended"
    cli("restore", str(left.id))
    assert connection.execute(states, {"id": left.id}).scalar_one() == "undone"


def test_a_file_that_was_edited_since_is_not_thrown_away(cli: Cli, replaced: Replace, library: Path) -> None:
    change = replaced("a.mp4")
    (library / "inbox/a.mp4").write_bytes(b"edited by hand")
    ended = cli("restore", str(change.video_id))
    assert ended.code == 1
    assert "changed since it was made; to lose nothing, move it away, then restore again" in ended.err
    (library / "inbox/a.mp4").rename(library / "inbox/edited.mp4")
    assert cli("restore", str(change.video_id)).code == 0
    assert (library / "inbox/edited.mp4").read_bytes() == b"edited by hand"
    assert (library / "inbox/a.mp4").read_bytes() == b"the old one"


def test_what_is_not_known_is_bad_usage(cli: Cli) -> None:
    assert cli("restore", "550e8400").code == 2
    assert cli("restore", "no such\x1b[31m path").code == 2


def test_changes_are_undone_from_the_last_to_the_first(cli: Cli, replaced: Replace, library: Path) -> None:
    first = replaced("a.mp4")
    second = replaced("a.mp4")
    ended = cli("restore", str(first.id))
    assert ended.code == 1
    assert str(second.id) in ended.err


def test_cleanup_finds_every_original_that_was_kept(cli: Cli, replaced: Replace, library: Path) -> None:
    replaced("a.mp4")
    replaced("b\nb.mp4")
    gone = replaced("c.mp4")
    replaced("d.mp4", keep=False)
    (library / str(gone.backup)).unlink()

    shown = cli("jobs", "cleanup", "--include-backups", "--dry-run", "--json").json
    assert [(one["path"], one["state"]) for one in shown["originals"]] == [
        ("inbox/a.mp4.original", "kept"),
        ("inbox/b\nb.mp4.original", "kept"),
        ("inbox/c.mp4.original", "missing"),
    ]
    assert len(list(library.rglob("*.original"))) == 2

    ended = cli("jobs", "cleanup", "--include-backups", "--force")
    assert ended.code == 0, ended.err
    assert "inbox/b\\nb.mp4.original" in ended.out
    assert "2 originals kept" in ended.out
    assert list(library.rglob("*.original")) == []
    assert (library / "inbox/a.mp4").read_bytes() == b"new"
    assert cli("restore", "inbox/a.mp4").code == 1


def test_cleanup_asks_first_and_spares_what_is_young(
    cli: Cli, replaced: Replace, library: Path, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = replaced("a.mp4")
    with open(os.devnull) as nothing:  # noqa: PTH123 - stands in for a keyboard that says nothing
        monkeypatch.setattr("sys.stdin", nothing)
        assert cli("jobs", "cleanup", "--include-backups").code == 1
    assert (library / str(change.backup)).exists()
    assert cli("jobs", "cleanup", "--include-backups", "--older-than", "7", "--force").code == 0
    assert (library / str(change.backup)).exists()
    connection.execute(sa.text("UPDATE file_changes SET created_at = now() - interval '8 days'"))
    assert cli("jobs", "cleanup", "--include-backups", "--older-than", "7", "--force").code == 0
    assert not (library / str(change.backup)).exists()


def test_a_file_in_the_place_of_a_kept_original_stays(cli: Cli, replaced: Replace, library: Path) -> None:
    change = replaced("a.mp4")
    (library / str(change.backup)).write_bytes(b"something else of the user's")
    ended = cli("jobs", "cleanup", "--include-backups", "--force")
    assert "stays" in ended.out
    assert (library / str(change.backup)).exists()
