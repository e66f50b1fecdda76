"""Pure: which ready jobs may start now, and for each that may not, what it waits for.

Slots are counted per category. VRAM is counted in whole units of 1000 MB, because Dagster's tag limits count runs and
know no weights: a job holds ceil(vram / 1000) numbered units, each of which one run at a time may have.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from jobqueue_bridge.settings import VRAM_UNIT_MB
from jobqueue_bridge.vocabulary import JobType, ResourceCategory


@dataclass(frozen=True)
class ReadyJob:
    """A pending job whose time has come. Callers give them in order: priority, created_at, id."""

    id: UUID
    type: JobType
    category: ResourceCategory
    vram_mb: int
    waited_s: float


@dataclass(frozen=True)
class ActiveJob:
    """A job that holds a slot: queued, running, or paused in mid-run."""

    id: UUID
    type: str
    category: ResourceCategory
    vram_mb: int
    units: tuple[int, ...]
    run_id: str | None = None


@dataclass(frozen=True)
class Capacity:
    slots: Mapping[ResourceCategory, int]
    vram_units: int
    starvation_s: float
    free_vram_mb: int | None = None
    """Measured free memory less what active jobs have reserved and not taken yet; None: no GPU to ask."""
    look_ahead: int = 0
    """How many jobs without VRAM may be queued beyond the slots of their category, to hide the start-up time; never
    past one of their category that waits for a slot."""
    closed: Mapping[ResourceCategory, str] = field(default_factory=dict)
    """The categories in which nothing starts now, each with the reason that its jobs are told."""


@dataclass(frozen=True)
class Admitted:
    id: UUID
    units: tuple[int, ...]


@dataclass(frozen=True)
class Waiting:
    id: UUID
    reason: str


@dataclass(frozen=True)
class Plan:
    admitted: tuple[Admitted, ...]
    waiting: tuple[Waiting, ...]


@dataclass
class _Ledger:
    """What is taken so far, while the ready jobs are weighed one after another."""

    capacity: Capacity
    holders: list[ActiveJob]
    free_units: list[int]
    free_vram_mb: int | None
    starving: ReadyJob | None = None
    short_of_slots: set[ResourceCategory] = field(default_factory=set)
    admitted: list[Admitted] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)

    def in_category(self, category: ResourceCategory) -> list[ActiveJob]:
        return [job for job in self.holders if job.category == category]

    def on_the_gpu(self) -> list[ActiveJob]:
        return [job for job in self.holders if _units_held(job)]

    def take(self, job: ReadyJob) -> None:
        count = units_needed(job.vram_mb)
        units = tuple(self.free_units[:count])
        del self.free_units[:count]
        if self.free_vram_mb is not None:
            self.free_vram_mb -= job.vram_mb
        self.holders.append(ActiveJob(job.id, job.type, job.category, job.vram_mb, units))
        self.admitted.append(Admitted(job.id, units))


def units_needed(vram_mb: int) -> int:
    return -(-max(vram_mb, 0) // VRAM_UNIT_MB)


def admit(ready: Iterable[ReadyJob], active: Sequence[ActiveJob], capacity: Capacity) -> Plan:
    """Weigh every ready job in its order: a blocked job never blocks another category, unless it starves.

    Once the best-ranked job that lacks VRAM has waited longer than `starvation_s`, no lower-ranked job may take VRAM
    before it does, nor the slot that it needs.
    """
    ledger = _Ledger(capacity, list(active), _free_units(active, capacity), capacity.free_vram_mb)
    for job in ready:
        reason = _blocker(job, ledger)
        if reason is None:
            ledger.take(job)
            continue
        ledger.waiting.append(Waiting(job.id, reason))
        if job.category in capacity.closed:
            continue
        if _slot_blocker(job, ledger):
            ledger.short_of_slots.add(job.category)
        elif _starves(job, ledger):
            ledger.starving = job
    return Plan(tuple(ledger.admitted), tuple(ledger.waiting))


def _free_units(active: Sequence[ActiveJob], capacity: Capacity) -> list[int]:
    """Unnumbered holdings count, too: of a job that another program started, or from before the budget shrank."""
    taken = {unit for job in active for unit in job.units}
    untaken = [unit for unit in range(capacity.vram_units) if unit not in taken]
    return untaken[: max(capacity.vram_units - sum(map(_units_held, active)), 0)]


def _units_held(job: ActiveJob) -> int:
    return max(units_needed(job.vram_mb), len(job.units))


def _starves(job: ReadyJob, ledger: _Ledger) -> bool:
    """Of a job that has a slot and lacks VRAM. Only such a one can be overtaken for ever: slots go in order.

    One that would lack it even beside no other job of the queue starves nobody: waiting in line brings nothing back
    that a program outside took, or that the budget never had.
    """
    return ledger.starving is None and job.waited_s > ledger.capacity.starvation_s and _fits_alone(job, ledger)


def _fits_alone(job: ReadyJob, ledger: _Ledger) -> bool:
    if units_needed(job.vram_mb) > ledger.capacity.vram_units:
        return False
    reserved_mb = sum(holder.vram_mb for holder in ledger.on_the_gpu())
    return ledger.free_vram_mb is None or job.vram_mb <= ledger.free_vram_mb + reserved_mb


def _blocker(job: ReadyJob, ledger: _Ledger) -> str | None:
    return ledger.capacity.closed.get(job.category) or _slot_blocker(job, ledger) or _vram_blocker(job, ledger)


def _slot_blocker(job: ReadyJob, ledger: _Ledger) -> str | None:
    slots = ledger.capacity.slots[job.category]
    holders = ledger.in_category(job.category)
    ahead = ledger.starving
    kept = 1 if ahead is not None and ahead.category == job.category else 0
    if len(holders) + kept < slots + (0 if kept else _look_ahead(job, ledger)):
        return None
    if not slots:
        return f"{job.category} has no slots: its setting is 0"
    if ahead is not None and len(holders) < slots:
        return _first_in_line(ahead)
    return f"all {slots} {job.category} slots are taken: {_named(holders[:slots])}"


def _look_ahead(job: ReadyJob, ledger: _Ledger) -> int:
    """Beyond the slots nobody passes one who waits for a slot: a stream of such jobs would keep it out for ever."""
    allowed = ledger.capacity.slots[job.category] and not units_needed(job.vram_mb)
    return ledger.capacity.look_ahead if allowed and job.category not in ledger.short_of_slots else 0


def _vram_blocker(job: ReadyJob, ledger: _Ledger) -> str | None:
    needed = units_needed(job.vram_mb)
    if not needed:
        return None
    total = ledger.capacity.vram_units * VRAM_UNIT_MB
    if needed > ledger.capacity.vram_units:
        return f"needs {job.vram_mb} MB, more than the whole budget of {total} MB"
    if ledger.starving is not None:
        return _first_in_line(ledger.starving)
    free = len(ledger.free_units) * VRAM_UNIT_MB
    holders = ledger.on_the_gpu()
    if needed > len(ledger.free_units):
        held = f": held by {_named(holders)}" if holders else ""
        return f"needs {job.vram_mb} MB, {free} of {total} free{held}"
    if ledger.free_vram_mb is not None and job.vram_mb > ledger.free_vram_mb:
        return f"needs {job.vram_mb} MB, the GPU has {max(ledger.free_vram_mb, 0)} MB free beside what is reserved"
    return None


def _first_in_line(ahead: ReadyJob) -> str:
    return (
        f"{ahead.type} {str(ahead.id)[:8]} is first in line for VRAM: "
        f"it needs {ahead.vram_mb} MB and has waited {ahead.waited_s:.0f} s"
    )


def _named(holders: Sequence[ActiveJob], most: int = 5) -> str:
    named = ", ".join(f"{holder.type} {str(holder.id)[:8]}" for holder in holders[:most])
    return named + (f" and {len(holders) - most} more" if len(holders) > most else "")
