"""What admission promises whatever the mix of jobs, slots, GPUs, budgets, live memory and look-ahead.

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

from jobqueue_bridge.admission import ActiveJob, Capacity, Gpu, Plan, ReadyJob, admit, units_needed
from jobqueue_bridge.devices import gpu_of, units_of
from jobqueue_bridge.vocabulary import ResourceCategory
from tests.queue.weighed import AI, CAPACITY, ENCODE, active, ready

CLOSED = "closed until tomorrow"

VRAM = st.sampled_from([0, 0, 1, 999, 1000, 2000, 4000, 4500, 6000, 8000, 12000, 16000, 20000])
CATEGORIES = st.sampled_from(list(ResourceCategory))


@st.composite
def ready_jobs(draw: st.DrawFn) -> list[ReadyJob]:
    waits = st.sampled_from([0.0, 599.0, 601.0, 5000.0])
    drawn = draw(st.lists(st.tuples(CATEGORIES, VRAM, waits), max_size=12))
    return [ready(number, *values) for number, values in enumerate(drawn)]


@st.composite
def active_jobs(draw: st.DrawFn) -> list[ActiveJob]:
    """Holdings that never collide, on GPUs that may not be there any more; some unnumbered, as an adopted row's are."""
    free = {gpu: list(units_of(gpu, 16)) for gpu in range(4)}
    jobs = []
    drawn = st.lists(st.tuples(CATEGORIES, VRAM, st.sampled_from([None, 0, 0, 1, 2, 3])), max_size=8)
    for number, (category, vram_mb, gpu) in enumerate(draw(drawn)):
        count = units_needed(vram_mb)
        numbered = gpu is not None and count <= len(free[gpu])
        units = [free[gpu].pop(number % 2 - 1) for _ in range(count)] if gpu is not None and numbered else []
        jobs.append(active(1000 + number, category, vram_mb, units))
    return jobs


@st.composite
def several_gpus(draw: st.DrawFn) -> tuple[Gpu, ...]:
    numbers = draw(st.sampled_from([(0,), (0,), (0, 1), (0, 1), (0, 1, 2), (2, 0), (1, 3)]))
    measured = st.none() | st.integers(-1000, 24000)
    return tuple(Gpu(number, draw(st.sampled_from([0, 8, 16, 16, 24])), draw(measured)) for number in numbers)


@st.composite
def capacities(draw: st.DrawFn) -> Capacity:
    of_each = {category: draw(st.integers(0, 5)) for category in ResourceCategory}
    gpus, by_gpu = draw(several_gpus()), draw(st.sampled_from([(), (ENCODE, AI), (ENCODE, AI)]))
    return Capacity(
        slots={category: count * (len(gpus) if category in by_gpu else 1) for category, count in of_each.items()},
        gpus=gpus,
        gpu_slots={category: of_each[category] for category in by_gpu},
        starvation_s=600,
        look_ahead=draw(st.integers(0, 3)),
        closed=dict.fromkeys(draw(st.sets(CATEGORIES, max_size=1)), CLOSED),
    )


mix = given(queue=ready_jobs(), running=active_jobs(), capacity=capacities())


