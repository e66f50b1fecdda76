"""Pure: which ready jobs may start now and on which GPU, and for each that may not, what it waits for.

Slots are counted per category. VRAM is counted in whole units of 1000 MB, because Dagster's tag limits count runs and
know no weights: a job holds ceil(vram / 1000) numbered units of one GPU, each of which one run at a time may have.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import assert_never
from uuid import UUID

from jobqueue_bridge.devices import VRAM_UNIT_MB, gpu_of, units_of
from jobqueue_bridge.vocabulary import JobType, ResourceCategory


@dataclass(frozen=True)
class ReadyJob:
    """A pending job whose time has come. Callers give them in order: priority, created_at, id."""

    id: UUID
    type: JobType
    category: ResourceCategory
    vram_mb: int
    waited_s: float
    starts_at_once: bool = False
    """Its run waits already: it takes no place beyond the slots, which are for runs that have yet to start."""


@dataclass(frozen=True)
class ActiveJob:
    """A job that holds a slot: queued, running, or paused in mid-run."""

    id: UUID
    type: str
    category: ResourceCategory
    vram_mb: int
    units: tuple[int, ...]
    run_id: str | None = None

    @property
    def gpu(self) -> int | None:
        """None: it needs none, or another program set it going and did not say which."""
        return gpu_of(self.units[0]) if self.units else None


@dataclass(frozen=True)
class Gpu:
    """A GPU of which `units` may be given out, and its number."""

    number: int
    units: int
    free_vram_mb: int | None = None
    """Measured free memory less what active jobs have reserved and not taken yet; None: it cannot be asked."""


@dataclass(frozen=True)
class Capacity:
    slots: Mapping[ResourceCategory, int]
    gpus: Sequence[Gpu]
    """At least one. What is held on a GPU that nobody named counts on the first: programs take that one by default."""
    starvation_s: float
    gpu_slots: Mapping[ResourceCategory, int] = field(default_factory=dict)
    """How many jobs of a category may be on one GPU; a category that is not named has no such limit."""
    look_ahead: int = 0
    """How many jobs without VRAM may be queued beyond the slots of their category, to hide the start-up time; never
    past one of their category that waits for a slot."""
    closed: Mapping[ResourceCategory, str] = field(default_factory=dict)
    """The categories in which nothing starts now, each with the reason that its jobs are told."""


@dataclass(frozen=True)
class Admitted:
    id: UUID
    units: tuple[int, ...]

    @property
    def gpu(self) -> int | None:
        return gpu_of(self.units[0]) if self.units else None


@dataclass(frozen=True)
class Waiting:
    id: UUID
    reason: str


@dataclass(frozen=True)
class Plan:
    admitted: tuple[Admitted, ...]
    waiting: tuple[Waiting, ...]


class _Lack(Enum):
    """Why a job cannot have its VRAM on a GPU."""

    SIZE = auto()
    KEPT = auto()
    SLOT = auto()
    UNITS = auto()
    MEMORY = auto()


@dataclass
class _Room:
    """What is left of one GPU, and who has the rest."""

    gpu: Gpu
    free_units: list[int]
    free_vram_mb: int | None
    holders: list[ActiveJob]

    @property
    def total_mb(self) -> int:
        return self.gpu.units * VRAM_UNIT_MB

    @property
    def free_mb(self) -> int:
        """Of the budget."""
        return len(self.free_units) * VRAM_UNIT_MB

    def tightness(self) -> tuple[int, int]:
        """For the best fit: the least room first."""
        measured = self.free_mb if self.free_vram_mb is None else self.free_vram_mb
        return min(self.free_mb, measured), self.gpu.number

    def fits_alone(self, job: ReadyJob) -> bool:
        """Whether it could have its VRAM here beside no other job of the queue."""
        if units_needed(job.vram_mb) > self.gpu.units:
            return False
        reserved_mb = sum(holder.vram_mb for holder in self.holders)
        return self.free_vram_mb is None or job.vram_mb <= self.free_vram_mb + reserved_mb

    def take(self, job: ReadyJob) -> tuple[int, ...]:
        count = units_needed(job.vram_mb)
        units = tuple(self.free_units[:count])
        del self.free_units[:count]
        if self.free_vram_mb is not None:
            self.free_vram_mb -= job.vram_mb
        self.holders.append(ActiveJob(job.id, job.type, job.category, job.vram_mb, units))
        return units


@dataclass
class _Ledger:
    """What is taken so far, while the ready jobs are weighed one after another."""

    capacity: Capacity
    holders: list[ActiveJob]
    rooms: list[_Room]
    starving: ReadyJob | None = None
    kept: _Room | None = None
    """The GPU that is kept for the job that starves."""
    short_of_slots: set[ResourceCategory] = field(default_factory=set)
    admitted: list[Admitted] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)

    def in_category(self, category: ResourceCategory) -> list[ActiveJob]:
        return [job for job in self.holders if job.category == category]

    def take(self, job: ReadyJob) -> None:
        room = _best_fit(job, self) if units_needed(job.vram_mb) else None
        units = room.take(job) if room else ()
        self.holders.append(ActiveJob(job.id, job.type, job.category, job.vram_mb, units))
        self.admitted.append(Admitted(job.id, units))

    def keep_a_gpu_for(self, job: ReadyJob) -> None:
        """For a job that has a slot and lacks VRAM. Only such a one can be overtaken for ever: slots go in order.

        The GPU is the one that is nearest to having room. While it is kept its room only grows, so that another takes
        its place only by having more: the job's turn comes, also where what runs on one GPU goes on for very long.

        A job that would lack VRAM even beside no other job of the queue starves nobody: waiting in line brings nothing
        back that a program outside took, or that the budget never had.
        """
        possible = [room for room in self.rooms if room.fits_alone(job)]
        self.kept = max(possible, key=lambda room: (len(room.free_units), -room.gpu.number), default=None)
        self.starving = job if self.kept else None


def units_needed(vram_mb: int) -> int:
    return -(-max(vram_mb, 0) // VRAM_UNIT_MB)


def admit(ready: Iterable[ReadyJob], active: Sequence[ActiveJob], capacity: Capacity) -> Plan:
    """Weigh every ready job in its order: a blocked job never blocks another category, unless it starves. Of the GPUs
    on which a job fits it gets the one with the least room.

    Once the best-ranked job that lacks VRAM has waited longer than `starvation_s`, a GPU is kept for it: no
    lower-ranked job may take VRAM there before it does, nor the slot that it needs.
    """
    ledger = _Ledger(capacity, list(active), [_room(gpu, active, capacity) for gpu in capacity.gpus])
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
        elif ledger.starving is None and job.waited_s > capacity.starvation_s:
            ledger.keep_a_gpu_for(job)
    return Plan(tuple(ledger.admitted), tuple(ledger.waiting))


def _room(gpu: Gpu, active: Sequence[ActiveJob], capacity: Capacity) -> _Room:
    """Unnumbered holdings count, too: of a job that another program started, or from before the budget shrank."""
    first = capacity.gpus[0].number
    holders = [job for job in active if _units_held(job) and (first if job.gpu is None else job.gpu) == gpu.number]
    taken = {unit for job in holders for unit in job.units}
    untaken = [unit for unit in units_of(gpu.number, gpu.units) if unit not in taken]
    free = untaken[: max(gpu.units - sum(map(_units_held, holders)), 0)]
    return _Room(gpu, free, gpu.free_vram_mb, holders)


def _units_held(job: ActiveJob) -> int:
    return max(units_needed(job.vram_mb), len(job.units))


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
    allowed = ledger.capacity.slots[job.category] and not units_needed(job.vram_mb) and not job.starts_at_once
    return ledger.capacity.look_ahead if allowed and job.category not in ledger.short_of_slots else 0


def _best_fit(job: ReadyJob, ledger: _Ledger) -> _Room | None:
    fitting = [room for room in ledger.rooms if _lack(job, room, ledger) is None]
    return min(fitting, key=_Room.tightness, default=None)


def _lack(job: ReadyJob, room: _Room, ledger: _Ledger) -> _Lack | None:
    needed = units_needed(job.vram_mb)
    if needed > room.gpu.units:
        return _Lack.SIZE
    if room is ledger.kept:
        return _Lack.KEPT
    slots = ledger.capacity.gpu_slots.get(job.category)
    if slots is not None and len(_in_category(room, job.category)) >= slots:
        return _Lack.SLOT
    if needed > len(room.free_units):
        return _Lack.UNITS
    if room.free_vram_mb is not None and job.vram_mb > room.free_vram_mb:
        return _Lack.MEMORY
    return None


def _in_category(room: _Room, category: ResourceCategory) -> list[ActiveJob]:
    return [job for job in room.holders if job.category == category]


def _vram_blocker(job: ReadyJob, ledger: _Ledger) -> str | None:
    if not units_needed(job.vram_mb) or _best_fit(job, ledger):
        return None
    lacks = [(room, lack) for room in ledger.rooms if (lack := _lack(job, room, ledger))]
    if len(lacks) == 1:
        return _of_the_one(job, *lacks[0], ledger)
    if all(lack == _Lack.SIZE for _, lack in lacks):
        largest_mb = max(room.total_mb for room, _ in lacks)
        return f"needs {job.vram_mb} MB on one GPU, more than the {largest_mb} MB of the largest"
    return f"needs {job.vram_mb} MB on one GPU; " + "; ".join(_of_many(job, room, lack, ledger) for room, lack in lacks)


def _of_the_one(job: ReadyJob, room: _Room, lack: _Lack, ledger: _Ledger) -> str:
    match lack:
        case _Lack.SIZE:
            return f"needs {job.vram_mb} MB, more than the whole budget of {room.total_mb} MB"
        case _Lack.KEPT:
            assert ledger.starving is not None
            return _first_in_line(ledger.starving)
        case _Lack.SLOT:
            return _slots_taken(job, room, ledger)
        case _Lack.UNITS:
            held = f": held by {_named(room.holders)}" if room.holders else ""
            return f"needs {job.vram_mb} MB, {room.free_mb} of {room.total_mb} free{held}"
        case _Lack.MEMORY:
            return f"needs {job.vram_mb} MB, the GPU has {_measured(room)} MB free beside what is reserved"
        case _:
            assert_never(lack)


def _of_many(job: ReadyJob, room: _Room, lack: _Lack, ledger: _Ledger) -> str:
    named = f"GPU {room.gpu.number}"
    match lack:
        case _Lack.SIZE:
            return f"{named} has {room.total_mb} in all"
        case _Lack.KEPT:
            assert ledger.starving is not None
            return f"{named} is kept: {_first_in_line(ledger.starving)}"
        case _Lack.SLOT:
            return f"{named}: {_slots_taken(job, room, ledger)}"
        case _Lack.UNITS:
            held = f", held by {_named(room.holders, 2)}" if room.holders else ""
            return f"{named} has {room.free_mb} of {room.total_mb} free{held}"
        case _Lack.MEMORY:
            return f"{named} has {_measured(room)} MB free beside what is reserved"
        case _:
            assert_never(lack)


def _slots_taken(job: ReadyJob, room: _Room, ledger: _Ledger) -> str:
    slots = ledger.capacity.gpu_slots[job.category]
    return f"all {slots} {job.category} slots are taken: {_named(_in_category(room, job.category)[:slots])}"


def _measured(room: _Room) -> int:
    return max(room.free_vram_mb or 0, 0)


def _first_in_line(ahead: ReadyJob) -> str:
    return (
        f"{ahead.type} {str(ahead.id)[:8]} is first in line for VRAM: "
        f"it needs {ahead.vram_mb} MB and has waited {ahead.waited_s:.0f} s"
    )


def _named(holders: Sequence[ActiveJob], most: int = 5) -> str:
    named = ", ".join(f"{holder.type} {str(holder.id)[:8]}" for holder in holders[:most])
    return named + (f" and {len(holders) - most} more" if len(holders) > most else "")
