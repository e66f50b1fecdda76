"""The statistics: the specification's numbers, and what an operator asks next."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

import sqlalchemy as sa
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from jobqueue_bridge import history, lifecycle, stats
from jobqueue_bridge.api.wire import Instant, Stats, Wire
from jobqueue_bridge.api.wire_actions import Slots
from jobqueue_bridge.history import Sums
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus, ResourceCategory


class Reason(Wire):
    reason: str
    jobs: int


class Ended(Wire):
    completed: int
    failed: int


class Throughput(Wire):
    last_hour: Ended
    last_day: Ended


class Paused(Wire):
    since: Instant
    by: str | None


class OfKind(Wire):
    """Jobs of one type or category: how many there are by status, and what those that ended took, the archive too."""

    pending: int = 0
    queued: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    paused: int = 0
    average_run_seconds: float | None = None
    average_wait_seconds: float | None = None
    bytes_saved: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int], sums: Sequence[Sums]) -> Self:
        return cls(**counts, **averages(sums))


def averages(sums: Sequence[Sums]) -> dict[str, float | int | None]:
    return {
        "average_run_seconds": _mean(sum(one.run_s for one in sums), sum(one.runs for one in sums)),
        "average_wait_seconds": _mean(sum(one.wait_s for one in sums), sum(one.waits for one in sums)),
        "bytes_saved": sum(one.bytes_saved for one in sums),
    }


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 3) if count else None


class FullStats(Stats):
    oldest_wait_seconds: float | None = Field(
        description="Of the job that has waited longest of those that could start."
    )
    waiting_reasons: list[Reason] = Field(description="Of the head of the line, the commonest first.")
    throughput: Throughput = Field(description="Of the hour and the day until now, to the full hour.")
    bytes_saved: int = Field(description="What re-encodes and transcodes are smaller than their sources, in all.")
    queue_paused: Paused | None
    slots: dict[ResourceCategory, Slots]
    by_type: dict[str, OfKind]
    by_category: dict[str, OfKind]


def full(
    connection: sa.Connection, basic: stats.Stats, slots: Mapping[ResourceCategory, Slots], settings: Settings
) -> FullStats:
    totals = history.totals(connection)
    full_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    day, hour = history.ended(connection, full_hour - timedelta(days=1), full_hour - timedelta(hours=1))
    switch, waits = lifecycle.switch(connection), stats.waits(connection)
    return FullStats(
        **dict(Stats.of(basic, settings)),
        oldest_wait_seconds=waits.oldest_s,
        waiting_reasons=[Reason(reason=reason, jobs=count) for reason, count in waits.reasons],
        throughput=Throughput(last_hour=_ended(hour), last_day=_ended(day)),
        bytes_saved=sum(one.bytes_saved for one in totals),
        queue_paused=Paused(since=switch.paused_at, by=switch.paused_by) if switch.paused_at else None,
        slots=dict(slots),
        by_type=_by("type", basic, totals),
        by_category=_by("resource_category", basic, totals),
    )


def _ended(counts: Mapping[str, int]) -> Ended:
    return Ended(completed=counts.get(JobStatus.COMPLETED, 0), failed=counts.get(JobStatus.FAILED, 0))


def _jobs(sums: Iterable[Sums], outcome: JobStatus) -> int:
    return sum(one.jobs for one in sums if one.outcome == outcome.value)


def _by(field: str, found: stats.Stats, totals: Sequence[Sums]) -> dict[str, OfKind]:
    """`field`: the type's or the category's name in both."""
    counts: dict[str, Counter[str]] = {getattr(one, field): Counter() for one in (*found.by_kind, *totals)}
    for kind, count in found.by_kind.items():
        counts[getattr(kind, field)][kind.status] += count
    return {
        name: OfKind.of(counts[name], [one for one in totals if getattr(one, field) == name]) for name in sorted(counts)
    }


class Bucket(Wire):
    """What ended in the hour that begins then."""

    at: Instant
    completed: int
    failed: int
    cancelled: int
    average_run_seconds: float | None
    average_wait_seconds: float | None
    bytes_saved: int

    @classmethod
    def of(cls, at: datetime, sums: Sequence[Sums]) -> Self:
        ended = {outcome.value: _jobs(sums, outcome) for outcome in _OUTCOMES}
        return cls.model_validate({"at": at, **ended, **averages(sums)})


_OUTCOMES = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class Chart(Wire):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    from_: Instant = Field(alias="from")
    to: Instant
    step_seconds: int
    buckets: list[Bucket]


def chart(connection: sa.Connection, now: datetime, hours: int, kind: str | None, category: str | None) -> Chart:
    """The full hours until now, and the one that is not over yet."""
    end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    begin = end - timedelta(hours=hours)
    found = history.since(connection, begin, end)
    at = [begin + timedelta(hours=number) for number in range(hours)]
    buckets = [Bucket.of(hour, [one for one in found.get(hour, ()) if _is_of(one, kind, category)]) for hour in at]
    return Chart(from_=begin, to=end, step_seconds=3600, buckets=buckets)


def _is_of(one: Sums, kind: str | None, category: str | None) -> bool:
    return kind in (None, one.type) and category in (None, one.resource_category)