@dataclass(frozen=True)
class Moment:
    """One ready job at the moment when it was weighed: who was ahead of it, and who held what by then."""

    job: ReadyJob
    gpu: int | None
    admitted: bool
    reason: str
    ahead: Sequence[ReadyJob]
    running: Sequence[ActiveJob]
    chosen: Sequence[ActiveJob]
    capacity: Capacity

    @property
    def holders(self) -> list[ActiveJob]:
        return [*self.running, *self.chosen]

    @property
    def in_category(self) -> list[ActiveJob]:
        return [holder for holder in self.holders if holder.category == self.job.category]

    @property
    def slots(self) -> int:
        return self.capacity.slots[self.job.category]

    def on(self, gpu: Gpu) -> list[ActiveJob]:
        """Who has VRAM there; where nobody said which GPU it is, it is the first."""
        first = self.capacity.gpus[0].number
        with_vram = [job for job in self.holders if job.vram_mb or job.units]
        return [job for job in with_vram if (gpu_of(job.units[0]) if job.units else first) == gpu.number]

    def of_category_on(self, gpu: Gpu) -> list[ActiveJob]:
        return [job for job in self.on(gpu) if job.category == self.job.category]

    def free_units(self, gpu: Gpu) -> int:
        """Of its budget, after what is declared and what is numbered, whichever is more."""
        before = [job for job in self.on(gpu) if job in self.running]
        held = sum(max(units_needed(job.vram_mb), len(job.units)) for job in before)
        return max(gpu.units - held, 0) - sum(len(job.units) for job in self.chosen if job in self.on(gpu))

    def free_mb(self, gpu: Gpu) -> float:
        taken_mb = sum(job.vram_mb for job in self.chosen if job in self.on(gpu))
        return float("inf") if gpu.free_vram_mb is None else gpu.free_vram_mb - taken_mb

    def has_slot_on(self, gpu: Gpu) -> bool:
        limit = self.capacity.gpu_slots.get(self.job.category)
        return limit is None or len(self.of_category_on(gpu)) < limit

    def has_room_on(self, gpu: Gpu) -> bool:
        room = units_needed(self.job.vram_mb) <= self.free_units(gpu) and self.job.vram_mb <= self.free_mb(gpu)
        return room and self.has_slot_on(gpu)

    def would_fit_alone_on(self, gpu: Gpu) -> bool:
        reserved_mb = sum(job.vram_mb for job in self.on(gpu))
        return units_needed(self.job.vram_mb) <= gpu.units and self.job.vram_mb <= self.free_mb(gpu) + reserved_mb

    def open_gpus(self) -> list[Gpu]:
        """Those that are kept for nobody ahead."""
        first = starving(self)
        return [gpu for gpu in self.capacity.gpus if first is None or gpu is not first.kept]


def moments(queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity) -> Iterator[Moment]:
    plan = admit(queue, running, capacity)
    admitted = {entry.id: entry for entry in plan.admitted}
    reasons = {entry.id: entry.reason for entry in plan.waiting}
    for at, job in enumerate(queue):
        ahead = queue[:at]
        chosen = [begun(other, admitted[other.id].units) for other in ahead if other.id in admitted]
        gpu = admitted[job.id].gpu if job.id in admitted else None
        yield Moment(job, gpu, job.id in admitted, reasons.get(job.id, ""), ahead, running, chosen, capacity)


