"""Jobs as a list: what is found, in which order, and that pages by cursor stay right while rows come and go."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import listing
from jobqueue_bridge.api import cursors
from jobqueue_bridge.listing import Order, Place, Wanted
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import JobStatus, JobType

Add = Callable[..., UUID]
NOW = datetime(2026, 2, 13, 10, 30, tzinfo=UTC)


def every_page(connection: sa.Connection, order: Order, between: Callable[[], Any] = lambda: None) -> list[UUID]:
    """The ids of all pages of two, with something done between each two of them."""
    page = listing.page(connection, Wanted(), order, limit=2)
    seen = [job.id for job in page.jobs]
    while page.end is not None:
        between()
        end = cursors.read(cursors.written(page.end), order)
        page = listing.page_after(connection, Wanted(), end, limit=2)
        seen += [job.id for job in page.jobs]
    return seen


@pytest.fixture
def seven(add_job: Add) -> list[UUID]:
    """Of several priorities; some have started, some ended; two at the same instant."""
    return [
        add_job(
            created_at=NOW + timedelta(seconds=number // 2),
            started_at=NOW + timedelta(minutes=number) if number % 2 else None,
            completed_at=NOW + timedelta(hours=number) if number % 3 == 0 else None,
            priority=1 + number % 4,
        )
        for number in range(7)
    ]


@pytest.mark.parametrize("order", list(Order))
def test_pages_by_cursor_cover_every_job_once_in_order(
    connection: sa.Connection, seven: list[UUID], order: Order
) -> None:
    whole = [job.id for job in listing.page(connection, Wanted(), order, limit=50).jobs]

    assert every_page(connection, order) == whole
    assert set(whole) == set(seven)


@pytest.mark.parametrize("order", list(Order))
def test_an_order_downwards_is_the_other_one_turned_round(
    connection: sa.Connection, seven: list[UUID], order: Order
) -> None:
    other = Order(order.removeprefix("-") if order.startswith("-") else f"-{order}")
    one, turned = (
        [job.id for job in listing.page(connection, Wanted(), each, limit=50).jobs] for each in (order, other)
    )

    assert one == turned[::-1]


@pytest.mark.parametrize("order", list(Order))
def test_jobs_that_arrive_between_two_pages_repeat_and_hide_no_other(
    connection: sa.Connection, add_job: Add, seven: list[UUID], order: Order
) -> None:
    seen = every_page(connection, order, between=lambda: add_job(created_at=NOW + timedelta(seconds=1)))

    assert len(seen) == len(set(seen))
    assert set(seven) <= set(seen)


def test_a_page_goes_on_though_the_job_that_it_ended_with_has_gone(
    connection: sa.Connection, seven: list[UUID]
) -> None:
    first = listing.page(connection, Wanted(), Order.OLDEST, limit=3)
    assert first.end is not None
    connection.execute(sa.delete(jobs).where(jobs.c.id == first.end.id))

    second = listing.page_after(connection, Wanted(), first.end, limit=50)

    assert {job.id for job in (*first.jobs, *second.jobs)} == set(seven)


def test_filters_narrow_by_several_values_and_by_time(connection: sa.Connection, add_job: Add) -> None:
    scan = add_job("scan", created_at=NOW)
    paused = add_job(status="paused", created_at=NOW + timedelta(hours=1))
    add_job(status="failed", created_at=NOW + timedelta(hours=2))

    def found(wanted: Wanted) -> set[UUID]:
        return {job.id for job in listing.page(connection, wanted, Order.NEWEST, limit=50).jobs}

    assert found(Wanted(statuses=(JobStatus.PENDING, JobStatus.PAUSED))) == {scan, paused}
    assert found(Wanted(types=(JobType.SCAN,))) == {scan}
    assert found(Wanted(created_from=NOW, created_to=NOW + timedelta(hours=1))) == {scan}


def test_a_text_finds_ids_types_videos_and_errors(connection: sa.Connection, add_job: Add, add_video: Add) -> None:
    scan = add_job("scan")
    about = add_job("validate", {"videoId": str(add_video("inbox/Summer_100%.mp4", title="At the sea"))})
    failed = add_job(status="failed", error="ffmpeg ended with 1: codec not supported")

    def found(text: str) -> set[UUID]:
        return {job.id for job in listing.page(connection, Wanted(text=text), Order.NEWEST, limit=50).jobs}

    assert found(str(scan)[:8]) == {scan}
    assert found("SCAN") == {scan}
    assert found("summer_100%") == found("the sea") == {about}
    assert found("codec supp") == {failed}
    assert found("%") == {about}
    assert found("nothing of this") == found("'") == found("&!") == set()


def test_a_text_that_many_speak_of_is_found_without_counting_them_all(
    connection: sa.Connection, add_job: Add, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "FOUND_MOST", 2)
    ids = [add_job(created_at=NOW + timedelta(seconds=number)) for number in range(5)]

    with database.connect() as other:
        page = listing.page(other, Wanted(text="compile"), Order.NEWEST, limit=3)

    assert [job.id for job in page.jobs] == ids[:1:-1]
    assert (page.total, page.is_exact) == (2, False)


@pytest.mark.parametrize(
    "text", ["", "x", "é", "W10", "WyJwcmlvcml0eSJd", cursors.written_number(5), "eyJhIjoxfQ", "bnVsbA"]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(cursors.InvalidJob):
        cursors.read(text, Order.NEWEST)


@pytest.mark.parametrize("values", [(), ("x",), ("1; DROP TABLE jobs",), ("2026-02-13 10:30:00", "5")])
def test_a_cursor_with_a_value_that_no_row_has_is_refused(values: tuple[str, ...]) -> None:
    forged = cursors.written(Place(Order.NEWEST, values, UUID(int=1)))

    with pytest.raises(cursors.InvalidJob):
        cursors.read(forged, Order.NEWEST)


def test_a_cursor_of_another_order_is_refused() -> None:
    of_oldest = cursors.written(Place(Order.OLDEST, ("2026-02-13 10:30:00",), UUID(int=1)))

    with pytest.raises(cursors.InvalidJob, match="in the order createdAt"):
        cursors.read(of_oldest, Order.NEWEST)
