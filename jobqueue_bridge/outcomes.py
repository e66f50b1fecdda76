"""Every statement on `transcode_outcomes`, and what earlier transcodes say about speed.

A content is named by its fingerprint, a policy by its hash: what came of the two once would come of them again.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge.tables import jobs, jobs_archive, transcode_outcomes
from jobqueue_bridge.vocabulary import JobStatus, JobType

_SPEEDS_OF_NEWEST = 500


class Result(StrEnum):
    COMPLIANT = "compliant"
    DONE = "done"
    LARGER = "larger"
    FAILED_VERIFY = "failed verify"
    UNREACHABLE = "unreachable"  # no quality setting reaches the target


FAILURES = frozenset({Result.FAILED_VERIFY, Result.UNREACHABLE})


@dataclass(frozen=True)
class Remembered:
    """What came of a content under a policy; `detail` says it to a person. `output`: the path of the result, where
    its job is still known."""

    result: Result
    detail: str
    output: str | None = None


def record(
    connection: sa.Connection, content: str, path: str, policy: str, result: Result, detail: str, job_id: UUID
) -> None:
    """The newest outcome counts."""
    row = {"outcome": result.value, "detail": detail, "job_id": job_id}
    connection.execute(
        pg.insert(transcode_outcomes)
        .values(content=_key(content, path, result), policy=policy, **row)
        .on_conflict_do_update(
            index_elements=[transcode_outcomes.c.content, transcode_outcomes.c.policy],
            set_={**row, "at": sa.func.now()},
        )
    )


def _key(content: str, path: str, result: Result) -> str:
    """A copy at another path has not been done yet; that it would become larger is true of it, too."""
    return f"{content}@{path}" if result == Result.DONE else content


def remembered(connection: sa.Connection, content: str, path: str, policy: str) -> Remembered | None:
    """What came of the content under the policy, at this path or wherever it holds."""
    table = transcode_outcomes
    row = connection.execute(
        sa.select(table.c.outcome, table.c.detail, _output().label("output"))
        .outerjoin_from(table, jobs, jobs.c.id == table.c.job_id)
        .outerjoin(jobs_archive, jobs_archive.c.id == table.c.job_id)
        .where(table.c.policy == policy, table.c.content.in_([content, _key(content, path, Result.DONE)]))
        .order_by(table.c.at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Remembered(Result(row.outcome), row.detail, row.output)


def _output() -> sa.ColumnElement[str | None]:
    now, then = jobs.c.result["outputPath"], jobs_archive.c.job["result"]["outputPath"]
    return sa.func.coalesce(now.as_string(), then.as_string())


def speeds(connection: sa.Connection) -> dict[tuple[str, str], float]:
    """How many seconds of video a second of encoding made, by codec and quality ("1080p"): the median of the newest
    transcodes that this platform completed."""
    newest = (
        sa.select(jobs.c.result)
        .where(
            jobs.c.type == JobType.TRANSCODE.value,
            jobs.c.status == JobStatus.COMPLETED.value,
            jobs.c.result["encodeSeconds"].as_float() > 0,
        )
        .order_by(jobs.c.created_at.desc())
        .limit(_SPEEDS_OF_NEWEST)
        .subquery()
    )
    codec, quality = (newest.c.result[name].as_string() for name in ("videoCodec", "quality"))
    speed = newest.c.result["durationSeconds"].as_float() / newest.c.result["encodeSeconds"].as_float()
    rows = connection.execute(
        sa.select(codec.label("codec"), quality.label("quality"), sa.func.percentile_cont(0.5).within_group(speed))
        .where(speed > 0)
        .group_by(codec, quality)
    )
    return {(row[0], row[1]): float(row[2]) for row in rows}
