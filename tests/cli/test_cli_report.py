"""`report` on the command line."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import lease, reports
from jobqueue_bridge.library_report import LibraryReport, LibraryShare, LibraryTotals
from jobqueue_bridge.tables import jobs

Cli = Callable[..., Any]
Add = Callable[..., UUID]

REPORT = LibraryReport(
    days=90,
    totals=LibraryTotals(videos=3, size_bytes=4_000_000, duration_seconds=7200.0, valid=2, invalid=1),
    by_codec=[LibraryShare(name="h264\x1b[2J", videos=3, size_bytes=4_000_000, duration_seconds=7200.0)],
)


def test_without_a_report_it_says_how_one_is_made(cli: Cli) -> None:
    ended = cli("report")

    assert ended.code == 1
    assert "media-pipelines report --refresh" in ended.err


def test_the_newest_report_is_printed_for_people_and_for_programs(cli: Cli, connection: sa.Connection) -> None:
    number = reports.save(connection, uuid4(), REPORT)

    printed = cli("report").out

    assert printed.startswith(f"Report {number} of ")
    assert "4.0 MB" in printed
    assert "2, invalid 1, not validated 0" in printed
    assert "\x1b" not in printed
    assert "h264\\x1b[2J" in printed
    told = cli("report", "--json").json
    assert (told["id"], told["report"]["totals"]["videos"]) == (number, 3)


def test_days_alone_are_bad_usage(cli: Cli) -> None:
    assert cli("report", "--days", "30").code == 2


def test_days_that_no_report_may_have_are_bad_usage(cli: Cli) -> None:
    ended = cli("report", "--refresh", "--days", "1")

    assert ended.code == 2
    assert "params.days" in ended.err


def test_nothing_is_queued_where_nobody_would_make_it(cli: Cli, connection: sa.Connection) -> None:
    assert cli("report", "--refresh").code == 3
    assert connection.scalar(sa.select(sa.func.count()).select_from(jobs)) == 0


@pytest.fixture
def worker(database: sa.Engine, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Takes what is asked for after a while, as a platform on another host would."""
    url = settings.queue_url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    over = threading.Event()

    def work(after_s: float) -> None:
        over.wait(after_s)
        while not over.wait(0.05):
            with database.begin() as connection:
                waiting = sa.select(jobs.c.id).where(jobs.c.type == "library_report", jobs.c.status == "pending")
                for found in connection.scalars(waiting).all():
                    connection.execute(sa.update(jobs).where(jobs.c.id == found).values(status="queued", attempt=1))
                    held = lease.claim(connection, found, 1, run_id="r", host="there")
                    assert held is not None
                    reports.save(connection, found, REPORT)
                    lease.complete(connection, held, {})

    threads: list[threading.Thread] = []

    def start(after_s: float) -> None:
        threads.append(threading.Thread(target=work, args=(after_s,)))
        threads[-1].start()

    yield start
    over.set()
    for thread in threads:
        thread.join()


def test_refresh_waits_for_a_new_one_and_prints_it(
    cli: Cli, worker: Callable[[float], None], connection: sa.Connection
) -> None:
    worker(0)

    ended = cli("report", "--refresh", "--days", "30", "--json")

    assert (ended.code, ended.json["report"]["totals"]["videos"]) == (0, 3)
    job = connection.execute(sa.select(jobs.c.params["days"], jobs.c.origin)).one()
    assert tuple(job) == (30, "cli")


def test_a_report_that_is_being_made_is_waited_for(cli: Cli, worker: Callable[[float], None], add_job: Add) -> None:
    live = add_job("library_report")
    worker(2)

    ended = cli("report", "--refresh")

    assert ended.code == 0, ended.err
    assert f"Job {live} makes one already" in ended.err
    assert ended.out.startswith("Report ")
