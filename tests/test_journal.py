"""A change of an original, with the process killed at every step: afterwards one whole file is where the row says."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import file_changes, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import ChangeUnderWay, LeaseLost, PathTaken
from jobqueue_bridge.file_changes import ChangeState, FileChange
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.settings import Settings
from media_pipelines.journal import Journal
from media_pipelines.media import errors, relocate, replace

OLD, NEW = b"the original, which nobody has twice" * 1000, b"made of it" * 500
SAME_NAME = ("intended", "backed up", "replaced", "flushed", "recorded", "done")
OTHER_NAME = ("intended", "backed up", "published", "old name removed", "flushed", "recorded", "done")
REPLACING = [
    *(("a.mp4", step) for step in SAME_NAME),
    *(("a.mkv", step) for step in OTHER_NAME),
]


@dataclass
class Stage:
    """A video of the library, a job that holds it, and a verified partial beside it."""

    settings: Settings
    root: Path
    lease: Lease
    video: UUID
    path: Path

    def journal(self, after_step: Callable[[str], None] = lambda step: None) -> Journal:
        return Journal(engine_for(self.settings), self.root, after_step)

    def replace(self, name: str = "a.mp4", *, keep: bool = True, after_step: Any = lambda step: None) -> FileChange:
        partial = self.path.with_name("a.mark.partial.mp4")
        if not partial.exists():
            partial.write_bytes(NEW)
        return self.journal(after_step).replace(
            self.lease,
            self.video,
            path=self.path,
            target=self.path.with_name(name),
            partial=partial,
            expected=replace.seen(self.path),
            keep_original=keep,
            mark="mark",
            columns={"video_codec": "hevc", "sha256": None, "reencode_job_id": self.lease.job_id},
        )

    def in_a_process_that_dies_at(self, step: str, act: Callable[[Callable[[str], None]], Any]) -> None:
        def die(taken: str) -> None:
            if taken == step:
                os.kill(os.getpid(), signal.SIGKILL)

        child = multiprocessing.get_context("fork").Process(target=act, args=(die,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL, f"it never came to {step!r}"
        with engine_for(self.settings).begin() as connection:  # until the server has seen its death, it holds its locks
            connection.execute(sa.text("SELECT FROM file_changes FOR UPDATE"))

    def lose_the_job(self) -> None:
        with engine_for(self.settings).begin() as connection:
            connection.execute(sa.text("UPDATE jobs SET status = 'pending'"))

    def row(self) -> Any:
        with engine_for(self.settings).begin() as connection:
            return connection.execute(sa.text("SELECT * FROM videos WHERE id = :id"), {"id": self.video}).one()

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.path.parent.iterdir())}

    def changes(self) -> list[tuple[str, str]]:
        with engine_for(self.settings).begin() as connection:
            return [tuple(row) for row in connection.execute(sa.text("SELECT state, path FROM file_changes"))]


@pytest.fixture
def stage(settings: Settings, library: Path, add_job: Any, add_video: Any) -> Stage:
    path = library / "library/videos/a.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(OLD)
    token = uuid4()
    job = add_job("scan", {}, status="running", attempt=1, lease_token=token)
    video = add_video("library/videos/a.mp4", video_codec="mpeg4", sha256="of the original", size_bytes=len(OLD))
    return Stage(settings, library, Lease(job, 1, token), video, path)


def assert_whole(stage: Stage, name: str) -> None:
    """Either the old file or the new one, whole, where the row says; nothing unfinished beside it."""
    there, row = stage.files(), stage.row()
    if row.video_codec == "hevc":
        assert (row.path, row.filename) == (f"library/videos/{name}", name)
        assert there == {name: NEW, "a.mp4.original": OLD}
        assert (row.size_bytes, row.sha256) == (len(NEW), None)
    else:
        assert row.path == "library/videos/a.mp4"
        assert there == {"a.mp4": OLD}
        assert (row.size_bytes, row.sha256) == (len(OLD), "of the original")


def test_a_replacement_takes_the_place_and_the_original_is_kept(stage: Stage) -> None:
    stage.path.chmod(0o640)
    change = stage.replace()
    assert (change.state, change.backup) == (ChangeState.DONE, "library/videos/a.mp4.original")
    assert_whole(stage, "a.mp4")
    assert stage.row().reencode_job_id == stage.lease.job_id
    assert stage.path.stat().st_mode & 0o777 == 0o640


def test_an_original_that_is_not_to_be_kept_is_gone(stage: Stage) -> None:
    assert stage.replace(keep=False).backup is None
    assert stage.files() == {"a.mp4": NEW}


def test_another_extension_leaves_nothing_under_the_old_name(stage: Stage) -> None:
    stage.replace("a.mkv")
    assert_whole(stage, "a.mkv")


@pytest.mark.parametrize(("name", "step"), REPLACING)
def test_killed_at_any_step_the_old_or_the_new_file_is_whole_and_recovery_settles_it(
    stage: Stage, name: str, step: str
) -> None:
    stage.in_a_process_that_dies_at(step, lambda die: stage.replace(name, after_step=die))
    at_path = [content for path, content in stage.files().items() if path in ("a.mp4", name)]
    assert set(at_path) <= {OLD, NEW}
    assert at_path, "a whole file is at the path before any recovery, too"
    assert list(stage.journal().recover_abandoned()) == [], "the job is still held"
    stage.lose_the_job()
    notes = list(stage.journal().recover_abandoned())
    assert len(notes) == (step != "done")
    assert_whole(stage, name)
    assert list(stage.journal().recover_abandoned()) == []
    assert_whole(stage, name)


@pytest.mark.parametrize(
    ("left_at", "kill"),
    [
        ("backed up", "rolled back"),
        ("published", "old name removed"),
        ("published", "flushed"),
        ("published", "recorded"),
    ],
)
def test_a_recovery_that_is_killed_is_taken_up_by_the_next(stage: Stage, left_at: str, kill: str) -> None:
    stage.in_a_process_that_dies_at(left_at, lambda die: stage.replace("a.mkv", after_step=die))
    stage.lose_the_job()
    stage.in_a_process_that_dies_at(kill, lambda die: list(stage.journal(die).recover_abandoned()))
    assert len(list(stage.journal().recover_abandoned())) == 1
    assert_whole(stage, "a.mkv")


def test_whoever_reads_the_path_meanwhile_sees_a_whole_file(stage: Stage) -> None:
    read: set[bytes] = set()
    over = threading.Event()

    def read_on() -> None:
        while not over.is_set():
            read.add(stage.path.read_bytes())

    reader = threading.Thread(target=read_on)
    reader.start()
    for _ in range(20):
        stage.replace()
        stage.journal().undo(latest(stage))
    over.set()
    reader.join()
    assert read <= {OLD, NEW}
    assert stage.files() == {"a.mp4": OLD}


def latest(stage: Stage) -> FileChange:
    with engine_for(stage.settings).begin() as connection:
        found = file_changes.latest_done(connection, stage.video)
    assert found is not None
    return found


def test_a_source_that_has_changed_is_left_alone(stage: Stage) -> None:
    def write(step: str) -> None:
        if step == "backed up":
            stage.path.write_bytes(b"somebody writes to it")

    with pytest.raises(errors.SourceChanged) as caught:
        stage.replace(after_step=write)
    assert caught.value.kind == "transient"
    assert stage.files() == {"a.mp4": b"somebody writes to it"}
    assert stage.changes() == [("rolled_back", "library/videos/a.mp4")]


def test_what_was_kept_stays_where_somebody_has_put_another_file(stage: Stage) -> None:
    def put(step: str) -> None:
        if step == "backed up":
            stage.path.unlink()
            stage.path.write_bytes(b"another film")

    with pytest.raises(errors.SourceChanged):
        stage.replace(after_step=put)
    assert stage.files() == {"a.mp4": b"another film", "a.mp4.original": OLD}


def test_a_job_that_was_taken_away_changes_nothing(stage: Stage) -> None:
    def take_away(step: str) -> None:
        if step == "backed up":
            stage.lose_the_job()

    with pytest.raises(LeaseLost):
        stage.replace(after_step=take_away)
    assert_whole(stage, "a.mp4")
    with pytest.raises(LeaseLost):
        stage.replace()
    assert len(stage.changes()) == 1, "nothing is even intended without the lease"


def test_a_name_that_is_taken_is_never_overwritten(stage: Stage) -> None:
    other = stage.path.with_name("a.mkv")
    other.write_bytes(b"another film")
    with pytest.raises(errors.TargetExists):
        stage.replace("a.mkv")
    other.unlink()

    def take(step: str) -> None:
        if step == "backed up":
            other.write_bytes(b"another film")

    with pytest.raises(errors.TargetExists):
        stage.replace("a.mkv", after_step=take)
    assert stage.files() == {"a.mkv": b"another film", "a.mp4": OLD}


def test_backups_that_exist_are_never_overwritten(stage: Stage) -> None:
    stage.path.with_name("a.mp4.original").write_bytes(b"of last year")

    def take(step: str) -> None:
        if step == "intended":
            stage.path.with_name("a.mp4.original.2").write_bytes(b"of a second ago")

    assert stage.replace(after_step=take).backup == "library/videos/a.mp4.original.3"
    assert stage.files() == {
        "a.mp4": NEW,
        "a.mp4.original": b"of last year",
        "a.mp4.original.2": b"of a second ago",
        "a.mp4.original.3": OLD,
    }


def test_two_changes_of_one_file_never_mix(stage: Stage) -> None:
    def again(step: str) -> None:
        if step == "backed up":
            with pytest.raises(ChangeUnderWay):
                stage.replace()

    stage.replace(after_step=again)
    assert_whole(stage, "a.mp4")


def _no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("step", [*SAME_NAME, "none"])
def test_without_hard_links_the_original_is_kept_as_a_copy(
    stage: Stage, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_links(monkeypatch)
    if step == "none":
        stage.replace()
    else:
        stage.in_a_process_that_dies_at(step, lambda die: stage.replace(after_step=die))
        stage.lose_the_job()
        list(stage.journal().recover_abandoned())
    assert_whole(stage, "a.mp4")


def test_a_library_that_is_not_mounted_is_not_judged(stage: Stage, tmp_path: Path) -> None:
    stage.in_a_process_that_dies_at("replaced", lambda die: stage.replace(after_step=die))
    stage.lose_the_job()
    away = stage.root.rename(tmp_path / "unmounted")
    stage.root.mkdir()
    assert list(stage.journal().recover_abandoned()) == []
    stage.root.rmdir()
    away.rename(stage.root)
    assert len(list(stage.journal().recover_abandoned())) == 1
    assert_whole(stage, "a.mp4")


def test_the_last_copy_is_never_removed(stage: Stage) -> None:
    """Somebody deleted the original while nobody was looking: what was made of it takes its place."""
    stage.in_a_process_that_dies_at("intended", lambda die: stage.replace(keep=False, after_step=die))
    stage.path.unlink()
    stage.lose_the_job()
    list(stage.journal().recover_abandoned())
    assert stage.files() == {"a.mp4": NEW}


def test_a_name_of_255_bytes_gets_a_shorter_backup(stage: Stage, connection: sa.Connection) -> None:
    name = "x" * 251 + ".mp4"
    stage.path = stage.path.rename(stage.path.with_name(name))
    videos.update(connection, stage.video, path=f"library/videos/{name}")
    change = stage.replace(name)
    assert change.backup is not None
    assert (stage.root / change.backup).read_bytes() == OLD
    stage.journal().undo(change)
    assert stage.files() == {name: OLD}


# Moving

ONE_DISK = ("intended", "moved", "sidecars moved", "flushed", "recorded", "done")
TWO_DISKS = ("intended", "copied", "published", "old name removed", "sidecars moved", "flushed", "recorded", "done")
MOVING = [*(("one", step) for step in ONE_DISK), *(("two", step) for step in TWO_DISKS)]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder of another file system."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    if folder.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system here")
    yield folder
    shutil.rmtree(folder)


@dataclass
class Move:
    """A video on its way to another folder, with its subtitles."""

    stage: Stage
    target: Path

    def journal(self, after_step: Callable[[str], None] = lambda step: None) -> Journal:
        return Journal(engine_for(self.stage.settings), Path("/"), after_step)

    def go(self, after_step: Any = lambda step: None) -> FileChange:
        return self.journal(after_step).move(
            self.stage.lease,
            self.stage.video,
            path=self.stage.path,
            target=self.target,
            mark="mark",
            columns={"directory_type": "studios"},
        )

    def assert_at(self, place: Path) -> None:
        other = self.target if place == self.stage.path else self.stage.path
        assert place.read_bytes() == OLD
        assert place.with_suffix(".en.srt").read_text() == "Hello"
        assert not other.exists()
        assert not other.with_suffix(".en.srt").exists()
        row = self.stage.row()
        assert Path("/", row.path) == place
        assert (row.filename, row.sha256, row.id) == (place.name, "of the original", self.stage.video)
        assert row.directory_type == (None if place == self.stage.path else "studios")
        assert not [*place.parent.glob("*.partial*"), *other.parent.glob("*.partial*")]


@pytest.fixture
def move(stage: Stage, request: pytest.FixtureRequest, connection: sa.Connection) -> Move:
    disks = request.param
    folder = stage.root / "library/studios" if disks == "one" else request.getfixturevalue("elsewhere") / "studios"
    videos.update(connection, stage.video, path=str(stage.path)[1:])
    stage.path.with_suffix(".en.srt").write_text("Hello")
    return Move(stage, folder / "b.mp4")


@pytest.mark.parametrize(("move", "step"), MOVING, indirect=["move"])
def test_a_move_that_is_killed_leaves_one_whole_file_that_the_row_knows(move: Move, step: str) -> None:
    move.stage.in_a_process_that_dies_at(step, lambda die: move.go(die))
    assert any(path.exists() and path.read_bytes() == OLD for path in (move.stage.path, move.target))
    move.stage.lose_the_job()
    list(move.journal().recover_abandoned())
    move.assert_at(move.stage.path if step in ("intended", "copied") else move.target)
    assert list(move.journal().recover_abandoned()) == []
    move.assert_at(move.stage.path if step in ("intended", "copied") else move.target)


@pytest.mark.parametrize(("move", "step"), [*MOVING, ("one", "none"), ("two", "none")], indirect=["move"])
def test_a_move_is_undone_also_when_the_undoing_is_killed(move: Move, step: str) -> None:
    change = move.go()
    move.assert_at(move.target)
    if step in ("none", "done"):
        move.journal().undo(change)
        move.assert_at(move.stage.path)
        return
    step = "undoing" if step == "intended" else step
    move.stage.in_a_process_that_dies_at(step, lambda die: move.journal(die).undo(change))
    list(move.journal().recover_abandoned())
    move.assert_at(move.target if step in ("undoing", "copied") else move.stage.path)
    if step in ("undoing", "copied"):
        assert move.stage.changes()[0][0] == "done", "it may be undone again"
        move.journal().undo(change)
        move.assert_at(move.stage.path)


@pytest.mark.parametrize("move", ["one", "two"], indirect=True)
def test_a_move_never_takes_a_name_that_somebody_took_meanwhile(move: Move) -> None:
    def take(step: str) -> None:
        if step == "intended":
            move.target.write_bytes(b"another film")

    with pytest.raises(errors.TargetExists):
        move.go(take)
    assert move.target.read_bytes() == b"another film"
    move.target.unlink()
    move.assert_at(move.stage.path)


@pytest.mark.parametrize("move", ["two"], indirect=True)
def test_a_copy_without_room_is_not_begun(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(errors.DiskFull):
        move.go()
    move.assert_at(move.stage.path)


@pytest.mark.parametrize("move", ["two"], indirect=True)
def test_a_move_whose_copying_is_stopped_leaves_all_as_it_was(move: Move) -> None:
    def stop(_: int) -> None:
        raise LeaseLost(move.stage.lease.job_id, 1, "cancelled")

    with pytest.raises(LeaseLost):
        move.journal().move(
            move.stage.lease, move.stage.video, path=move.stage.path, target=move.target, mark="mark", columns={},
            on_bytes=stop,
        )  # fmt: skip
    move.assert_at(move.stage.path)


def test_only_sidecars_of_this_very_video_come_along(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.srt", "a.de.forced.srt", "a.nfo", "a.txt", "ab.srt", "a.b.mp4", "a.b.srt", "a.b.nfo"):
        (tmp_path / name).touch()
    found = relocate.sidecars(tmp_path / "a.mp4", tmp_path / "to/c.mkv")
    assert [(here.name, there.name) for here, there in found] == [
        ("a.de.forced.srt", "c.de.forced.srt"),
        ("a.nfo", "c.nfo"),
        ("a.srt", "c.srt"),
    ]
    (tmp_path / "a.mkv").touch()
    assert relocate.sidecars(tmp_path / "a.mp4", tmp_path / "to/c.mkv") == ()


@pytest.fixture
def own_disk(stage: Stage) -> Iterator[Path]:
    """The folder of the video is a file system of its own."""
    folder = stage.path.parent
    made = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    stage.path.write_bytes(OLD)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("move", ["two"], indirect=True)
def test_a_disk_that_gets_read_only_during_a_move_keeps_the_only_copy(own_disk: Path, move: Move) -> None:
    """Not the one copy here and the other there, for somebody to find out which is whose."""

    def remount(step: str) -> None:
        if step == "published":
            subprocess.run(["mount", "-o", "remount,ro", own_disk], check=True)

    with pytest.raises(OSError, match="Read-only"):
        move.go(remount)
    assert [state for state, _ in move.stage.changes()] == ["rolled_back"]
    move.assert_at(move.stage.path)
    with pytest.raises(errors.NotWritable):
        move.go()
    assert len(move.stage.changes()) == 1, "it is not even intended"


@pytest.mark.parametrize("move", ["two"], indirect=True)
def test_an_undo_onto_a_disk_that_is_read_only_leaves_the_move_as_it_is(own_disk: Path, move: Move) -> None:
    change = move.go()
    subprocess.run(["mount", "-o", "remount,ro", own_disk], check=True)
    with pytest.raises(errors.NotWritable):
        move.journal().undo(change)
    move.assert_at(move.target)
    assert [state for state, _ in move.stage.changes()] == ["done"]


def test_an_original_whose_name_may_not_go_stays_the_only_file(stage: Stage) -> None:
    def pin(step: str) -> None:
        if step == "published":
            made = subprocess.run(["chattr", "+i", stage.path], capture_output=True, text=True, check=False)
            if made.returncode != 0:
                pytest.skip(f"no file can be made immutable here: {made.stderr.strip()}")

    try:
        with pytest.raises(PermissionError):
            stage.replace("a.mkv", keep=False, after_step=pin)
    finally:
        subprocess.run(["chattr", "-i", stage.path], capture_output=True, check=False)
    assert_whole(stage, "a.mp4")
    assert [state for state, _ in stage.changes()] == ["rolled_back"]


# Originals that were kept


def test_a_kept_original_is_needed_once_the_file_in_its_place_is_gone(stage: Stage) -> None:
    stage.replace()
    assert [kept.state for kept in stage.journal().kept_originals()] == ["kept"]
    stage.path.unlink()
    assert [kept.state for kept in stage.journal().kept_originals()] == ["needed"]


@pytest.mark.parametrize("now", [b"", NEW[:100], b"another film"])
def test_a_kept_original_is_needed_once_the_file_in_its_place_is_another(stage: Stage, now: bytes) -> None:
    stage.replace()
    (kept,) = stage.journal().kept_originals()
    stage.path.write_bytes(now)
    assert [kept.state for kept in stage.journal().kept_originals()] == ["needed"]
    assert not stage.journal().remove_kept(kept)
    assert stage.files()["a.mp4.original"] == OLD


def test_a_kept_original_is_not_needed_where_its_video_has_moved_on(stage: Stage) -> None:
    stage.replace()
    stage.journal().move(
        stage.lease, stage.video, path=stage.path, target=stage.root / "library/studios/b.mp4", mark="m", columns={}
    )
    (kept,) = stage.journal().kept_originals()
    assert kept.state == "kept"
    assert stage.journal().remove_kept(kept)
    assert stage.files() == {}


def test_a_kept_original_of_a_video_without_a_row_is_needed(stage: Stage, connection: sa.Connection) -> None:
    stage.replace()
    connection.execute(sa.text("DELETE FROM videos"))
    assert [kept.state for kept in stage.journal().kept_originals()] == ["needed"]


def test_what_became_the_last_copy_since_it_was_listed_is_not_removed(stage: Stage) -> None:
    change = stage.replace()
    (kept,) = stage.journal().kept_originals()
    stage.path.unlink()
    assert not stage.journal().remove_kept(kept)
    assert stage.files() == {"a.mp4.original": OLD}
    assert latest(stage).backup == change.backup


def test_another_backup_of_the_same_name_is_not_removed_for_an_older_one(stage: Stage) -> None:
    old = stage.replace()
    (kept,) = stage.journal().kept_originals()
    stage.journal().undo(old)
    new = stage.replace()
    assert new.backup == old.backup
    assert not stage.journal().remove_kept(kept)
    stage.journal().undo(new)
    assert stage.files() == {"a.mp4": OLD}


def test_an_original_that_is_removed_is_not_restored_meanwhile(stage: Stage) -> None:
    """Whoever comes first has it: the other is told."""
    change = stage.replace()
    (kept,) = stage.journal().kept_originals()

    def remove(step: str) -> None:
        if step == "undoing":
            assert not stage.journal().remove_kept(kept)

    stage.journal(remove).undo(change)
    assert stage.files() == {"a.mp4": OLD}
    stage.replace()
    (kept,) = stage.journal().kept_originals()
    assert stage.journal().remove_kept(kept)
    with engine_for(stage.settings).begin() as connection, pytest.raises(ChangeUnderWay):
        file_changes.begin_undo(connection, kept.change)


# Undoing


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_undo_brings_the_original_and_its_row_back(stage: Stage, name: str) -> None:
    change = stage.replace(name)
    undone = stage.journal().undo(change)
    assert undone.state is ChangeState.UNDONE
    assert_whole(stage, "a.mp4")
    with pytest.raises(errors.CannotUndo, match="it is undone"):
        stage.journal().undo(undone)


@pytest.mark.parametrize("step", ["undoing", "put back", "recorded"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_an_undo_that_is_killed_is_finished(stage: Stage, name: str, step: str) -> None:
    change = stage.replace(name)
    stage.in_a_process_that_dies_at(step, lambda die: stage.journal(die).undo(change))
    assert set(stage.files().values()) <= {OLD, NEW}
    assert len(list(stage.journal().recover_abandoned())) == 1
    assert_whole(stage, "a.mp4")
    assert list(stage.journal().recover_abandoned()) == []


def test_undo_refuses_where_something_would_be_lost(stage: Stage) -> None:
    change = stage.replace()
    stage.path.write_bytes(b"edited by hand since")
    with pytest.raises(errors.CannotUndo, match="changed since it was made; to lose nothing, move it away"):
        stage.journal().undo(change)
    assert stage.files() == {"a.mp4": b"edited by hand since", "a.mp4.original": OLD}
    assert stage.changes() == [("done", "library/videos/a.mp4")], "it may be undone later"
    stage.path.with_name("a.mp4.original").unlink()
    with pytest.raises(errors.CannotUndo, match="is gone"):
        stage.journal().undo(change)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_result_that_is_gone_is_no_reason_to_keep_the_original_from_its_place(stage: Stage, name: str) -> None:
    change = stage.replace(name)
    stage.path.with_name(name).unlink()
    stage.journal().undo(change)
    assert_whole(stage, "a.mp4")


@pytest.mark.parametrize("which", ["a.mp4", "a.mp4.original"])
def test_a_file_of_another_time_but_the_same_content_is_the_same(stage: Stage, which: str) -> None:
    """A copy of the library on another disk has other times."""
    change = stage.replace()
    os.utime(stage.path.with_name(which), (1, 1))
    assert [kept.state for kept in stage.journal().kept_originals()] == ["kept"]
    stage.journal().undo(change)
    assert_whole(stage, "a.mp4")


def test_an_original_that_was_damaged_since_does_not_replace_the_result(stage: Stage) -> None:
    change = stage.replace()
    backup = stage.path.with_name("a.mp4.original")
    backup.write_bytes(OLD[:-1] + b"?")
    with pytest.raises(errors.CannotUndo, match="its content differs"):
        stage.journal().undo(change)
    assert stage.files()["a.mp4"] == NEW


def test_undo_costs_no_other_video_its_row(stage: Stage, add_video: Any) -> None:
    change = stage.replace("a.mkv")
    other = add_video("library/videos/a.mp4", title="came later, and is missing")
    with pytest.raises(PathTaken, match="path of another video"):
        stage.journal().undo(change)
    assert stage.files() == {"a.mkv": NEW, "a.mp4.original": OLD}
    with engine_for(stage.settings).begin() as connection:
        assert videos.get(connection, other).path == "library/videos/a.mp4"


def test_undo_needs_the_original(stage: Stage) -> None:
    change = stage.replace(keep=False)
    with pytest.raises(errors.CannotUndo, match="not kept"):
        stage.journal().undo(change)
