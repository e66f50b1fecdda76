"""The endpoints for videos, over HTTP."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest

VIDEOS = "/api/media/videos"
Add = Callable[..., UUID]


def test_a_video_is_told_with_every_field(api: httpx.Client, add_video: Add) -> None:
    video_id = add_video(
        "library/videos/a.mp4",
        title="A film",
        duration_seconds=12.5,
        width=1280,
        has_audio=True,
        size_bytes=2**40,
        mtime=datetime(2026, 2, 13, 10, 30, tzinfo=UTC),
        tags=["x"],
    )

    video = api.get(f"{VIDEOS}/{video_id}").json()

    told = {"id": str(video_id), "filename": "a.mp4", "durationSeconds": 12.5, "hasAudio": True, "sizeBytes": 2**40}
    assert {**told, "mtime": "2026-02-13T10:30:00.000Z", "tags": ["x"], "isValid": None}.items() <= video.items()


def test_a_length_that_is_no_number_is_told_as_null(api: httpx.Client, add_video: Add) -> None:
    video_id = add_video(duration_seconds=float("nan"), fps=float("inf"))

    video = api.get(f"{VIDEOS}/{video_id}").json()

    assert (video["durationSeconds"], video["fps"]) == (None, None)


def test_pages_cover_every_video_once(api: httpx.Client, add_video: Add) -> None:
    added = {str(add_video(f"inbox/{number}.mp4")) for number in range(5)}

    pages = [api.get(VIDEOS, params={"page": page, "limit": 2}).json() for page in (1, 2, 3)]

    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    assert {video["id"] for page in pages for video in page["data"]} == added
    assert pages[0]["pagination"].items() >= {"page": 1, "limit": 2, "total": 5, "totalPages": 3}.items()


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("HOLIDAY", {"inbox/holiday.mp4"}),
        ("inbox/", {"inbox/holiday.mp4", "inbox/100%.mp4", "inbox/a_b.mp4"}),
        ("100%", {"inbox/100%.mp4"}),
        ("a_b", {"inbox/a_b.mp4"}),
        ("%", {"inbox/100%.mp4"}),
        ("nothing", set()),
        ("", {"inbox/holiday.mp4", "inbox/100%.mp4", "inbox/a_b.mp4"}),
    ],
)
def test_a_search_looks_for_the_very_text(api: httpx.Client, add_video: Add, search: str, found: set[str]) -> None:
    for path in ("inbox/holiday.mp4", "inbox/100%.mp4", "inbox/a_b.mp4"):
        add_video(path)

    listing = api.get(VIDEOS, params={"search": search}).json()

    assert {video["path"] for video in listing["data"]} == found


def test_an_unknown_video_is_not_found(api: httpx.Client) -> None:
    response = api.get(f"{VIDEOS}/{uuid4()}")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["page=0", f"page={10**30}", "limit=501", "limit=-1", f"search={'x' * 501}"])
def test_a_bad_query_is_refused_by_its_name(api: httpx.Client, query: str) -> None:
    response = api.get(f"{VIDEOS}?{query}")

    assert response.status_code == 422
    assert [item["field"] for item in response.json()["errors"]] == [query.partition("=")[0]]
