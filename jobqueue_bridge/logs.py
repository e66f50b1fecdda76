"""A job's log is bounded: its first and its last lines stay, one line between them says how many were left out."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge.tables import job_leases, job_logs

FIRST_LINES, LAST_LINES = 1_000, 2_000
FIRST_BYTES, LAST_BYTES = 500_000, 1_000_000
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
