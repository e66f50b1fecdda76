"""`videos …` and `scan`: the library as the queue knows it, and looking for new files in it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
import typer
from pydantic.alias_generators import to_camel

from jobqueue_bridge import audit, queue, videos
from jobqueue_bridge.api import wire
from jobqueue_bridge.errors import JobAlreadyLive, VideoNotFound
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import JobType, Origin
from media_pipelines.cli.database import engine_for, require_platform
from media_pipelines.cli.jobs import AS_JSON, report
from media_pipelines.cli.library_paths import in_library, lies_below, relative
from media_pipelines.cli.output import FAILED, USAGE, err, fail, print_json
from media_pipelines.cli.printable import cell, clock, local_time, printable, size
from media_pipelines.media import duplicates
from media_pipelines.platform.asking import who

app = typer.Typer(help="Look at the library.", no_args_is_help=True)

_COLUMNS = {"ID": 8, "LENGTH": 8, "PICTURE": 10, "CODEC": 8, "SIZE": 9, "VALID": 5}


def scan(
    path: Path | None = typer.Argument(None, help="A folder or file in the library; default: library/videos."),
    wait: bool = typer.Option(True, "--wait/--no-wait", help="Stay until the scan has ended."),
    as_json: bool = AS_JSON,
) -> None:
    """Look for new videos."""
    settings = load_settings()
    params = {} if path is None else {"path": in_library(settings, path)}
    with engine_for(settings).begin() as connection:
        job = _enqueued_or_live(connection, queue.NewJob(JobType.SCAN.value, params, origin=Origin.CLI), settings)
        if wait:
            require_platform(settings)
    report(settings, job, wait=wait, as_json=as_json)


def _enqueued_or_live(connection: sa.Connection, asked: queue.NewJob, settings: Settings) -> queue.Job:
    """A scan of the same folder that has not ended is as good as a new one."""
    try:
        job = queue.enqueue(connection, asked, settings)
    except JobAlreadyLive as error:
        err.print(f"Job {error.job_id} scans it already")
        return queue.get(connection, error.job_id)
    audit.record(connection, who(), "job.create", job.id, type=job.type)
    return job


@app.command("list")
def list_videos(
    search: str | None = typer.Option(None, "--search", help="Part of a path or title, ignoring case."),
    limit: int = typer.Option(50, "--limit", min=1, max=1_000_000),
    missing: bool = typer.Option(False, "--missing", help="Those whose files are gone instead."),
    as_json: bool = AS_JSON,
) -> None:
    """List videos, newest first."""
    with engine_for(load_settings()).connect() as connection:
        found = videos.page(connection, search=search, limit=limit, missing=missing)
    if as_json:
        print_json([wire.Video.model_validate(video).model_dump(mode="json") for video in found.videos])
        return
    typer.echo(_line(list(_COLUMNS), "PATH"))
    for video in found.videos:
        typer.echo(_line(_cells(video), printable(video.path)))
    if found.total > len(found.videos):
        err.print(f"{len(found.videos)} of {found.total} videos; --limit shows more")


def _line(texts: list[str], path: str) -> str:
    return "   ".join([*(cell(text, width) for text, width in zip(texts, _COLUMNS.values(), strict=True)), path])


def _cells(video: videos.Video) -> list[str]:
    return [
        str(video.id)[:8],
        "-" if video.duration_seconds is None else clock(video.duration_seconds),
        f"{video.width}x{video.height}" if video.width else "-",
        video.video_codec or "-",
        "-" if video.size_bytes is None else size(video.size_bytes),
        {True: "yes", False: "no", None: "-"}[video.is_valid],
    ]


@app.command()
def show(
    reference: str = typer.Argument(metavar="VIDEO", help="Its id, the id's first characters, or its path."),
    as_json: bool = AS_JSON,
) -> None:
    """Show everything about one video."""
    settings = load_settings()
    with engine_for(settings).connect() as connection:
        video = wire.Video.model_validate(_find(connection, reference, settings))
    if as_json:
        print_json(video.model_dump(mode="json"))
        return
    for name, value in video:
        shown = local_time(value, "%Y-%m-%d %H:%M:%S") if name in ("mtime", "created_at", "updated_at") else value
        typer.echo(f"{name.replace('_', ' ').capitalize() + ':':<18}{printable(str('-' if shown is None else shown))}")


def _find(connection: sa.Connection, reference: str, settings: Settings) -> videos.Video:
    for candidate in _readings(reference, settings.media_library_path):
        with suppress(VideoNotFound, UnicodeEncodeError):
            return videos.find(connection, candidate)
    return fail(f"No video {printable(reference)}", USAGE)


def _readings(reference: str, root: Path) -> Iterator[str]:
    """An id, the start of one or a path in the library, as given; else a path of this machine."""
    yield reference
    if lies_below(Path.cwd() / reference, root):
        yield relative(Path.cwd() / reference, root)


@app.command()
def forget(
    reference: str = typer.Argument(metavar="VIDEO", help="Its id, the id's first characters, or its path."),
    force: bool = typer.Option(False, "--force", help="Do not ask."),
) -> None:
    """Remove the row of a video whose file is gone for good. Should the file come back, it is a new video."""
    settings = load_settings()
    with engine_for(settings).begin() as connection:
        video = _find(connection, reference, settings)
        if video.missing_since is None:
            fail(f"{printable(video.path)} is not missing; a scan of its folder would tell")
        if not force and not typer.confirm(f"Forget {printable(video.path)}?", err=True):
            raise SystemExit(FAILED)
        if not videos.forget(connection, video.id):
            fail(f"{printable(video.path)} has come back meanwhile")
        audit.record(connection, who(), "video.forget", videoId=str(video.id), path=video.path)
    typer.echo(f"Forgot {printable(video.path)}")


@app.command("duplicates")
def list_duplicates(as_json: bool = AS_JSON) -> None:
    """List videos that are the same in content, or show the same; the best of each group comes first."""
    settings = load_settings()
    with engine_for(settings).connect() as connection:
        known = _files(videos.likenesses(connection), settings.media_library_path)
    found = duplicates.groups(known)
    if as_json:
        print_json([_group(one) for one in found])
        return
    for group in found:
        proof = {"sha256": "same content", "fingerprint": "same samples of the content", "phash": "same picture"}
        typer.echo(f"{proof[group.proof]}, {size(group.spare_bytes)} to spare")
        for video in group.members:
            assert isinstance(video, videos.Likeness)
            picture = f"{video.width}x{video.height}" if video.width else "-"
            mark = "*" if video is group.members[0] else " "
            cells = [cell(str(video.id)[:8], 8), cell(picture, 10), cell(size(video.size_bytes or 0), 9)]
            typer.echo("   ".join([f"  {mark}", *cells, printable(video.path)]))
    unread = sum(video.phash is None for video in known)
    typer.echo(f"{len(found)} groups among {len(known)} videos")
    if unread:
        err.print(f"{unread} of them have no picture hash yet: a validate job makes it")


def _files(known: Sequence[videos.Likeness], root: Path) -> list[videos.Likeness]:
    """Those whose file is there, one for each file: to remove another name of it, or a link to it, frees nothing."""
    found: dict[tuple[int, int], videos.Likeness] = {}
    for video in sorted(known, key=lambda video: (root / video.path).is_symlink()):
        with suppress(OSError):
            status = (root / video.path).stat()
            found.setdefault((status.st_dev, status.st_ino), video)
    if len(found) < len(known):
        err.print(f"{len(known) - len(found)} of {len(known)} are not there now, or are other names of a file")
    return list(found.values())


def _group(group: duplicates.Group) -> dict[str, object]:
    fields = ("id", "path", "size_bytes", "duration_seconds", "width", "height", "bitrate_kbps")
    return {
        "kind": group.kind,
        "proof": group.proof,
        "spareBytes": group.spare_bytes,
        "best": group.members[0].path,
        "videos": [{to_camel(name): getattr(video, name) for name in fields} for video in group.members],
    }
