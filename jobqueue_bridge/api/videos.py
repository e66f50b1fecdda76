"""The library, to choose a job's video from, to look at and to play."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response, Security
from fastapi import Path as InPath
from fastapi.responses import FileResponse

from jobqueue_bridge import insights, videos
from jobqueue_bridge.api import cursors, library_files, wire
from jobqueue_bridge.api.auth import bearer
from jobqueue_bridge.api.dependencies import CurrentSettings, Database, JobId, VideoId
from jobqueue_bridge.api.job_routes import JobRoute
from jobqueue_bridge.api.library_files import MEDIA, PICTURES, VIDEOS, FileNotThere, documented_files
from jobqueue_bridge.api.problems import documented
from jobqueue_bridge.api.reading import details_of

router = APIRouter(
    prefix="/api/media/videos",
    tags=["videos"],
    dependencies=[Security(bearer)],
    responses=documented(400, 401, 403, 422, 503),
)


@router.get("")
def list_videos(database: Database, asked: Annotated[wire.ListVideos, Query()]) -> wire.VideoList:
    """Newest first. Pages by number shift when videos arrive; those by `cursor` do not."""
    after = cursors.read_video(asked.cursor) if asked.cursor else None
    offset = 0 if after else asked.offset
    with database.connect() as connection:
        found = videos.page(
            connection, search=asked.search, limit=asked.limit, offset=offset, after=after, tag=asked.tag
        )
    return wire.VideoList.of(asked, found)


@router.get("/{id}", responses=documented(404))
def get_video(database: Database, video_id: VideoId) -> wire.Video:
    return wire.Video.model_validate(_video(database, video_id))


@router.get("/{id}/insights", responses=documented(404))
def get_insights(database: Database, video_id: VideoId) -> wire.VideoInsights:
    """Its shots and scenes, and what is seen in it."""
    with database.connect() as connection:
        videos.get(connection, video_id)
        shots, tags = insights.shots_of(connection, video_id), insights.tags_of(connection, video_id)
    return wire.VideoInsights(shots=[wire.Shot.of(shot) for shot in shots], tags=[wire.Tag.of(tag) for tag in tags])


@router.get(
    "/{id}/thumbnail", response_class=FileResponse, responses={**documented_files("image/jpeg"), **documented(404)}
)
def get_thumbnail(database: Database, settings: CurrentSettings, video_id: VideoId) -> FileResponse:
    """404 while there is none; `thumbnail_generate` makes it."""
    found = library_files.find(settings, _video(database, video_id).thumbnail_path, PICTURES, "thumbnail of this video")
    return library_files.shown(found, PICTURES)


@router.get("/{id}/file", response_class=FileResponse, responses={**documented_files("video/*"), **documented(404)})
def get_file(database: Database, settings: CurrentSettings, video_id: VideoId) -> FileResponse:
    """The video itself, in byte ranges, for a player."""
    found = library_files.find(settings, _video(database, video_id).path, VIDEOS, "file of this video")
    return library_files.shown(found, VIDEOS)


_PICTURE_IN_CUE = re.compile(r"^(?P<name>[^\s#]+\.jpg)(?=#xywh=)", re.MULTILINE)


@router.get(
    "/{id}/storyboard",
    responses={
        200: {"content": {"text/vtt": {"schema": {"type": "string"}}}, "description": "WebVTT"},
        **documented(404),
    },
    response_class=Response,
)
def get_storyboard(database: Database, settings: CurrentSettings, video_id: VideoId) -> Response:
    """Which part of which sheet of small pictures stands for which seconds."""
    text, names = _storyboard(database, settings, video_id)
    numbered = _PICTURE_IN_CUE.sub(lambda cue: f"storyboard/{names.index(cue['name'])}", text)
    return Response(numbered, media_type="text/vtt")


@router.get(
    "/{id}/storyboard/{sheet}",
    response_class=FileResponse,
    responses={**documented_files("image/jpeg"), **documented(404)},
)
def get_storyboard_sheet(
    database: Database, settings: CurrentSettings, video_id: VideoId, sheet: Annotated[int, InPath(ge=0, le=10_000)]
) -> FileResponse:
    _, names = _storyboard(database, settings, video_id)
    if sheet >= len(names):
        raise FileNotThere("such sheet")
    folder = PurePosixPath(_video(database, video_id).storyboard_path or "").parent
    return library_files.shown(
        library_files.find(settings, str(folder / names[sheet]), PICTURES, "such sheet"), PICTURES
    )


def _storyboard(database: sa.Engine, settings: CurrentSettings, video_id: VideoId) -> tuple[str, list[str]]:
    """Its text, and the names of its sheets in their order. Raises FileNotThere."""
    relative = _video(database, video_id).storyboard_path
    path: Path = library_files.find(settings, relative, {".vtt": "text/vtt"}, "storyboard of this video")
    text = path.read_text(errors="replace")
    return text, list(dict.fromkeys(cue["name"] for cue in _PICTURE_IN_CUE.finditer(text)))


def _video(database: sa.Engine, video_id: VideoId) -> videos.Video:
    """Raises VideoNotFound."""
    with database.connect() as connection:
        return videos.get(connection, video_id)


outputs = APIRouter(
    route_class=JobRoute,
    prefix="/api/media/jobs",
    tags=["jobs"],
    dependencies=[Security(bearer)],
    responses=documented(400, 401, 403, 404, 422, 503),
)


@outputs.get("/{id}/why", response_class=FileResponse, responses=documented_files("image/*"))
def get_why(database: Database, settings: CurrentSettings, job_id: JobId) -> FileResponse:
    """The picture of why a digest, reel or clip is what it is: the score over time, and what was chosen."""
    found = library_files.find(settings, _named(database, job_id, "whyPath"), PICTURES, "such picture of this job")
    return library_files.shown(found, PICTURES)


@outputs.get("/{id}/output", response_class=FileResponse, responses=documented_files("video/*", "image/*"))
def get_output(database: Database, settings: CurrentSettings, job_id: JobId) -> FileResponse:
    """What the job made."""
    found = library_files.find(settings, _named(database, job_id, "outputPath"), MEDIA, "file that this job made")
    return library_files.shown(found, MEDIA)


def _named(database: sa.Engine, job_id: JobId, name: str) -> str | None:
    """A path that the job's result names."""
    with database.connect() as connection:
        result = details_of(connection, job_id).result
    found = result.get(name) if isinstance(result, dict) else None
    return found if isinstance(found, str) else None
