"""Pure: what a drain may still admit, when its end comes, and why it is over.

A drain is one `jobs start` at work. Several may be in force at a time; each has its own limits and counts its own jobs,
as several workers would.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Protocol
from uuid import UUID

from jobqueue_bridge.admission import Admitted, Plan, ReadyJob, Waiting
from jobqueue_bridge.wall_clock import instants, shown

STUCK_AFTER_S = 60.0
"""How long nothing may start or run before a drain without a limit on its time gives up."""


class HasId(Protocol):
    @property
    def id(self) -> UUID: ...


@dataclass(frozen=True)
class Drain:
    """A drain in force, as the dispatcher sees it."""

    id: UUID
    name: str
    limited: bool
    """Whether it bounds what is admitted; one that only watches does not."""
    over: bool
    """Told to stop, or past its end: it admits nothing more."""
    max_jobs: int | None = None
    jobs: frozenset[UUID] = frozenset()
    """Ready jobs that count for it already: one that comes back, for a retry for instance, counts once."""
    counted: int = 0

    @property
    def room(self) -> float:
        """How many more jobs it may admit."""
        if self.over:
            return 0
        return float("inf") if self.max_jobs is None else max(self.max_jobs - self.counted, 0)

    def why_full(self) -> str:
        if self.over:
            return f"{self.name} admits no more jobs: it is ending"
        return f"{self.name} admits no more jobs: its limit of {self.max_jobs} is reached"


def may_be_weighed(ready: Iterable[ReadyJob], drains: Sequence[Drain]) -> tuple[list[ReadyJob], list[Waiting]]:
    """Ready jobs that some drain has room for, and those that wait for the end of the drains."""
    if any(drain.room for drain in drains) or not _bounding(drains):
        return list(ready), []
    kept = {job for drain in drains if not drain.over for job in drain.jobs}
    reason = _bounding(drains)[0].why_full()
    weighed, waiting = [], []
    for job in ready:
        if job.id in kept:
            weighed.append(job)
        else:
            waiting.append(Waiting(job.id, reason))
    return weighed, waiting


def share_out(plan: Plan, drains: Sequence[Drain]) -> tuple[Plan, dict[UUID, UUID]]:
    """Cut a plan down to what the drains have room for; and which drain each admitted job counts for."""
    room = {drain.id: drain.room for drain in drains}
    holder = {job: drain.id for drain in drains if not drain.over for job in drain.jobs}
    shares: dict[UUID, UUID] = {}
    admitted: list[Admitted] = []
    waiting: list[Waiting] = []
    for entry in plan.admitted:
        drain = holder.get(entry.id) or next((drain.id for drain in drains if room[drain.id]), None)
        if drain is None and _bounding(drains):
            waiting.append(Waiting(entry.id, _bounding(drains)[0].why_full()))
            continue
        admitted.append(entry)
        if drain is not None:
            shares[entry.id] = drain
            room[drain] -= entry.id not in holder
    return Plan(tuple(admitted), (*waiting, *plan.waiting)), shares


def in_line(ready: Iterable[HasId], waiting: Iterable[Waiting]) -> list[Waiting]:
    """In the order of the ready jobs, which is that of the queue."""
    by_id = {entry.id: entry for entry in waiting}
    return [by_id[job.id] for job in ready if job.id in by_id]


def _bounding(drains: Iterable[Drain]) -> list[Drain]:
    return [drain for drain in drains if drain.limited]


@dataclass(frozen=True)
class Look:
    """What a drain sees of the queue at one moment."""

    ready: bool
    """Some pending job could start now, were there room."""
    active: int
    """Jobs of the whole queue that are queued or running."""
    own_active: int
    """Those of them that count for this drain."""
    counted: int
    past_end: bool
    idle_s: float
    """For how long nothing has been active."""


def why_over(look: Look, *, max_jobs: int | None, timed: bool) -> str | None:
    """The limit that is reached or the reason to end, by name; None: it goes on. What runs may still finish."""
    if look.past_end:
        return "time"
    if max_jobs is not None and look.counted >= max_jobs:
        return "max_files"
    if not look.ready and not (look.active if max_jobs is None else look.own_active):
        return "empty"
    if not look.active and not timed and look.idle_s > STUCK_AFTER_S:
        return "stuck"
    return None


def next_wall_time(wanted: time, after: datetime, zone: tzinfo) -> datetime:
    """The first instant after `after` at which a clock on the wall comes to `wanted`.

    Where clocks go back and show it twice, both count; where they jump over it, it is the instant of the jump.
    """
    today = shown(after, zone).date()
    # a whole day may be missing: Samoa went without 30 December 2011
    days = (today + timedelta(days=days) for days in range(3))
    return min(instant for day in days for instant in instants(day, wanted, zone) if instant > after)
