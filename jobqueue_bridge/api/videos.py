"""The library, to choose a job's video from."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Security

from jobqueue_bridge import videos
from jobqueue_bridge.api import wire
from jobqueue_bridge.api.auth import bearer
from jobqueue_bridge.api.dependencies import Database
from jobqueue_bridge.api.problems import documented

router = APIRouter(
    prefix="/api/media/videos",
    tags=["videos"],
    dependencies=[Security(bearer)],
    responses=documented(400, 401, 403, 422, 503),
)


@router.get("")
def list_videos(database: Database, asked: Annotated[wire.ListVideos, Query()]) -> wire.VideoList:
    """Newest first."""
    with database.connect() as connection:
        found = videos.page(connection, search=asked.search, limit=asked.limit, offset=asked.offset)
    return wire.VideoList.of(asked, found)


@router.get("/{id}", responses=documented(404))
def get_video(database: Database, video_id: Annotated[UUID, Path(alias="id")]) -> wire.Video:
    with database.connect() as connection:
        return wire.Video.model_validate(videos.get(connection, video_id))
