"""The log of a job, a row for each line. Its end is in `jobs.log`, too, for readers of the row alone.

It is bounded: its first and its last lines stay, one line between them says how many were left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge.tables import job_leases, job_logs, jobs

FIRST_LINES, LAST_LINES = 1_000, 2_000
FIRST_BYTES, LAST_BYTES = 500_000, 1_000_000
TAIL_BYTES = 10_000
# Only a log that has grown well beyond what it keeps is cut, so that one cut serves many lines.
LINES_MAX, BYTES_MAX = 2 * (FIRST_LINES + LAST_LINES), 2 * (FIRST_BYTES + LAST_BYTES)


def held(job_id: UUID) -> dict[str, Any]:
    """What the job's log holds, as values for its lease: an attempt goes on counting where the one before it ended."""
    lines = sa.select(sa.func.count()).where(job_logs.c.job_id == job_id)
    size = sa.select(sa.func.coalesce(sa.func.sum(sa.func.octet_length(job_logs.c.line)), 0))
    return {
        "log_lines": lines.select_from(job_logs).scalar_subquery(),
        "log_bytes": size.where(job_logs.c.job_id == job_id).scalar_subquery(),
    }


def keep_bounded(connection: sa.Connection, job_id: UUID, appended: Sequence[str]) -> None:
    """Count what an attempt has appended, and cut the log where it has become too long."""
    counted = connection.execute(
        sa.update(job_leases)
        .where(job_leases.c.job_id == job_id)
        .values(
            log_lines=job_leases.c.log_lines + len(appended),
            log_bytes=job_leases.c.log_bytes + sum(len(line.encode()) for line in appended),
        )
        .returning(job_leases.c.log_lines, job_leases.c.log_bytes)
    ).one_or_none()
    if counted is not None and (counted.log_lines > LINES_MAX or counted.log_bytes > BYTES_MAX):
        cut(connection, job_id)
        connection.execute(sa.update(job_leases).where(job_leases.c.job_id == job_id).values(**held(job_id)))


def cut(connection: sa.Connection, job_id: UUID) -> None:
    """Leave the middle out. What an earlier cut left out is added to it; it never becomes a part of the beginning."""
    line, oldest, newest = job_logs.c, job_logs.c.seq, job_logs.c.seq.desc()
    size = sa.func.octet_length(line.line)
    placed = (
        sa.select(
            line.seq,
            sa.func.coalesce(line.left_out, 1).label("stands_for"),
            sa.func.row_number().over(order_by=oldest).label("lines_before"),
            sa.func.sum(size).over(order_by=oldest).label("bytes_before"),
            sa.func.count(line.left_out).over(order_by=oldest).label("gaps_before"),
            sa.func.row_number().over(order_by=newest).label("lines_behind"),
            sa.func.sum(size).over(order_by=newest).label("bytes_behind"),
            line.left_out,
        )
        .where(line.job_id == job_id)
        .cte("placed")
    )
    is_first = sa.and_(
        placed.c.lines_before <= FIRST_LINES, placed.c.bytes_before <= FIRST_BYTES, placed.c.gaps_before == 0
    )
    is_last = sa.and_(
        placed.c.lines_behind <= LAST_LINES, placed.c.bytes_behind <= LAST_BYTES, placed.c.left_out.is_(None)
    )
    middle = sa.select(placed.c.seq, placed.c.stands_for).where(~is_first, ~is_last).cte("middle")
    gap = sa.select(sa.func.min(middle.c.seq).label("seq"), sa.func.sum(middle.c.stands_for).label("lines")).cte("gap")
    removed = (
        sa.delete(job_logs)
        .where(line.job_id == job_id, line.seq == middle.c.seq, line.seq > sa.select(gap.c.seq).scalar_subquery())
        .cte("removed")
    )
    connection.execute(
        sa.update(job_logs)
        .where(line.job_id == job_id, line.seq == gap.c.seq)
        .values(left_out=gap.c.lines, line=sa.func.concat("… ", gap.c.lines, " lines left out …"))
        .add_cte(removed)
    )


