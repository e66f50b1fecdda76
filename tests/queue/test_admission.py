"""Which jobs may start, and what the others wait for."""

import itertools
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from jobqueue_bridge.admission import ActiveJob, Admitted, Capacity, Gpu, Plan, ReadyJob, admit
from jobqueue_bridge.vocabulary import NEEDS, JobType, ResourceCategory
from tests.queue.weighed import AI, CAPACITY, CPU, ENCODE, active, job_id, ready


def reason(plan: Plan) -> str:
    (waiting,) = plan.waiting
    return waiting.reason


def started(plan: Plan) -> list[UUID]:
    return [admitted.id for admitted in plan.admitted]


def short(number: int) -> str:
    return str(job_id(number))[:8]


# Rule by rule


def test_an_empty_queue_starts_nothing() -> None:
    assert admit([], [], CAPACITY) == Plan((), ())


@pytest.mark.parametrize(("category", "slots"), CAPACITY.slots.items())
def test_each_category_has_its_slots(category: ResourceCategory, slots: int) -> None:
    plan = admit([ready(number, category) for number in range(10)], [], CAPACITY)
    assert started(plan) == [job_id(number) for number in range(slots)]
    assert len(plan.waiting) == 10 - slots


def test_a_job_that_lacks_a_slot_waits_for_those_who_have_them() -> None:
    plan = admit([ready(9, AI)], [active(1, AI)], CAPACITY)
    assert reason(plan) == f"all 1 gpu_ai slots are taken: digest_generate {short(1)}"


def test_only_the_first_five_of_many_holders_are_named() -> None:
    plan = admit([ready(9)], [active(number) for number in range(7)], replace(CAPACITY, slots={CPU: 7}))
    assert reason(plan).endswith(f"scan {short(4)} and 2 more")


def test_a_category_without_slots_says_so() -> None:
    plan = admit([ready(1, AI)], [], replace(CAPACITY, slots={CPU: 5, ENCODE: 2, AI: 0}, look_ahead=3))
    assert reason(plan) == "gpu_ai has no slots: its setting is 0"


def test_a_blocked_job_never_blocks_another_category() -> None:
    plan = admit([ready(1, AI), ready(2), ready(3, ENCODE)], [active(9, AI)], CAPACITY)
    assert started(plan) == [job_id(2), job_id(3)]


def test_vram_is_given_in_whole_numbered_units() -> None:
    plan = admit([ready(1, ENCODE, 4000), ready(2, ENCODE, 4500), ready(3, AI, 1)], [], CAPACITY)
    assert plan.admitted == (
        Admitted(job_id(1), (0, 1, 2, 3)),
        Admitted(job_id(2), (4, 5, 6, 7, 8)),
        Admitted(job_id(3), (9,)),
    )


def test_a_job_that_lacks_vram_says_what_it_needs_what_is_free_and_who_has_it() -> None:
    plan = admit([ready(1, AI, 8000)], [active(2, ENCODE, 12000, range(12))], CAPACITY)
    assert reason(plan) == f"needs 8000 MB, 4000 of 16000 free: held by reencode_streaming {short(2)}"


def test_a_smaller_job_of_the_same_category_starts_meanwhile() -> None:
    plan = admit([ready(1, ENCODE, 8000), ready(2, ENCODE, 4000)], [active(3, AI, 12000, range(12))], CAPACITY)
    assert started(plan) == [job_id(2)]


def test_a_job_above_the_whole_budget_says_so_and_blocks_nobody() -> None:
    plan = admit([ready(1, AI, 17000, waited_s=9999), ready(2, ENCODE, 4000)], [], CAPACITY)
    assert reason(plan) == "needs 17000 MB, more than the whole budget of 16000 MB"
    assert started(plan) == [job_id(2)]


@pytest.mark.parametrize("units", [(), (0, 1)])
def test_vram_that_is_declared_and_not_numbered_counts(units: tuple[int, ...]) -> None:
    """A row that another program, or a run from the Dagster UI, set going."""
    plan = admit([ready(1, ENCODE, 6000)], [active(2, AI, 12000, units)], CAPACITY)
    assert reason(plan) == f"needs 6000 MB, 4000 of 16000 free: held by digest_generate {short(2)}"


