"""However much a job says, its log keeps its beginning, its end, and how much lies between."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import lease, logs
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.tables import job_leases, job_logs


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches quickly."""
    for name, value in {"FIRST_LINES": 10, "LAST_LINES": 20, "LINES_MAX": 60}.items():
        monkeypatch.setattr(logs, name, value)


def lines_of(connection: sa.Connection, job_id: UUID) -> list[str]:
    return list(
        connection.scalars(sa.select(job_logs.c.line).where(job_logs.c.job_id == job_id).order_by(job_logs.c.seq))
    )


def say(connection: sa.Connection, held: Lease, first: int, last: int, at_a_time: int = 7) -> None:
    for start in range(first, last + 1, at_a_time):
        numbers = range(start, min(start + at_a_time, last + 1))
        lease.log(connection, held, [f"line {number}" for number in numbers])


def stood_for(lines: list[str]) -> int:
    """How many lines were said altogether."""
    return sum(int(line.split()[1]) if "left out" in line else 1 for line in lines)


def test_the_first_and_the_last_lines_of_a_long_log_stay(connection: sa.Connection, held: Lease, small: None) -> None:
    say(connection, held, 1, 500)
    lines = lines_of(connection, held.job_id)
    assert lines[:10] == [f"line {number}" for number in range(1, 11)]
    assert lines[10].endswith("lines left out …")
    assert lines[11:] == [f"line {number}" for number in range(500 - len(lines) + 12, 501)]
    assert stood_for(lines) == 500
    assert 30 <= len(lines) <= logs.LINES_MAX + 7


def test_a_short_log_stays_as_it_is(connection: sa.Connection, held: Lease, small: None) -> None:
    say(connection, held, 1, 60)
    assert lines_of(connection, held.job_id) == [f"line {number}" for number in range(1, 61)]


def test_few_lines_that_are_long_are_bounded_too(
    connection: sa.Connection, held: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FIRST_BYTES": 10_000, "LAST_BYTES": 20_000, "BYTES_MAX": 60_000}.items():
        monkeypatch.setattr(logs, name, value)
    for number in range(100):
        lease.log(connection, held, [f"{number} " + "ü" * 2_000])
    kept = connection.scalar(sa.select(sa.func.sum(sa.func.octet_length(job_logs.c.line))))
    assert kept < 70_000
    lines = lines_of(connection, held.job_id)
    assert (lines[0][:2], lines[1][:2], lines[2], lines[-1][:3]) == ("0 ", "1 ", lines[2], "99 ")
    assert stood_for([line.replace("ü", "") for line in lines]) == 100


def test_the_next_attempt_goes_on_counting(
    connection: sa.Connection, held: Lease, small: None, start: Callable[..., Lease]
) -> None:
    say(connection, held, 1, 50)
    lease.release(connection, held, "shutdown")
    again = start(held.job_id)
    counted = connection.execute(sa.select(job_leases.c.log_lines, job_leases.c.log_bytes)).one()
    lines = lines_of(connection, held.job_id)
    assert counted == (len(lines), sum(len(line) for line in lines))
    say(connection, again, 51, 70)
    assert stood_for(lines_of(connection, held.job_id)) == 71  # one says that it was handed back


def test_who_follows_a_log_sees_no_line_twice(connection: sa.Connection, held: Lease, small: None) -> None:
    seen: list[Any] = []
    for first in range(1, 300, 20):
        say(connection, held, first, first + 19)
        seen += logs.after(connection, held.job_id, seen[-1][0] if seen else 0)
    numbers = [text.split("] line ")[1] for _, text in seen if "] line " in text]
    assert numbers == [str(number) for number in range(1, 301)]