def text(connection: sa.Connection, job_id: UUID, *, tail: int | None = None) -> str:
    """The log, a line per entry, or its last `tail` lines; for jobs that other programs ran, the text in `jobs.log`."""
    newest_first = sa.select(stamped()).where(job_logs.c.job_id == job_id).order_by(job_logs.c.seq.desc())
    lines = connection.scalars(newest_first.limit(tail)).all()[::-1]
    if not lines:
        lines = (connection.scalar(sa.select(jobs.c.log).where(jobs.c.id == job_id)) or "").splitlines()
    return "\n".join(lines if tail is None else lines[-tail:])


def after(connection: sa.Connection, job_id: UUID, seq: int) -> list[tuple[int, str]]:
    """Log lines newer than `seq`, each with its own number, for following."""
    rows = connection.execute(
        sa.select(job_logs.c.seq, stamped())
        .where(job_logs.c.job_id == job_id, job_logs.c.seq > seq)
        .order_by(job_logs.c.seq)
        .limit(1000)
    )
    return [(row[0], row[1]) for row in rows]


@dataclass(frozen=True)
class LogLine:
    seq: int
    at: datetime
    line: str


def lines(
    connection: sa.Connection, job_id: UUID, *, after: int = 0, up_to: int | None = None, newest: int | None = None
) -> list[LogLine]:
    """Those behind one number and up to another, oldest first; of these perhaps only the newest."""
    wanted = [job_logs.c.job_id == job_id, job_logs.c.seq > after]
    if up_to is not None:
        wanted.append(job_logs.c.seq <= up_to)
    lines = sa.select(job_logs.c.seq, job_logs.c.at, job_logs.c.line).where(*wanted)
    rows = connection.execute(lines.order_by(job_logs.c.seq.desc()).limit(newest)).all()
    return [LogLine(*row) for row in reversed(rows)]


def tail(connection: sa.Connection, job_id: UUID) -> str:
    """What is kept in `jobs.log`, for readers of the row alone: at most TAIL_BYTES."""
    newest = connection.scalars(
        sa.select(stamped())
        .where(job_logs.c.job_id == job_id)
        .order_by(job_logs.c.seq.desc())
        .limit(TAIL_BYTES // 22)  # no line is shorter than its time stamp
    ).all()
    return "\n".join(reversed(newest)).encode()[-TAIL_BYTES:].decode(errors="ignore")


def keep_older(connection: sa.Connection, job_id: UUID) -> None:
    """What another program wrote into `jobs.log` before this platform wrote its first line about the job."""
    older = sa.select(jobs.c.id, jobs.c.log).where(
        jobs.c.id == job_id, jobs.c.log != "", ~sa.exists().where(job_logs.c.job_id == jobs.c.id)
    )
    connection.execute(sa.insert(job_logs).from_select(["job_id", "line"], older))


def append(connection: sa.Connection, job_ids: Sequence[UUID], lines: Sequence[str]) -> None:
    """The same lines to each log, from outside of an attempt; `jobs.log` follows."""
    if not job_ids:
        return
    logged = sa.exists().where(job_logs.c.job_id == jobs.c.id)
    older = sa.or_(logged, sa.func.coalesce(jobs.c.log, "") != "")
    with_log = connection.scalars(sa.select(jobs.c.id).where(jobs.c.id.in_(job_ids), older)).all()
    for job_id in with_log:
        keep_older(connection, job_id)
    connection.execute(
        sa.insert(job_logs).values(at=sa.func.now()),
        [{"job_id": job_id, "line": line} for job_id in job_ids for line in lines],
    )
    for job_id in with_log:
        connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(log=tail(connection, job_id)))
    without = [job_id for job_id in job_ids if job_id not in set(with_log)]
    if without:  # their tail is what was just written
        kept = tail(connection, without[0])
        connection.execute(sa.update(jobs).where(jobs.c.id.in_(without)).values(log=kept))


def stamped() -> sa.ColumnElement[str]:
    stamp = sa.func.to_char(sa.func.timezone("utc", job_logs.c.at), "YYYY-MM-DD HH24:MI:SS")
    return sa.func.concat("[", stamp, "] ", job_logs.c.line)