def begun(job: ReadyJob, units: tuple[int, ...]) -> ActiveJob:
    return ActiveJob(job.id, job.type, job.category, job.vram_mb, units)


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
def test_no_gpu_has_more_of_a_category_than_its_slots_there(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    for moment in moments(queue, running, capacity):
        for gpu in capacity.gpus:
            assert moment.gpu != gpu.number or moment.has_slot_on(gpu)


@mix
def test_units_never_collide_and_every_budget_always_holds(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    plan = admit(queue, running, capacity)
    needed = {job.id: units_needed(job.vram_mb) for job in queue}
    given_out = [unit for admitted in plan.admitted for unit in admitted.units]
    held = [unit for job in running for unit in job.units]
    assert all(len(admitted.units) == needed[admitted.id] for admitted in plan.admitted)
    assert len(set(given_out)) == len(given_out)
    assert not set(given_out) & set(held)
    assert set(given_out) <= {unit for gpu in capacity.gpus for unit in units_of(gpu.number, gpu.units)}
    for moment in moments(queue, running, capacity):
        for gpu in capacity.gpus:
            assert moment.gpu != gpu.number or units_needed(moment.job.vram_mb) <= moment.free_units(gpu)


@mix
def test_a_job_has_all_its_vram_on_one_gpu(queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity) -> None:
    for admitted in admit(queue, running, capacity).admitted:
        assert len({gpu_of(unit) for unit in admitted.units}) <= 1


@mix
def test_of_the_gpus_on_which_a_job_fits_it_gets_the_one_with_the_least_room(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    for moment in moments(queue, running, capacity):
        if moment.gpu is not None:
            rooms = {gpu.number: room_mb(moment, gpu) for gpu in moment.open_gpus() if moment.has_room_on(gpu)}
            assert rooms[moment.gpu] == min(rooms.values())


def room_mb(moment: Moment, gpu: Gpu) -> float:
    return min(moment.free_units(gpu) * 1000, moment.free_mb(gpu))


@mix
def test_measured_memory_is_never_overdrawn(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    for moment in moments(queue, running, capacity):
        for gpu in capacity.gpus:
            assert moment.gpu != gpu.number or moment.job.vram_mb <= moment.free_mb(gpu)


# What is not handed out


@mix
def test_a_job_waits_only_where_it_does_not_fit_or_another_waits_ahead_of_it(
    queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity
) -> None:
    """Work-conserving: no slot and no memory is left idle that a ready job could have.

    The exceptions are a category that is closed, and the jobs behind one that starves: a GPU is kept for it from those
    with VRAM, and the last slot of its category from all.
    """
    for moment in moments(queue, running, capacity):
        if moment.admitted or moment.job.category in capacity.closed:
            continue
        first = starving(moment)
        kept = 1 if first and first.job.category == moment.job.category else 0
        slot = len(moment.in_category) + kept < moment.slots
        memory = not units_needed(moment.job.vram_mb) or any(map(moment.has_room_on, moment.open_gpus()))
        assert not (slot and memory), (moment.job, moment.reason)


@dataclass(frozen=True)
class First:
    """The first in line, and the GPU that is kept for it."""

    job: ReadyJob
    kept: Gpu


def starving(moment: Moment) -> First | None:
    """The first job ahead that has waited too long, has a slot, lacks only VRAM, and would fit an empty GPU: of those
    the one that has most room already is kept for it."""
    for earlier in moments(list(moment.ahead), list(moment.running), moment.capacity):
        job, capacity = earlier.job, earlier.capacity
        overdue = job.waited_s > capacity.starvation_s and not earlier.admitted and job.vram_mb
        slot = len(earlier.in_category) < earlier.slots and job.category not in capacity.closed
        alone = [gpu for gpu in capacity.gpus if earlier.would_fit_alone_on(gpu)]
        if overdue and slot and alone:
            return First(job, max(alone, key=lambda gpu: (earlier.free_units(gpu), -gpu.number)))
    return None


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
    units = {admitted.id: admitted.units for admitted in admit(queue, running, capacity).admitted}
    chosen = [begun(job, units[job.id]) for job in queue if job.id in units]
    now = replace(capacity, gpus=[measured_again(gpu, chosen) for gpu in capacity.gpus])
    assert not admit([job for job in queue if job.id not in units], [*running, *chosen], now).admitted


def measured_again(gpu: Gpu, chosen: Sequence[ActiveJob]) -> Gpu:
    taken_mb = sum(job.vram_mb for job in chosen if job.gpu == gpu.number)
    return gpu if gpu.free_vram_mb is None else replace(gpu, free_vram_mb=gpu.free_vram_mb - taken_mb)


# What those are told that wait


@mix
def test_every_reason_names_a_true_blocker(queue: list[ReadyJob], running: list[ActiveJob], capacity: Capacity) -> None:
    for moment in moments(queue, running, capacity):
        if not moment.admitted:
            assert_true(moment)


def assert_true(moment: Moment) -> None:
    text, job, capacity = moment.reason, moment.job, moment.capacity
    if text == CLOSED:
        assert job.category in capacity.closed
    elif "no slots" in text:
        assert moment.slots == 0
    elif text.startswith("all "):
        assert_slots_taken(text, moment.slots, moment.in_category)
    elif text.count("GPU") and " on one GPU; " in text:
        clauses = re.split("; GPU ", text)
        assert clauses[0] == f"needs {job.vram_mb} MB on one GPU"
        assert len(clauses) == 1 + len(capacity.gpus)
        for gpu, clause in zip(capacity.gpus, clauses[1:], strict=True):
            assert_true_of_one(moment, gpu, clause.removeprefix(str(gpu.number)).removeprefix(":").strip())
    elif "of the largest" in text:
        largest = max(gpu.units for gpu in capacity.gpus)
        assert text == f"needs {job.vram_mb} MB on one GPU, more than the {largest * 1000} MB of the largest"
        assert units_needed(job.vram_mb) > largest
    elif text.startswith("needs "):
        (gpu,) = capacity.gpus
        assert_true_of_the_only(moment, gpu)
    else:
        assert_first_in_line(text, starving(moment))


def assert_true_of_one(moment: Moment, gpu: Gpu, text: str) -> None:
    first = starving(moment)
    if text.startswith("is kept: "):
        assert first is not None
        assert first.kept is gpu
        assert_first_in_line(text.removeprefix("is kept: "), first)
    elif "slots are taken" in text:
        assert_slots_taken(text, capacity_of(moment, gpu), moment.of_category_on(gpu))
    elif "in all" in text:
        assert text == f"has {gpu.units * 1000} in all"
        assert units_needed(moment.job.vram_mb) > gpu.units
    elif "beside what is reserved" in text:
        assert text == f"has {max(moment.free_mb(gpu), 0)} MB free beside what is reserved"
        assert moment.job.vram_mb > moment.free_mb(gpu)
    else:
        assert_units_taken(moment, gpu, text, f"has {moment.free_units(gpu) * 1000} of {gpu.units * 1000} free", 2)


def capacity_of(moment: Moment, gpu: Gpu) -> int:
    assert gpu in moment.capacity.gpus
    return moment.capacity.gpu_slots[moment.job.category]


def assert_true_of_the_only(moment: Moment, gpu: Gpu) -> None:
    text, job, total_mb = moment.reason, moment.job, gpu.units * 1000
    if "whole budget" in text:
        assert text == f"needs {job.vram_mb} MB, more than the whole budget of {total_mb} MB"
        assert units_needed(job.vram_mb) > gpu.units
    elif "the GPU has" in text:
        free_mb = max(moment.free_mb(gpu), 0)
        assert text == f"needs {job.vram_mb} MB, the GPU has {free_mb} MB free beside what is reserved"
        assert job.vram_mb > moment.free_mb(gpu)
    else:
        free_mb = moment.free_units(gpu) * 1000
        assert_units_taken(moment, gpu, text, f"needs {job.vram_mb} MB, {free_mb} of {total_mb} free", 5)


def assert_first_in_line(text: str, first: First | None) -> None:
    assert first is not None
    assert text.startswith(f"{first.job.type} {short(first.job)} is first in line")
    assert text.endswith(f"it needs {first.job.vram_mb} MB and has waited {first.job.waited_s:.0f} s")


def assert_slots_taken(text: str, slots: int, holders: Sequence[ActiveJob]) -> None:
    assert text.startswith(f"all {slots} {holders[0].category} slots are taken: ")
    assert len(holders) >= slots
    assert _IDS.findall(text) == [short(holder) for holder in holders[:slots]][:5]
    assert text.endswith(f" and {slots - 5} more") == (slots > 5)


def assert_units_taken(moment: Moment, gpu: Gpu, text: str, beginning: str, most: int) -> None:
    assert text.startswith(beginning)
    assert units_needed(moment.job.vram_mb) > moment.free_units(gpu)
    holders = [short(holder) for holder in moment.on(gpu)]
    assert _IDS.findall(text) == holders[:most]
    assert ("and" in text) == (len(holders) > most)


_IDS = re.compile(r"\b[0-9a-f]{8}\b")


def short(holder: ActiveJob | ReadyJob) -> str:
    return str(holder.id)[:8]


# Nobody starves

LONGEST = 4  # rounds that a job runs at most
OVERDUE = 3  # rounds after which a job that waits is starving


@dataclass
class Line:
    """The queue over many rounds: in each, jobs end and lower-ranked ones arrive, as an adversary likes."""

    waiting: list[ReadyJob]
    capacity: Capacity
    gpu_mb: Sequence[int | None]
    running: dict[ActiveJob, int] = field(default_factory=dict)

    def round(self, arrivals: Sequence[ReadyJob], lengths: Iterator[int]) -> Plan:
        self.running = {job: left - 1 for job, left in self.running.items() if left > 1}
        self.waiting = [*(replace(job, waited_s=job.waited_s + 1) for job in self.waiting), *arrivals]
        plan = admit(self.waiting, list(self.running), self._measured())
        units = {entry.id: entry.units for entry in plan.admitted}
        for job in self.waiting:
            if job.id in units:
                self.running[begun(job, units[job.id])] = next(lengths)
        self.waiting = [job for job in self.waiting if job.id not in units]
        self._assert_within_limits()
        return plan

    def _measured(self) -> Capacity:
        measured = zip(self.capacity.gpus, self.gpu_mb, strict=True)
        gpus = [measured_again(replace(gpu, free_vram_mb=mb), list(self.running)) for gpu, mb in measured]
        return replace(self.capacity, gpus=gpus)

    def _assert_within_limits(self) -> None:
        held = [unit for job in self.running for unit in job.units]
        assert len(held) == len(set(held))
        assert set(held) <= {unit for gpu in self.capacity.gpus for unit in units_of(gpu.number, gpu.units)}
        for category, slots in self.capacity.slots.items():
            holders = [job for job in self.running if job.category == category]
            assert len(holders) <= slots + self.capacity.look_ahead
            for gpu in self.capacity.gpus:
                assert sum(job.gpu == gpu.number for job in holders) <= self.capacity.gpu_slots[category]


@dataclass(frozen=True)
class Siege:
    """Jobs that have to get through, what ran before them, and the same few that arrive behind them in each round."""

    first: Sequence[tuple[ResourceCategory, int]]
    before: Sequence[tuple[ResourceCategory, int]]
    stream: Sequence[tuple[ResourceCategory, int]]
    lengths: Sequence[int]
    slots: int
    look_ahead: int
    gpus: Sequence[tuple[int, int | None]]
    """Units of each GPU, and the MB that are really there."""


@st.composite
def sieges(draw: st.DrawFn) -> Siege:
    categories = st.sampled_from(draw(st.lists(CATEGORIES, min_size=1, max_size=2)))
    small = st.tuples(categories, st.sampled_from([0, 1000, 4000, 6000]))
    more = st.lists(st.tuples(st.sampled_from([4, 8, 13, 16]), st.sampled_from([None, 8000, 16000])), max_size=2)
    return Siege(
        first=draw(st.lists(st.tuples(categories, st.sampled_from([0, 1000, 8000, 12000])), min_size=1, max_size=3)),
        before=draw(st.lists(small, max_size=6)),
        stream=draw(st.lists(small, min_size=1, max_size=4)),
        lengths=draw(st.lists(st.integers(1, LONGEST), min_size=1, max_size=4)),
        slots=draw(st.integers(1, 3)),
        look_ahead=draw(st.integers(0, 3)),
        gpus=[(16, draw(st.sampled_from([None, 12000, 16000]))), *draw(more)],
    )


@given(siege=sieges())
@example(Siege([(ENCODE, 4000)], [(ENCODE, 0)], [(ENCODE, 0)], [2, 3], slots=1, look_ahead=2, gpus=[(16, None)]))
@example(Siege([(AI, 12000)], [(ENCODE, 6000)], [(ENCODE, 6000)], [4, 3], slots=2, look_ahead=0, gpus=[(16, None)]))
def test_every_job_starts_within_a_bounded_number_of_ends_whatever_arrives_behind_it(siege: Siege) -> None:
    """The job of rank n that fits an empty GPU starts at the latest when, since it was overdue, everything that ran has
    ended 2n times: once for its slot and once for its VRAM, and so for each of those ahead of it.

    Of several GPUs another one may be kept for it as soon as it has more room, so that the last begins anew; each time
    it lacks a unit less.
    """
    slots = dict.fromkeys(ResourceCategory, siege.slots * len(siege.gpus))
    gpus = [Gpu(number, units) for number, (units, _) in enumerate(siege.gpus)]
    of_each = dict.fromkeys(ResourceCategory, siege.slots)
    capacity = Capacity(slots, gpus, starvation_s=OVERDUE, gpu_slots=of_each, look_ahead=siege.look_ahead)
    first = [ready(number, *values) for number, values in enumerate(siege.first)]
    ends = 2 if len(gpus) == 1 else 2 + max(units_needed(job.vram_mb) for job in first)
    numbers, lengths = itertools.count(100), itertools.cycle(siege.lengths)
    line = Line([], capacity, [mb for _, mb in siege.gpus])
    line.round([ready(next(numbers), *values) for values in siege.before], lengths)
    line.waiting = []
    started: dict[UUID, int] = {}
    for number in range(OVERDUE + ends * LONGEST * len(first) + 2):
        arrivals = [ready(next(numbers), *values) for values in siege.stream]
        plan = line.round([*first, *arrivals] if number == 0 else arrivals, lengths)
        started |= {entry.id: number for entry in plan.admitted}
        line.waiting = line.waiting[: len(first) + 12]
        if all(job.id in started for job in first):
            break
    for rank, job in enumerate(first, start=1):
        assert started.get(job.id, 10**6) <= OVERDUE + 1 + ends * LONGEST * rank, (rank, job)
