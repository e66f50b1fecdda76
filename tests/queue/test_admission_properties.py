"""What admission promises whatever the mix of jobs, slots, budget, live memory and look-ahead.

`HYPOTHESIS_PROFILE=thorough` tries ten thousand mixes instead of a hundred.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from jobqueue_bridge.admission import ActiveJob, Capacity, Plan, ReadyJob, admit, units_needed
from jobqueue_bridge.vocabulary import ResourceCategory
from tests.queue.weighed import AI, CAPACITY, ENCODE, active, ready

CLOSED = "closed until tomorrow"

Holder = ActiveJob | ReadyJob


VRAM = st.sampled_from([0, 0, 1, 999, 1000, 2000, 4000, 4500, 6000, 8000, 12000, 16000, 20000])
CATEGORIES = st.sampled_from(list(ResourceCategory))


@st.composite
def ready_jobs(draw: st.DrawFn) -> list[ReadyJob]:
    waits = st.sampled_from([0.0, 599.0, 601.0, 5000.0])
    drawn = draw(st.lists(st.tuples(CATEGORIES, VRAM, waits), max_size=12))
    return [ready(number, *values) for number, values in enumerate(drawn)]


@st.composite
def active_jobs(draw: st.DrawFn) -> list[ActiveJob]:
    """Holdings that never collide; some of them unnumbered, as an adopted row's are."""
    free = list(range(16))
    jobs = []
    for number, (category, vram_mb, numbered) in enumerate(
        draw(st.lists(st.tuples(CATEGORIES, VRAM, st.booleans()), max_size=6))
    ):
        count = units_needed(vram_mb)
        units = [free.pop(number % 2 - 1) for _ in range(count)] if numbered and count <= len(free) else []
        jobs.append(active(1000 + number, category, vram_mb, units))
    return jobs


@st.composite
def capacities(draw: st.DrawFn) -> Capacity:
    return Capacity(
        slots={category: draw(st.integers(0, 5)) for category in ResourceCategory},
        vram_units=draw(st.sampled_from([0, 8, 16, 16, 24])),
        starvation_s=600,
        free_vram_mb=draw(st.none() | st.integers(-1000, 24000)),
        look_ahead=draw(st.integers(0, 3)),
        closed=dict.fromkeys(draw(st.sets(CATEGORIES, max_size=1)), CLOSED),
    )


mix = given(queue=ready_jobs(), running=active_jobs(), capacity=capacities())


@dataclass(frozen=True)
class Moment:
    """One ready job at the moment when it was weighed: who was ahead of it, and who held what by then."""

    job: ReadyJob
    admitted: bool
    reason: str
    ahead: Sequence[ReadyJob]
    running: Sequence[ActiveJob]
    chosen: Sequence[ReadyJob]
    capacity: Capacity

    @property
    def in_category(self) -> list[Holder]:
        return [holder for holder in (*self.running, *self.chosen) if holder.category == self.job.category]

    @property
    def free_units(self) -> int:
        """Of the budget, after what is declared and what is numbered, whichever is more."""
        held = [max(units_needed(job.vram_mb), len(job.units)) for job in self.running]
        return max(self.capacity.vram_units - sum(held), 0) - sum(units_needed(job.vram_mb) for job in self.chosen)

    @property
    def free_mb(self) -> float:
        measured = self.capacity.free_vram_mb
        return float("inf") if measured is None else measured - sum(job.vram_mb for job in self.chosen)

    @property
    def slots(self) -> int:
        return self.capacity.slots[self.job.category]


def moments(queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity) -> Iterator[Moment]:
    plan = admit(queue, running, capacity)
    admitted = {entry.id for entry in plan.admitted}
    reasons = {entry.id: entry.reason for entry in plan.waiting}
    for at, job in enumerate(queue):
        ahead = queue[:at]
        chosen = [other for other in ahead if other.id in admitted]
        yield Moment(job, job.id in admitted, reasons.get(job.id, ""), ahead, running, chosen, capacity)


