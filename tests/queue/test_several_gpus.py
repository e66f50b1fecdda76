"""Several GPUs: which one a job gets, what it is told while it waits, how they are named and counted."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import lease, queue, stats
from jobqueue_bridge.admission import ActiveJob, Admitted, Capacity, Gpu, Plan, admit
from jobqueue_bridge.api import wire
from jobqueue_bridge.devices import gpu_of, units_of
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings, load_settings
from tests.queue.weighed import AI, CPU, ENCODE, active, job_id, ready

TWO = Capacity(
    slots={CPU: 5, ENCODE: 4, AI: 2},
    gpus=(Gpu(0, 16), Gpu(1, 24)),
    gpu_slots={ENCODE: 2, AI: 1},
    starvation_s=600,
)


def on(gpu: int, number: int, category: str = ENCODE, vram_mb: int = 4000, first: int = 0) -> ActiveJob:
    units = units_of(gpu, first + vram_mb // 1000)[first:]
    return active(number, {"gpu_encode": ENCODE, "gpu_ai": AI, "cpu": CPU}[category], vram_mb, units)


def gpus_of(plan: Plan) -> list[int | None]:
    return [entry.gpu for entry in plan.admitted]


def short(number: int) -> str:
    return str(job_id(number))[:8]


def only_reason(plan: Plan) -> str:
    (waiting,) = plan.waiting
    return waiting.reason


def test_the_units_of_a_gpu_tell_which_it_is() -> None:
    plan = admit([ready(1, AI, 20000), ready(2, ENCODE, 2000)], [], TWO)
    assert plan.admitted == (
        Admitted(job_id(1), tuple(range(1000, 1020))),
        Admitted(job_id(2), (1020, 1021)),
    )
    assert gpus_of(plan) == [1, 1]
    assert {gpu_of(unit) for unit in units_of(7, 1000)} == {7}


def test_a_job_goes_where_it_leaves_the_least_room() -> None:
    """So that the room for a big one is not broken up."""
    assert gpus_of(admit([ready(1, ENCODE, 4000), ready(2, AI, 20000)], [], TWO)) == [0, 1]
    assert gpus_of(admit([ready(1, ENCODE, 4000)], [on(1, 9, "gpu_ai", 14000)], TWO)) == [1]


def test_equal_gpus_are_filled_from_the_first() -> None:
    equal = replace(TWO, gpus=(Gpu(0, 16), Gpu(1, 16)))
    plan = admit([ready(number, ENCODE, 6000) for number in range(4)], [], equal)
    assert gpus_of(plan) == [0, 0, 1, 1]


def test_room_that_is_spread_over_two_gpus_is_none() -> None:
    plan = admit([ready(1, AI, 12000)], [on(0, 2, vram_mb=8000), on(1, 3, vram_mb=14000)], TWO)
    assert only_reason(plan) == (
        f"needs 12000 MB on one GPU; GPU 0 has 8000 of 16000 free, held by reencode_streaming {short(2)}; "
        f"GPU 1 has 10000 of 24000 free, held by reencode_streaming {short(3)}"
    )


def test_slots_are_those_of_each_gpu() -> None:
    plan = admit([ready(number, AI, 1000) for number in range(3)], [], TWO)
    assert gpus_of(plan) == [0, 1]
    assert only_reason(plan).startswith("all 2 gpu_ai slots are taken: ")


def test_a_job_may_lack_a_slot_here_and_room_there() -> None:
    plan = admit([ready(1, AI, 8000)], [on(1, 2, "gpu_ai", 1000), on(0, 3, vram_mb=12000)], TWO)
    assert only_reason(plan) == (
        f"needs 8000 MB on one GPU; GPU 0 has 4000 of 16000 free, held by reencode_streaming {short(3)}; "
        f"GPU 1: all 1 gpu_ai slots are taken: digest_generate {short(2)}"
    )


def test_a_job_larger_than_one_gpu_goes_to_the_other_and_says_so_while_that_is_taken() -> None:
    plan = admit([ready(1, AI, 20000)], [on(1, 2, vram_mb=8000)], TWO)
    assert only_reason(plan) == (
        "needs 20000 MB on one GPU; GPU 0 has 16000 in all; "
        f"GPU 1 has 16000 of 24000 free, held by reencode_streaming {short(2)}"
    )


def test_a_job_larger_than_any_is_told_of_the_largest() -> None:
    plan = admit([ready(1, AI, 25000, waited_s=9999), ready(2, ENCODE, 4000)], [], TWO)
    assert only_reason(plan) == "needs 25000 MB on one GPU, more than the 24000 MB of the largest"
    assert len(plan.admitted) == 1


def test_each_gpu_is_measured_by_itself() -> None:
    measured = replace(TWO, gpus=(Gpu(0, 16, 3000), Gpu(1, 24, 9000)))
    plan = admit([ready(1, ENCODE, 2000), ready(2, ENCODE, 2000), ready(3, AI, 12000)], [], measured)
    assert gpus_of(plan) == [0, 1]
    assert only_reason(plan) == (
        "needs 12000 MB on one GPU; GPU 0 has 1000 MB free beside what is reserved; "
        "GPU 1 has 7000 MB free beside what is reserved"
    )


def test_a_starving_job_keeps_the_gpu_that_is_nearest_to_having_room_and_leaves_the_other() -> None:
    queue_ = [ready(1, AI, 15000, waited_s=601), ready(2, ENCODE, 4000), ready(3, ENCODE, 4000, waited_s=601)]
    running = [on(0, 8, vram_mb=6000), on(1, 9, vram_mb=10000)]
    plan = admit(queue_, running, TWO)
    assert [(entry.id, entry.gpu) for entry in plan.admitted] == [(job_id(2), 0)]
    assert plan.waiting[1].reason == (
        f"needs 4000 MB on one GPU; GPU 0: all 2 gpu_encode slots are taken: reencode_streaming {short(8)}, "
        f"reencode_streaming {short(2)}; GPU 1 is kept: digest_generate {short(1)} is first in line for VRAM: "
        "it needs 15000 MB and has waited 601 s"
    )


def test_a_paused_job_that_holds_one_gpu_for_ever_keeps_no_big_one_from_the_other() -> None:
    """Six-gigabyte encodes come without end, two at a time run on GPU 1, and never both end at once."""
    paused, big = on(0, 1, "cpu", 12000), ready(2, AI, 12000)
    capacity = replace(TWO, gpus=(Gpu(0, 16), Gpu(1, 16)))
    ends = {on(1, 3, vram_mb=6000): 102, on(1, 4, vram_mb=6000, first=6): 104}
    for number in range(100, 300):
        ends = {job: end for job, end in ends.items() if end > number}
        line = [replace(big, waited_s=number * 10.0), *(ready(number * 10 + n, ENCODE, 6000) for n in range(3))]
        plan = admit(line, [paused, *ends], capacity)
        if big.id in {entry.id for entry in plan.admitted}:
            assert gpus_of(plan)[0] == 1
            return
        for entry in plan.admitted:
            ends[ActiveJob(entry.id, "reencode_streaming", ENCODE, 6000, entry.units)] = number + 4
    pytest.fail("the big job never started")


def test_what_another_program_runs_without_saying_where_counts_on_the_first() -> None:
    plan = admit([ready(1, AI, 12000), ready(2, ENCODE, 12000)], [active(9, CPU, 12000)], TWO)
    assert gpus_of(plan) == [1, 1]


def test_what_still_runs_on_a_gpu_that_was_taken_out_takes_a_slot_and_no_room() -> None:
    plan = admit([ready(1, ENCODE, 16000), ready(2, ENCODE, 16000)], [on(5, 9, vram_mb=16000)], TWO)
    assert gpus_of(plan) == [0, 1]
    full = [on(5, number, vram_mb=1000, first=number) for number in range(4)]
    assert "slots are taken" in only_reason(admit([ready(10, ENCODE, 1000)], full, TWO))


# How they are named, counted and asked for


@pytest.fixture
def two(settings: Settings) -> Settings:
    return load_settings(
        home=settings.home,
        media_library_path=settings.media_library_path,
        gpus=[{"vram_mb": 16000}, {"vram_mb": 24000, "uuid": "GPU-5a", "name": "upper slot"}],
    )


def test_a_job_above_the_largest_gpu_is_refused_when_it_is_asked_for(connection: sa.Connection, two: Settings) -> None:
    assert queue.enqueue(connection, NewJob("scan", {}, vram_required=24000), two).vram_required == 24000
    with pytest.raises(InvalidJob, match=r"24001 MB is more than the 24000 MB of GPU 1 \(upper slot\), the largest"):
        queue.enqueue(connection, NewJob("public_scan", {}, vram_required=24001), two)


def test_the_row_and_the_attempt_say_which_gpu_it_is(
    connection: sa.Connection, two: Settings, add_job: Callable[..., UUID]
) -> None:
    held = add_job("compile_random", status="queued", attempt=1, vram_units=[1000, 1001])
    assert lease.claim(connection, held, 1, run_id="r", host="h") is not None
    assert queue.get(connection, held).gpu == 1
    assert queue.attempts(connection, held)[0]["gpu"] == 1
    without = add_job("scan", status="queued", attempt=1, vram_units=[])
    assert lease.claim(connection, without, 1, run_id="r", host="h") is not None
    assert (queue.get(connection, without).gpu, queue.attempts(connection, without)[0]["gpu"]) == (None, None)


def test_the_statistics_add_up_each_gpu(connection: sa.Connection, two: Settings, add_job: Callable[..., UUID]) -> None:
    add_job(status="running", vram_required=4000, vram_units=[0, 1, 2, 3], lease_token=job_id(1))
    add_job(status="running", vram_required=2000, vram_units=[1003, 1004], lease_token=job_id(2))
    add_job(status="running", vram_required=3000)
    told = wire.Stats.of(stats.read(connection), two)
    assert (told.total_vram_used, told.total_vram_available) == (9000, 40000)
    assert [gpu.model_dump() for gpu in told.gpus] == [
        {"gpu": 0, "name": "", "vramUsed": 7000, "vramAvailable": 16000},
        {"gpu": 1, "name": "upper slot", "vramUsed": 2000, "vramAvailable": 24000},
    ]
