import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media_pipelines.media import errors, files, relocate, replace


@pytest.mark.parametrize("relative", ["", "/etc/passwd", "..", "a/../../b", "../x", "a/..", "x\0y", "\ud800.mp4"])
def test_a_path_that_leaves_the_library_is_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(errors.PathOutsideLibrary) as caught:
        files.resolve_inside(tmp_path, relative)
    assert str(caught.value)


@pytest.mark.parametrize("relative", ["a.mp4", "new/folder/a.mp4", "a..b/..c.mp4", "-x", "./a.mp4", "a//b"])
def test_a_path_inside_is_taken_whether_it_exists_or_not(tmp_path: Path, relative: str) -> None:
    assert files.resolve_inside(tmp_path, relative) == tmp_path / relative


@pytest.mark.parametrize("relative", ["out/secret.mp4", "out", "out/new/deeper.mp4", "dangling.mp4", "file.mp4"])
def test_a_symbolic_link_does_not_lead_out(tmp_path: Path, relative: str) -> None:
    root, outside = tmp_path / "library", tmp_path / "library-of-another"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.mp4").touch()
    (root / "out").symlink_to(outside)
    (root / "file.mp4").symlink_to(outside / "secret.mp4")
    (root / "dangling.mp4").symlink_to(outside / "not yet.mp4")
    with pytest.raises(errors.PathOutsideLibrary):
        files.resolve_inside(root, relative)


def test_a_root_that_is_a_link_and_links_within_it_are_fine(tmp_path: Path) -> None:
    (tmp_path / "disk" / "a").mkdir(parents=True)
    (tmp_path / "disk" / "b").symlink_to("a")
    root = tmp_path / "library"
    root.symlink_to("disk")
    assert files.resolve_inside(root, "b/x.mp4") == root / "b/x.mp4"


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_videos_are_found_in_order_and_junk_is_passed_over(tmp_path: Path) -> None:
    _touch(tmp_path, "b.MP4", "a.mkv", "c/d.webm", "c/.hidden.mp4", ".trash/x.mp4", "@eaDir/b.MP4/x.mp4", "._a.mkv")
    _touch(tmp_path, "b.nfo", "b.srt", "b.jpg", "e.7f3a.partial.mp4", "d/z.mov", "no extension", "mp4")
    skipped: list[tuple[Path, str]] = []
    found = list(files.find_videos(tmp_path, tmp_path, lambda path, reason: skipped.append((path, reason))))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.mkv", "b.MP4", "c/d.webm", "d/z.mov"]
    assert skipped == []