def test_units_beyond_a_budget_that_shrank_still_count() -> None:
    plan = admit([ready(1, ENCODE, 4000)], [active(2, AI, 8000, range(8, 16))], replace(CAPACITY, gpus=(Gpu(0, 8),)))
    assert reason(plan) == f"needs 4000 MB, 0 of 8000 free: held by digest_generate {short(2)}"


def test_measured_memory_must_suffice_too() -> None:
    plan = admit([ready(1, AI, 8000)], [], replace(CAPACITY, gpus=(Gpu(0, 16, 7999),)))
    assert reason(plan) == "needs 8000 MB, the GPU has 7999 MB free beside what is reserved"


def test_measured_memory_shrinks_with_each_admission() -> None:
    plan = admit([ready(1, ENCODE, 4000), ready(2, ENCODE, 4000)], [], replace(CAPACITY, gpus=(Gpu(0, 16, 7000),)))
    assert started(plan) == [job_id(1)]
    assert reason(plan) == "needs 4000 MB, the GPU has 3000 MB free beside what is reserved"


def test_a_gpu_that_reports_less_than_nothing_has_nothing() -> None:
    assert "has 0 MB free" in reason(admit([ready(1, AI, 1)], [], replace(CAPACITY, gpus=(Gpu(0, 16, -5),))))


def test_jobs_without_vram_may_queue_beyond_their_slots() -> None:
    plan = admit([ready(number) for number in range(9)], [], replace(CAPACITY, look_ahead=2))
    assert len(plan.admitted) == 7
    assert plan.waiting[0].reason.startswith("all 5 cpu slots are taken: ")


def test_jobs_with_vram_may_not() -> None:
    plan = admit([ready(number, ENCODE, 1000) for number in range(4)], [], replace(CAPACITY, look_ahead=2))
    assert len(plan.admitted) == 2


def test_nobody_queues_beyond_the_slots_past_one_who_waits_for_a_slot() -> None:
    """Else a stream of jobs without VRAM would keep it out for ever."""
    capacity = replace(CAPACITY, look_ahead=2)
    plan = admit([ready(1, ENCODE, 4000), ready(2, ENCODE)], [active(8, ENCODE), active(9, ENCODE)], capacity)
    assert not plan.admitted
    assert plan.waiting[1].reason.startswith("all 2 gpu_encode slots are taken: ")


def test_a_category_that_is_closed_waits_and_keeps_nothing_from_others() -> None:
    queue = [ready(1, ENCODE, 16000, waited_s=9999), ready(2, AI, 8000), ready(3, ENCODE)]
    plan = admit(queue, [], replace(CAPACITY, closed={ENCODE: "not before 01:00"}, look_ahead=3))
    assert started(plan) == [job_id(2)]
    assert {waiting.reason for waiting in plan.waiting} == {"not before 01:00"}


# Nobody starves


def test_a_job_that_starves_is_no_longer_overtaken() -> None:
    queue = [ready(1, AI, 12000, waited_s=601), ready(2, ENCODE, 4000)]
    plan = admit(queue, [active(3, ENCODE, 6000, range(6))], CAPACITY)
    assert not plan.admitted
    assert plan.waiting[1].reason == (
        f"digest_generate {short(1)} is first in line for VRAM: it needs 12000 MB and has waited 601 s"
    )


def test_jobs_without_vram_start_past_one_that_starves() -> None:
    queue = [ready(1, AI, 12000, waited_s=601), ready(2), ready(3, ENCODE)]
    plan = admit(queue, [active(9, ENCODE, 6000, range(6))], CAPACITY)
    assert started(plan) == [job_id(2), job_id(3)]


def test_a_job_that_starves_keeps_its_slot_from_those_behind_it() -> None:
    queue = [ready(1, ENCODE, 12000, waited_s=601), ready(2, ENCODE)]
    plan = admit(queue, [active(9, AI, 8000, range(8))], replace(CAPACITY, slots={CPU: 5, ENCODE: 1, AI: 1}))
    assert not plan.admitted
    assert "first in line" in plan.waiting[1].reason