# What is handed out


@mix
def test_every_ready_job_is_admitted_or_waits_exactly_once_and_both_in_order(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    plan = admit(queue, running, capacity)
    started, waiting = [entry.id for entry in plan.admitted], [entry.id for entry in plan.waiting]
    assert Counter([*started, *waiting]) == Counter(job.id for job in queue)
    order = [job.id for job in queue]
    assert started == sorted(started, key=order.index)
    assert waiting == sorted(waiting, key=order.index)


@mix
def test_no_category_has_more_than_its_slots_and_the_look_ahead(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    for moment in moments(queue, running, capacity):
        if moment.admitted:
            beyond = capacity.look_ahead if moment.slots and not moment.job.vram_mb else 0
            assert len(moment.in_category) < moment.slots + beyond


@mix
def test_nothing_starts_in_a_category_that_is_closed(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    for moment in moments(queue, running, capacity):
        if moment.job.category in capacity.closed:
            assert (moment.admitted, moment.reason) == (False, CLOSED)


@mix
def test_units_never_collide_and_the_budget_always_holds(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    plan = admit(queue, running, capacity)
    needed = {job.id: units_needed(job.vram_mb) for job in queue}
    given_out = [unit for admitted in plan.admitted for unit in admitted.units]
    held = [unit for job in running for unit in job.units]
    assert all(len(admitted.units) == needed[admitted.id] for admitted in plan.admitted)
    assert len(set(given_out)) == len(given_out)
    assert not set(given_out) & set(held)
    assert set(given_out) <= set(range(capacity.vram_units))
    declared = sum(units_needed(job.vram_mb) for job in running)
    assert not given_out or declared + len(given_out) <= capacity.vram_units


@mix
def test_measured_memory_is_never_overdrawn(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    for moment in moments(queue, running, capacity):
        assert not moment.admitted or not moment.job.vram_mb or moment.job.vram_mb <= moment.free_mb


# What is not handed out


@mix
def test_a_job_waits_only_where_it_does_not_fit_or_another_waits_ahead_of_it(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    """Work-conserving: no slot and no memory is left idle that a ready job could have.

    The exceptions are a category that is closed, and the jobs behind one that starves: those with VRAM wait, and the
    last slot of its category is kept for it.
    """
    for moment in moments(queue, running, capacity):
        if moment.admitted or moment.job.category in capacity.closed:
            continue
        first = starving(moment)
        kept = 1 if first and first.category == moment.job.category else 0
        slot = len(moment.in_category) + kept < moment.slots
        units = units_needed(moment.job.vram_mb)
        memory = units <= moment.free_units and moment.job.vram_mb <= moment.free_mb and not first
        assert not (slot and (memory or not units)), (moment.job, moment.reason)


def starving(moment: Moment) -> ReadyJob | None:
    """The first job ahead that has waited too long, has a slot, lacks only VRAM, and would fit an empty GPU."""
    queue, found = list(moment.ahead), None
    for earlier in moments(queue, list(moment.running), moment.capacity):
        job = earlier.job
        overdue = job.waited_s > moment.capacity.starvation_s and not earlier.admitted
        reserved_mb = sum(holder.vram_mb for holder in (*earlier.running, *earlier.chosen))
        alone = units_needed(job.vram_mb) <= moment.capacity.vram_units and job.vram_mb <= earlier.free_mb + reserved_mb
        slot = len(earlier.in_category) < earlier.slots and job.category not in moment.capacity.closed
        if not found and overdue and job.vram_mb and alone and slot:
            found = job
    return found


@mix
def test_no_job_is_passed_over_by_a_later_one_like_it(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    admitted = {entry.id for entry in admit(queue, running, capacity).admitted}
    for earlier, later in itertools.combinations(queue, 2):
        if (earlier.category, earlier.vram_mb) == (later.category, later.vram_mb):
            assert earlier.id in admitted or later.id not in admitted


@mix
def test_what_stands_behind_a_job_never_changes_what_becomes_of_it(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    whole = admit(queue, running, capacity)
    for end in range(len(queue)):
        part = admit(queue[:end], running, capacity)
        assert whole.admitted[: len(part.admitted)] == part.admitted
        assert whole.waiting[: len(part.waiting)] == part.waiting


@mix
@example(queue=[ready(1, ENCODE, 12000, 601)], running=[active(1000, AI, 8000)], capacity=CAPACITY)
def test_asking_again_after_admission_admits_nobody_new(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    plan = admit(queue, running, capacity)
    units = {admitted.id: admitted.units for admitted in plan.admitted}
    chosen = [job for job in queue if job.id in units]
    now = [*running, *(ActiveJob(job.id, job.type, job.category, job.vram_mb, units[job.id]) for job in chosen)]
    if capacity.free_vram_mb is not None:
        capacity = replace(capacity, free_vram_mb=capacity.free_vram_mb - sum(job.vram_mb for job in chosen))
    assert not admit([job for job in queue if job.id not in units], now, capacity).admitted


# What those are told that wait


@mix
def test_every_reason_names_a_true_blocker(queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity) -> None:
    for moment in moments(queue, running, capacity):
        if not moment.admitted:
            assert_true(moment)


def assert_true(moment: Moment) -> None:
    text, job, capacity = moment.reason, moment.job, moment.capacity
    named = re.findall(r"\b[0-9a-f]{8}\b", text)
    total_mb = capacity.vram_units * 1000
    if text == CLOSED:
        assert job.category in capacity.closed
    elif "slots are taken" in text:
        assert text.startswith(f"all {moment.slots} {job.category} slots are taken: ")
        assert len(moment.in_category) >= moment.slots
        assert named == [short(holder) for holder in moment.in_category[: moment.slots]]
    elif "no slots" in text:
        assert moment.slots == 0
    elif "first in line" in text:
        first = starving(moment)
        assert first is not None
        assert named == [short(first)]
        assert f"it needs {first.vram_mb} MB and has waited {first.waited_s:.0f} s" in text
    elif "whole budget" in text:
        assert text == f"needs {job.vram_mb} MB, more than the whole budget of {total_mb} MB"
        assert units_needed(job.vram_mb) > capacity.vram_units
    elif "the GPU has" in text:
        assert text == f"needs {job.vram_mb} MB, the GPU has {max(moment.free_mb, 0)} MB free beside what is reserved"
        assert job.vram_mb > moment.free_mb
    else:
        free_mb = moment.free_units * 1000
        assert text.startswith(f"needs {job.vram_mb} MB, {free_mb} of {total_mb} free")
        assert units_needed(job.vram_mb) > moment.free_units
        on_the_gpu = [short(holder) for holder in (*moment.running, *moment.chosen) if holder.vram_mb]
        assert named == on_the_gpu[:5]
        assert ("and" in text) == (len(on_the_gpu) > 5)


def short(holder: Holder) -> str:
    return str(holder.id)[:8]


# Nobody starves

LONGEST = 4  # rounds that a job runs at most
OVERDUE = 3  # rounds after which a job that waits is starving


@dataclass
class Line:
    """The queue over many rounds: in each, jobs end and lower-ranked ones arrive, as an adversary likes."""

    waiting: list[ReadyJob]
    capacity: Capacity
    gpu_mb: int | None
    running: dict[ActiveJob, int] = field(default_factory=dict)

    def round(self, arrivals: Sequence[ReadyJob], lengths: Iterator[int]) -> Plan:
        self.running = {job: left - 1 for job, left in self.running.items() if left > 1}
        self.waiting = [*(replace(job, waited_s=job.waited_s + 1) for job in self.waiting), *arrivals]
        plan = admit(self.waiting, list(self.running), self._measured())
        units = {entry.id: entry.units for entry in plan.admitted}
        for job in self.waiting:
            if job.id in units:
                self.running[ActiveJob(job.id, job.type, job.category, job.vram_mb, units[job.id])] = next(lengths)
        self.waiting = [job for job in self.waiting if job.id not in units]
        self._assert_within_limits()
        return plan

    def _measured(self) -> Capacity:
        if self.gpu_mb is None:
            return self.capacity
        return replace(self.capacity, free_vram_mb=self.gpu_mb - sum(job.vram_mb for job in self.running))

    def _assert_within_limits(self) -> None:
        held = [unit for job in self.running for unit in job.units]
        assert len(held) == len(set(held)) <= self.capacity.vram_units
        for category, slots in self.capacity.slots.items():
            holders = [job for job in self.running if job.category == category]
            assert len(holders) <= slots + self.capacity.look_ahead


@dataclass(frozen=True)
class Siege:
    """Jobs that have to get through, what ran before them, and the same few that arrive behind them in each round."""

    first: Sequence[tuple[ResourceCategory, int]]
    before: Sequence[tuple[ResourceCategory, int]]
    stream: Sequence[tuple[ResourceCategory, int]]
    lengths: Sequence[int]
    slots: int
    look_ahead: int
    gpu_mb: int | None


@st.composite
def sieges(draw: st.DrawFn) -> Siege:
    categories = st.sampled_from(draw(st.lists(CATEGORIES, min_size=1, max_size=2)))
    small = st.tuples(categories, st.sampled_from([0, 1000, 4000, 6000]))
    return Siege(
        first=draw(st.lists(st.tuples(categories, st.sampled_from([0, 1000, 8000, 12000])), min_size=1, max_size=3)),
        before=draw(st.lists(small, max_size=6)),
        stream=draw(st.lists(small, min_size=1, max_size=4)),
        lengths=draw(st.lists(st.integers(1, LONGEST), min_size=1, max_size=4)),
        slots=draw(st.integers(1, 3)),
        look_ahead=draw(st.integers(0, 3)),
        gpu_mb=draw(st.sampled_from([None, 12000, 16000])),
    )


@given(siege=sieges())
@example(Siege([(ENCODE, 4000)], [(ENCODE, 0)], [(ENCODE, 0)], [2, 3], slots=1, look_ahead=2, gpu_mb=None))
@example(Siege([(AI, 12000)], [(ENCODE, 6000)], [(ENCODE, 6000)], [4, 3], slots=2, look_ahead=0, gpu_mb=None))
def test_every_job_starts_within_a_bounded_number_of_ends_whatever_arrives_behind_it(siege: Siege) -> None:
    """The job of rank n that fits the empty GPU starts at the latest when, since it was overdue, everything that ran
    has ended 2n times: once for its slot and once for its VRAM, and so for each of those ahead of it."""
    slots = dict.fromkeys(ResourceCategory, siege.slots)
    capacity = Capacity(slots, vram_units=16, starvation_s=OVERDUE, look_ahead=siege.look_ahead)
    first = [ready(number, *values) for number, values in enumerate(siege.first)]
    numbers, lengths = itertools.count(100), itertools.cycle(siege.lengths)
    line = Line([], capacity, siege.gpu_mb)
    line.round([ready(next(numbers), *values) for values in siege.before], lengths)
    line.waiting = []
    started: dict[UUID, int] = {}
    for number in range(OVERDUE + 2 * LONGEST * len(first) + 2):
        arrivals = [ready(next(numbers), *values) for values in siege.stream]
        plan = line.round([*first, *arrivals] if number == 0 else arrivals, lengths)
        started |= {entry.id: number for entry in plan.admitted}
        line.waiting = line.waiting[: len(first) + 12]
    for rank, job in enumerate(first, start=1):
        assert started.get(job.id, 10**6) <= OVERDUE + 1 + 2 * LONGEST * rank, (rank, job)
