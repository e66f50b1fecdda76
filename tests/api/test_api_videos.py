"""The endpoints for videos, over HTTP."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa

from jobqueue_bridge import insights
from jobqueue_bridge.api import cursors
from jobqueue_bridge.listing import Order, Place
from jobqueue_bridge.tables import videos

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


def test_pages_by_cursor_show_every_video_once_although_others_come_and_go(
    api: httpx.Client, add_video: Add, connection: sa.Connection
) -> None:
    added = [str(add_video(f"inbox/{number}.mp4")) for number in range(5)]
    add_video("elsewhere/0.mp4")
    shown: list[str] = []
    cursor: str | None = None
    while not shown or cursor:
        asked = {"search": "inbox", "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = api.get(VIDEOS, params=asked).json()
        shown += [video["id"] for video in page["data"]]
        cursor = page["pagination"]["nextCursor"]
        add_video(f"inbox/new{len(shown)}.mp4")
        connection.execute(sa.delete(videos).where(videos.c.id == UUID(shown[0])))
        connection.commit()

    assert shown == added[::-1]
    assert page["pagination"].items() >= {"page": None, "limit": 2, "nextCursor": None}.items()


def test_videos_of_one_instant_are_each_on_one_page(
    api: httpx.Client, add_video: Add, connection: sa.Connection
) -> None:
    added = {str(add_video(f"inbox/{number}.mp4")) for number in range(3)}
    connection.execute(sa.update(videos).values(created_at="2026-02-13 10:30:00.123456+00"))
    connection.commit()

    first = api.get(VIDEOS, params={"limit": 2}).json()
    second = api.get(VIDEOS, params={"limit": 2, "cursor": first["pagination"]["nextCursor"]}).json()

    assert (len(first["data"]), len(second["data"])) == (2, 1)
    assert {video["id"] for video in (*first["data"], *second["data"])} == added


@pytest.mark.parametrize("cursor", ["x", "é", "W10", "eyJhIjoxfQ", "bnVsbA", cursors.written_number(5)])
def test_what_is_no_cursor_of_videos_is_refused(api: httpx.Client, cursor: str) -> None:
    refused = api.get(VIDEOS, params={"cursor": cursor})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "cursor"


def test_a_cursor_of_jobs_is_none_of_videos(api: httpx.Client) -> None:
    of_jobs = cursors.written(Place(Order.NEWEST, ("2026-02-13 10:30:00",), UUID(int=1)))

    assert api.get(VIDEOS, params={"cursor": of_jobs}).status_code == 422


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


def test_what_analysis_has_seen_is_told(api: httpx.Client, add_video: Add, connection: sa.Connection) -> None:
    seen, other = add_video("library/videos/a.mp4"), add_video("library/videos/b.mp4")
    insights.replace_shots(connection, seen, [insights.ShotRow(1, 1, 0.0, 2.5, "start")])
    insights.replace_tags(connection, seen, [insights.TagRow("o'cean", 0.9, 1, 2.5, [[0.0, 2.5, 0.9]], "model")])

    told = api.get(f"{VIDEOS}/{seen}/insights").json()

    place = {"startSeconds": 0.0, "endSeconds": 2.5}
    assert told["shots"] == [{"number": 1, "scene": 1, "transition": "start", **place}]
    assert told["tags"][0]["spans"] == [{**place, "score": 0.9}]
    assert api.get(f"{VIDEOS}/{other}/insights").json() == {"shots": [], "tags": []}
    assert api.get(f"{VIDEOS}/{uuid4()}/insights").status_code == 404
    listed = api.get(VIDEOS, params={"tag": "o'cean"}).json()
    assert [video["id"] for video in listed["data"]] == [str(seen)]
    assert listed["pagination"]["total"] == 1
    assert api.get(VIDEOS, params={"tag": "sea"}).json()["data"] == []
