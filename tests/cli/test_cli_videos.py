"""`videos …` and `scan` on the command line."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import queue
from jobqueue_bridge.tables import jobs

Cli = Callable[..., Any]
Add = Callable[..., UUID]


# videos


def test_videos_are_listed_a_line_each(cli: Cli, add_video: Add) -> None:
    facts = {"duration_seconds": 3725.2, "width": 1920, "height": 1080, "video_codec": "h264", "size_bytes": 1_536_000}
    video_id = add_video("inbox/film.mp4", is_valid=True, **facts)
    add_video("inbox/[b]\x1b[2J\n.mp4")

    header, second, first = cli("videos", "list").out.splitlines()

    assert header.split() == ["ID", "LENGTH", "PICTURE", "CODEC", "SIZE", "VALID", "PATH"]
    assert first.split() == [str(video_id)[:8], "1:02:05", "1920x1080", "h264", "1.5", "MB", "yes", "inbox/film.mp4"]
    assert second.endswith("inbox/[b]\\x1b[2J\\n.mp4")


def test_search_and_limit_narrow_the_list(cli: Cli, add_video: Add) -> None:
    for name in ("one", "two", "twofold"):
        add_video(f"inbox/{name}.mp4")

    assert [video["filename"] for video in cli("videos", "list", "--search", "TWO", "--json").json] == [
        "twofold.mp4",
        "two.mp4",
    ]
    assert len(cli("videos", "list", "--limit", "1", "--json").json) == 1
    assert "1 of 3 videos" in cli("videos", "list", "--limit", "1").err


def test_an_empty_library_is_an_empty_list(cli: Cli) -> None:
    assert cli("videos", "list", "--json").json == []


@pytest.mark.parametrize("how", ["id", "prefix", "path", "absolute path", "path from here"])
def test_a_video_is_shown_however_it_is_named(
    cli: Cli, add_video: Add, library: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    video_id = add_video("inbox/a film.mp4", title="A\x1b[31mfilm")
    (library / "inbox").mkdir()
    monkeypatch.chdir(library / "inbox")
    named = {
        "id": str(video_id),
        "prefix": str(video_id)[:8],
        "path": "inbox/a film.mp4",
        "absolute path": str(library / "inbox" / "a film.mp4"),
        "path from here": "a film.mp4",
    }[how]

    shown = cli("videos", "show", named)

    assert shown.code == 0, shown.err
    assert str(video_id) in shown.out
    assert "A\\x1b[31mfilm" in shown.out
    assert cli("videos", "show", named, "--json").json["id"] == str(video_id)


@pytest.mark.parametrize(
    "reference",
    [
        "550e8400-e29b-41d4-a716-446655440000",
        "ffffffff",
        "no/such.mp4",
        "/etc/passwd",
        "",
        "\x1b[31m",
        os.fsdecode(b"\xff"),
    ],
    ids=ascii,
)
def test_an_unknown_video_ends_with_two(cli: Cli, reference: str) -> None:
    ended = cli("videos", "show", reference)

    assert ended.code == 2
    assert "No video" in ended.err


def test_an_ambiguous_video_ends_with_two(cli: Cli, add_video: Add) -> None:
    for digit in (1, 2):
        add_video(f"{digit}.mp4", id=UUID(f"12345678-0000-4000-8000-00000000000{digit}"))

    assert cli("videos", "show", "12345678").code == 2


# scan


@pytest.fixture
def folder(library: Path) -> Path:
    folder = library / "inbox" / "new films"
    folder.mkdir(parents=True)
    return folder


def scanned(connection: sa.Connection) -> dict[str, Any]:
    job_id = connection.scalar(sa.select(jobs.c.id))
    assert job_id is not None
    return queue.get(connection, job_id).params


def test_without_a_path_the_videos_folder_is_scanned(cli: Cli, connection: sa.Connection) -> None:
    ended = cli("scan", "--no-wait")

    assert ended.code == 0
    assert scanned(connection)["directoryType"] == "videos"
    assert "path" not in scanned(connection)


@pytest.mark.parametrize("how", ["from the root", "absolute", "from here", "roundabout", "through a link to the root"])
def test_a_folder_of_the_library_is_scanned_however_it_is_named(
    cli: Cli,
    connection: sa.Connection,
    library: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    (tmp_path / "link").symlink_to(library)
    named, here = {
        "from the root": ("inbox/new films", tmp_path),
        "absolute": (str(folder), tmp_path),
        "from here": ("new films", library / "inbox"),
        "roundabout": ("../inbox/./new films/", library / "inbox"),
        "through a link to the root": ("inbox/new films", tmp_path / "link"),
    }[how]
    monkeypatch.chdir(here)

    ended = cli("scan", named, "--no-wait", "--json")

    assert ended.code == 0, ended.err
    assert ended.json["type"] == "scan"
    assert scanned(connection)["path"] == "inbox/new films"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc", "not in the library"),
        ("../..", "not in the library"),
        ("inbox/../../x", "not in the library"),
        ("inbox/escape", "not in the library"),
        ("inbox/missing", "does not exist"),
        ("in\x1b[31mbox", "does not exist"),
        (os.fsdecode(b"caf\xe9"), "does not exist"),
        (os.fsdecode(b"inbox/\xe9"), "unicode"),
        (".", "below the library root"),
    ],
    ids=ascii,
)
def test_a_path_outside_the_library_ends_with_two(
    cli: Cli,
    connection: sa.Connection,
    library: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    said: str,
) -> None:
    (library / "inbox" / "escape").symlink_to("/etc")
    (library / "inbox" / os.fsdecode(b"\xe9")).mkdir()
    monkeypatch.chdir(library)

    ended = cli("scan", path)

    assert ended.code == 2, ended.err
    assert said in ended.err
    assert "\x1b[31m" not in ended.err
    assert connection.scalar(sa.select(sa.func.count()).select_from(jobs)) == 0


def test_a_scan_that_runs_already_is_joined(cli: Cli, add_job: Add) -> None:
    live = add_job("scan")

    ended = cli("scan", "--no-wait", "--json")

    assert ended.code == 0
    assert json.loads(ended.out)["id"] == str(live)
    assert str(live) in ended.err


# Duplicates and missing ones


def test_duplicates_are_shown_with_what_they_waste(cli: Cli, add_video: Add, library: Path) -> None:
    (library / "inbox").mkdir()
    for name in ("a.mp4", "lo\x1b[2Jnger.mp4", "other.mp4"):
        (library / "inbox" / name).write_bytes(b"")
    add_video("inbox/a.mp4", sha256="s", fingerprint="f", size_bytes=1_000_000, width=640, height=360)
    add_video("inbox/lo\x1b[2Jnger.mp4", sha256="s", fingerprint="f", size_bytes=1_000_000, width=640, height=360)
    add_video("inbox/other.mp4", fingerprint="g", size_bytes=1_000_000)
    add_video("inbox/gone.mp4", sha256="s", fingerprint="f", size_bytes=1_000_000, missing_since="2026-01-01")

    ended = cli("videos", "duplicates")
    assert ended.code == 0
    assert "same content, 1.0 MB to spare" in ended.out
    assert "inbox/lo\\x1b[2Jnger.mp4" in ended.out
    assert "1 groups among 3 videos" in ended.out
    (group,) = cli("videos", "duplicates", "--json").json
    assert (group["kind"], group["proof"], group["best"]) == ("identical", "sha256", "inbox/a.mp4")
    assert [video["path"] for video in group["videos"]] == ["inbox/a.mp4", "inbox/lo\x1b[2Jnger.mp4"]
    assert group["videos"][0]["sizeBytes"] == 1_000_000


def test_other_names_of_a_file_and_what_is_not_there_are_no_duplicates(cli: Cli, add_video: Add, library: Path) -> None:
    """Whoever removed all but the best of them would lose the file."""
    (library / "inbox").mkdir()
    (library / "inbox/a.mp4").write_bytes(b"")
    os.link(library / "inbox/a.mp4", library / "inbox/b.mp4")
    (library / "inbox/0.mp4").symlink_to("a.mp4")
    for name in ("0", "a", "b", "gone-since-the-scan"):
        add_video(f"inbox/{name}.mp4", sha256="s", size_bytes=1_000_000)
    ended = cli("videos", "duplicates")
    assert "0 groups among 1 videos" in ended.out
    assert "3 of 4 are not there now, or are other names of a file" in ended.err


def test_a_video_that_is_gone_for_good_is_forgotten(cli: Cli, add_video: Add) -> None:
    there = add_video("inbox/there.mp4")
    gone = add_video("inbox/gone.mp4", missing_since="2026-01-01")
    assert cli("videos", "forget", str(there), "--force").code == 1
    assert cli("videos", "forget", str(gone), "--force").out == "Forgot inbox/gone.mp4\n"
    assert cli("videos", "list", "--missing", "--json").json == []
    assert [video["path"] for video in cli("videos", "list", "--json").json] == ["inbox/there.mp4"]


def test_missing_videos_are_listed_only_when_asked_for(cli: Cli, add_video: Add) -> None:
    add_video("inbox/there.mp4")
    add_video("inbox/gone.mp4", missing_since="2026-01-01")
    assert [video["path"] for video in cli("videos", "list", "--json").json] == ["inbox/there.mp4"]
    assert [video["path"] for video in cli("videos", "list", "--missing", "--json").json] == ["inbox/gone.mp4"]