def test_what_looks_like_a_video_and_is_none_is_reported(tmp_path: Path) -> None:
    root = tmp_path / "library"
    _touch(root, "good.mp4", os.fsdecode(b"latin-\xe9.mp4"))
    os.mkfifo(root / "pipe.mp4")
    (root / "loop").symlink_to(".")
    (root / "out").symlink_to(tmp_path)
    (root / "dangling.mp4").symlink_to("nowhere.mp4")
    skipped: dict[str, str] = {}
    found = list(files.find_videos(root, root, lambda path, reason: skipped.update({path.name: reason})))
    assert [path.name for path in found] == ["good.mp4"]
    assert set(skipped) == {os.fsdecode(b"latin-\xe9.mp4"), "pipe.mp4", "loop", "out", "dangling.mp4"}
    assert "UTF-8" in skipped[os.fsdecode(b"latin-\xe9.mp4")]
    assert "visited" in skipped["loop"]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    skipped: list[str] = []
    assert list(files.find_videos(tmp_path, tmp_path / "gone", lambda path, reason: skipped.append(reason))) == []
    assert skipped == ["No such file or directory"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_is_reported_and_the_rest_is_found(tmp_path: Path) -> None:
    _touch(tmp_path, "closed/a.mp4", "open/b.mp4")
    (tmp_path / "closed").chmod(0)
    skipped: list[str] = []
    found = list(files.find_videos(tmp_path, tmp_path, lambda path, reason: skipped.append(reason)))
    (tmp_path / "closed").chmod(0o700)
    assert [path.name for path in found] == ["b.mp4"]
    assert skipped == ["Permission denied"]


@pytest.mark.parametrize("name", ["film.mp4", "é" * 125 + "x.mp4", "x" * 251 + ".mp4", "no suffix", "a." + "b" * 200])
def test_a_partial_is_beside_its_target_under_a_possible_name(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    partial = files.partial_path(target, "7f3a9c1e-1111-4222-8333-444455556666")
    partial.touch()
    assert partial.parent == target.parent
    assert ".partial" in partial.name
    assert len(os.fsencode(partial.name)) <= 255
    if name.endswith(".mp4"):
        assert partial.suffix == ".mp4"
    assert list(files.find_videos(tmp_path, tmp_path)) == []


def test_only_ones_own_partials_are_removed(tmp_path: Path) -> None:
    mine = [files.partial_path(tmp_path / name, "job-1") for name in ("a.mp4", "x" * 251 + ".mp4")]
    others = [files.partial_path(tmp_path / "a.mp4", "job-2"), tmp_path / "job-1.mp4", tmp_path / "a.mp4"]
    for path in (*mine, *others):
        path.touch()
    assert sorted(files.remove_partials(tmp_path, "job-1")) == sorted(mine)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    assert files.remove_partials(tmp_path / "gone", "job-1") == []


@pytest.mark.parametrize("owner", ["", "a/b", "a\0b"])
def test_an_owner_that_would_match_everything_is_refused(tmp_path: Path, owner: str) -> None:
    with pytest.raises(ValueError, match="owner"):
        files.remove_partials(tmp_path, owner)


WAYS = [files._rename_noreplace, files._link_and_unlink, files._reserve_and_replace]


def test_publishing_moves_the_whole_file(tmp_path: Path) -> None:
    partial, target = tmp_path / "a.partial.mp4", tmp_path / "a.mp4"
    partial.write_text("new")
    files.publish(partial, target)
    assert target.read_text() == "new"
    assert not partial.exists()


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_rename_moves_and_never_overwrites(tmp_path: Path, way: Callable[[Path, Path], None]) -> None:
    partial, target = tmp_path / "p", tmp_path / "t"
    partial.write_text("new")
    way(partial, target)
    assert (target.read_text(), partial.exists()) == ("new", False)
    partial.write_text("newer")
    with pytest.raises((FileExistsError, errors.TargetExists)):
        way(partial, target)
    assert (target.read_text(), partial.read_text()) == ("new", "newer")


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of this process's own, and the rights of a plain user, whom a folder's mode stops."""
    folder = Path(tempfile.mkdtemp())
    user = os.geteuid()
    if user == 0:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("way", [files.rename_to_free_name, *WAYS])
def test_a_file_that_may_not_leave_its_folder_keeps_its_one_name(
    unprivileged: Path, way: Callable[[Path, Path], None]
) -> None:
    closed, target = unprivileged / "closed", unprivileged / "open" / "t"
    closed.mkdir()
    target.parent.mkdir()
    (closed / "p").write_text("the only one")
    closed.chmod(0o555)
    with pytest.raises(PermissionError):
        way(closed / "p", target)
    assert (closed / "p").read_text() == "the only one"
    assert list(target.parent.iterdir()) == []
    closed.chmod(0o755)


@pytest.fixture
def of_somebody_else(unprivileged: Path) -> Path:
    """A file that can be written, but whose mode, owner and times are another's."""
    if os.getuid() != 0:
        pytest.skip("only root can make a file of somebody else's")
    path = unprivileged / "taken.mp4"
    os.seteuid(0)
    path.touch()
    path.chmod(0o666)
    os.seteuid(65534)
    return path


def test_a_copy_whose_mode_and_time_are_refused_is_a_copy(unprivileged: Path, of_somebody_else: Path) -> None:
    source = unprivileged / "a.mp4"
    source.write_text("film")
    files.copy(source, of_somebody_else)
    assert of_somebody_else.read_text() == "film"


def test_a_move_to_where_times_are_refused_is_refused(unprivileged: Path, of_somebody_else: Path) -> None:
    """Recovery would not know the copy again."""
    source = unprivileged / "a.mp4"
    source.write_text("film")
    moving = relocate.Relocation(source, unprivileged / "b.mp4", of_somebody_else, replace.seen(source))
    with pytest.raises(PermissionError):
        moving.copy_over(lambda _: None)
    assert (source.read_text(), of_somebody_else.exists()) == ("film", False)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_an_owner_that_the_file_system_refuses_is_done_without(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    original, partial = tmp_path / "a", tmp_path / "b"
    original.touch()
    original.chmod(0o640)
    partial.touch()
    monkeypatch.setattr(os, "chown", refuse)
    replace.take_over_rights(original, partial)
    assert partial.stat().st_mode & 0o777 == 0o640


def test_publishing_never_overwrites_unless_told(tmp_path: Path) -> None:
    partial, target = tmp_path / "a.partial.mp4", tmp_path / "a.mp4"
    partial.write_text("new")
    target.write_text("old")
    with pytest.raises(errors.TargetExists):
        files.publish(partial, target)
    assert (target.read_text(), partial.read_text()) == ("old", "new")
    files.publish(partial, target, replace=True)
    assert target.read_text() == "new"


def test_of_many_who_publish_at_once_one_wins(tmp_path: Path) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def publish(n: int) -> None:
        partial = tmp_path / f"{n}.partial"
        partial.write_text(str(n))
        start.wait()
        try:
            files.publish(partial, tmp_path / "target")
            outcomes.append("won")
        except errors.TargetExists:
            outcomes.append("lost")

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]


def test_publishing_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        files.publish(tmp_path / "gone", tmp_path / "a.mp4")
    assert caught.value.errno == errno.ENOENT


def test_a_full_disk_is_noticed_before_the_work(tmp_path: Path) -> None:
    files.require_free_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(errors.DiskFull, match="MB are free"):
        files.require_free_space(tmp_path, 10**18)


def test_a_taken_name_gets_a_free_one(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    names = []
    for _ in range(3):
        free = files.free_name(target, "web")
        names.append(free.name)
        free.touch()
    assert names == ["a.mp4", "a.web.mp4", "a.web-2.mp4"]


def test_a_free_name_of_a_long_name_fits(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 125 + "x.mp4")
    target.touch()
    free = files.free_name(target, "web")
    free.touch()
    assert free.name.endswith(".web.mp4")