def test_nobody_queues_beyond_the_slots_past_one_that_starves() -> None:
    queue = [ready(1, ENCODE, 12000, waited_s=601), ready(2, ENCODE), ready(3, ENCODE)]
    plan = admit(queue, [active(9, AI, 8000, range(8))], replace(CAPACITY, look_ahead=3))
    assert started(plan) == [job_id(2)]
    assert "first in line" in plan.waiting[1].reason


def test_a_higher_ranked_job_still_goes_before_one_that_starves() -> None:
    queue = [ready(1, ENCODE, 4000), ready(2, AI, 12000, waited_s=9999)]
    assert started(admit(queue, [active(3, ENCODE, 6000, range(6))], CAPACITY)) == [job_id(1)]


def test_a_job_that_waits_for_a_slot_starves_nobody() -> None:
    queue = [ready(1, AI, 12000, waited_s=9999), ready(2, ENCODE, 4000)]
    assert started(admit(queue, [active(3, AI, 6000, range(6))], CAPACITY)) == [job_id(2)]


def test_memory_that_another_program_took_makes_nobody_wait_in_line() -> None:
    queue = [ready(1, AI, 12000, waited_s=9999), ready(2, ENCODE, 2000)]
    capacity = replace(CAPACITY, gpus=(Gpu(0, 16, 3000),))
    assert started(admit(queue, [active(3, ENCODE, 6000, range(6))], capacity)) == [job_id(2)]


def test_memory_that_the_queues_own_jobs_took_does() -> None:
    """On a GPU that is smaller than the budget says, units alone would let small jobs overtake for ever."""
    queue = [ready(1, AI, 8000, waited_s=9999), ready(2, ENCODE, 4000)]
    capacity = replace(CAPACITY, gpus=(Gpu(0, 16, 6000),))
    assert not admit(queue, [active(3, ENCODE, 6000, range(6))], capacity).admitted


@dataclass
class _Stream:
    """Six-gigabyte encodes without end, beside a job that needs twice as much."""

    big: ReadyJob
    capacity: Capacity
    length_s: int = 300

    def seconds_until_the_big_one_starts(self) -> int | None:
        numbers = itertools.count(100)
        running: dict[ActiveJob, int] = {}
        for second in range(0, 4 * 3600, 10):
            running = {job: ends for job, ends in running.items() if ends > second}
            stream = [ready(next(numbers), ENCODE, 6000) for _ in range(3)]
            line = [replace(self.big, waited_s=second), *stream] if second else stream
            plan = admit(line, list(running), self.capacity)
            if self.big.id in started(plan):
                return second
            for entry in plan.admitted:
                running[active(0, ENCODE, 6000, entry.units)] = second + self.length_s + 7 * len(running)
        return None


@pytest.mark.parametrize("category", [ENCODE, AI])
@pytest.mark.parametrize("gpu_mb", [None, 12000])
def test_a_big_job_behind_a_steady_stream_of_small_ones_starts(category: ResourceCategory, gpu_mb: int | None) -> None:
    stream = _Stream(ready(1, category, 12000), CAPACITY)
    waited_s = stream.seconds_until_the_big_one_starts()
    assert waited_s is not None
    assert waited_s <= CAPACITY.starvation_s + 2 * stream.length_s


def test_without_the_rule_it_never_would() -> None:
    endless = replace(CAPACITY, starvation_s=float("inf"))
    assert _Stream(ready(1, AI, 12000), endless).seconds_until_the_big_one_starts() is None


def test_the_specifications_types_fill_the_gpu() -> None:
    """Each type's own need: two encodes and an AI job fit the sixteen gigabytes exactly."""
    kinds = [JobType.REENCODE_STREAMING, JobType.COMPILE_QUAD, JobType.DIGEST_GENERATE]
    jobs = [
        ReadyJob(job_id(number), kind, NEEDS[kind].category, NEEDS[kind].vram_mb, 0)
        for number, kind in enumerate(kinds)
    ]
    plan = admit(jobs, [], CAPACITY)
    assert sorted(unit for admitted in plan.admitted for unit in admitted.units) == list(range(16))
