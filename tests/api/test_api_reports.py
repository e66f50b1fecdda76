"""Reports on the library, over HTTP."""

from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

from jobqueue_bridge import reports
from jobqueue_bridge.library_report import LibraryReport, LibraryShare, LibraryTotals, Savings
from jobqueue_bridge.tables import library_reports

REPORT, REPORTS = "/api/media/report", "/api/media/reports"
MAKER = UUID("550e8400-e29b-41d4-a716-446655440000")


def a_report(videos: int) -> LibraryReport:
    totals = LibraryTotals(videos=videos, size_bytes=2**45, valid=1)
    share = LibraryShare(name='<img src="x">\n', videos=videos, size_bytes=2**45, duration_seconds=1.5)
    return LibraryReport(days=90, totals=totals, by_codec=[share], savings=Savings(saved_bytes=-5))


def test_without_a_report_the_answer_says_how_one_is_made(api: httpx.Client) -> None:
    answer = api.get(REPORT)

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "library_report" in answer.json()["detail"]
    assert answer.json()["type"] == "urn:media-pipelines:problem:no-report"
    assert api.get(REPORTS).json() == {"data": []}


def test_the_newest_report_is_told_whole(api: httpx.Client, connection: sa.Connection) -> None:
    reports.save(connection, MAKER, a_report(1))
    number = reports.save(connection, MAKER, a_report(4))

    told = api.get(REPORT).json()

    assert (told["id"], told["jobId"]) == (number, str(MAKER))
    assert told["madeAt"].endswith("Z")
    assert told["report"]["totals"]["sizeBytes"] == 2**45
    assert told["report"]["byCodec"][0]["name"] == '<img src="x">\n'
    assert told["keyFigures"].items() >= {"videos": 4, "validPercent": 25.0, "savedBytes": -5}.items()


def test_a_report_that_is_known_already_is_not_sent_again(api: httpx.Client, connection: sa.Connection) -> None:
    reports.save(connection, MAKER, a_report(1))
    first = api.get(REPORT)
    again = api.get(REPORT, headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])

    reports.save(connection, MAKER, a_report(2))
    changed = api.get(REPORT, headers={"If-None-Match": first.headers["etag"]})
    assert (changed.status_code, changed.json()["report"]["totals"]["videos"]) == (200, 2)


def test_key_figures_are_listed_newest_first(api: httpx.Client, connection: sa.Connection) -> None:
    for videos in range(1, 6):
        reports.save(connection, MAKER, a_report(videos))

    told = api.get(REPORTS, params={"limit": 3}).json()["data"]

    assert [one["keyFigures"]["videos"] for one in told] == [5, 4, 3]
    assert "report" not in told[0]


@pytest.mark.parametrize("limit", ["0", "401", "x", ""])
def test_a_limit_that_is_none_is_refused(api: httpx.Client, limit: str) -> None:
    answer = api.get(REPORTS, params={"limit": limit})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "limit"


def test_a_report_of_an_earlier_version_is_still_read(api: httpx.Client, connection: sa.Connection) -> None:
    old: dict[str, Any] = {"key_figures": {"videos": 3}, "report": {"days": 30, "gone": 1, "totals": {"videos": 3}}}
    connection.execute(sa.insert(library_reports), [old])

    assert api.get(REPORT).json()["report"]["totals"]["videos"] == 3
    assert api.get(REPORTS).json()["data"][0]["keyFigures"]["sizeBytes"] == 0


def test_another_token_than_an_administrators_opens_neither(anonymous: httpx.Client) -> None:
    assert [anonymous.get(path).status_code for path in (REPORT, REPORTS)] == [401, 401]
