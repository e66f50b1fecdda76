"""How many jobs there are of each kind, what they hold, how long they take and wait: read in a few statements, from
sums that triggers keep, so that a table of a million rows answers at once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from jobqueue_bridge.devices import gpu_of_first_unit
from jobqueue_bridge.dispatching import is_ready
from jobqueue_bridge.queue import status_in
from jobqueue_bridge.tables import job_tallies, jobs, utcnow
from jobqueue_bridge.vocabulary import PRIORITY_HIGHEST, PRIORITY_LOWEST, JobStatus, ResourceCategory


class Kind(NamedTuple):
    status: str
    type: str
    resource_category: str


@dataclass(frozen=True)
class Stats:
    by_kind: Mapping[Kind, int]
    """As far as there are any."""
    vram_used_mb_by_gpu: Mapping[int | None, int]
    """None: of jobs that do not say on which GPU they are."""
    average_processing_s: float
    """Mean of the newest thousand completed jobs."""

    @property
    def by_status(self) -> dict[JobStatus, int]:
        counted = self._by("status")
        return {status: counted[status.value] for status in JobStatus}

    @property
    def by_type(self) -> dict[str, int]:
        return dict(self._by("type"))

    @property
    def vram_used_mb(self) -> int:
        return sum(self.vram_used_mb_by_gpu.values())

    def _by(self, name: str) -> Counter[str]:
        counted: Counter[str] = Counter()
        for kind, count in self.by_kind.items():
            counted[getattr(kind, name)] += count
        return counted


def read(connection: sa.Connection) -> Stats:
    took_s = connection.scalar(_MEAN_OF_THE_NEWEST)
    return Stats(by_kind(connection), vram_used_mb(connection), float(took_s or 0))


def by_kind(connection: sa.Connection) -> dict[Kind, int]:
    return {Kind(status, of, category): int(count) for status, of, category, count in connection.execute(_BY_KIND)}


def vram_used_mb(connection: sa.Connection) -> dict[int | None, int]:
    """What running jobs reserve, by GPU; None: of jobs that say of none."""
    return {gpu: int(declared) for gpu, declared in connection.execute(_VRAM_BY_GPU)}


@dataclass(frozen=True)
class Waits:
    oldest_s: float | None
    """Since when the oldest job waits that could start; None: there is none."""
    reasons: Sequence[tuple[str, int]]
    """What the head of the line waits for, and how many jobs each; the commonest first."""


def waits(connection: sa.Connection) -> Waits:
    oldest_s = connection.scalar(_OLDEST_WAIT)
    found_s = None if oldest_s is None else round(max(0.0, float(oldest_s)), 3)
    reasons = [(reason, count) for reason, count in connection.execute(_REASONS)]
    return Waits(found_s if found_s is None or found_s < 1e12 else None, reasons)


# Statements that are always the same are built once: to build one takes longer than to run it.


def _mean_of_the_newest() -> sa.Select[float]:
    newest = (
        sa.select((jobs.c.completed_at - jobs.c.started_at).label("took"))
        .where(status_in([JobStatus.COMPLETED]), jobs.c.started_at.is_not(None))
        .order_by(jobs.c.created_at.desc())
        .limit(1000)
        .subquery()
    )
    return sa.select(sa.func.extract("epoch", sa.func.avg(newest.c.took)))


def _by_kind() -> sa.Select[str, str, str, int]:
    kind, total = job_tallies.c, sa.func.sum(job_tallies.c.jobs)
    names = (kind.status, kind.type, kind.resource_category)
    return sa.select(*names, total).group_by(*names).having(total != 0)


def _vram_by_gpu() -> sa.Select[int | None, int]:
    gpu, declared = gpu_of_first_unit(jobs.c.vram_units), sa.func.coalesce(sa.func.sum(jobs.c.vram_required), 0)
    return sa.select(gpu, declared).where(status_in([JobStatus.RUNNING])).group_by(gpu)


def oldest_ready() -> sa.ScalarSelect[datetime]:
    """When the eldest ready job came. From the head of each category's line at each priority: looked for by age alone,
    all that have ended would be passed over first."""
    ranks = range(PRIORITY_HIGHEST, PRIORITY_LOWEST + 1)
    lines = sa.values(sa.column("category", sa.Text), sa.column("rank", sa.Integer), name="lines").data(
        [(category.value, rank) for category in ResourceCategory for rank in ranks]
    )
    head = (
        sa.select(jobs.c.created_at)
        .where(is_ready(), jobs.c.resource_category == lines.c.category, jobs.c.priority == lines.c.rank)
        .order_by(jobs.c.created_at)
        .limit(1)
        .lateral("head")
    )
    return sa.select(sa.func.min(head.c.created_at)).select_from(lines.join(head, sa.true())).scalar_subquery()


def _reasons() -> sa.Select[str, int]:
    count = sa.func.count()
    return (
        sa.select(jobs.c.waiting_reason, count)
        .where(status_in([JobStatus.PENDING]), jobs.c.queue_position.is_not(None), jobs.c.waiting_reason.is_not(None))
        .group_by(jobs.c.waiting_reason)
        .order_by(count.desc(), jobs.c.waiting_reason)
    )


_MEAN_OF_THE_NEWEST = _mean_of_the_newest()
_BY_KIND = _by_kind()
_VRAM_BY_GPU = _vram_by_gpu()
_OLDEST_WAIT = sa.select(sa.func.extract("epoch", utcnow() - oldest_ready()))
_REASONS = _reasons()
