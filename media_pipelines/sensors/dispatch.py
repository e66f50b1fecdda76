"""Rows → runs. Reads the ready rows, asks `admission`, requests a run for each that is admitted."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import dagster as dg
import psycopg
import sqlalchemy as sa

from jobqueue_bridge import admission, dispatching, drains, lifecycle, limits, queue, windows
from jobqueue_bridge.database import engine_for, listen
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.queue import Checked, Job, NewJob
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import JobType, ResourceCategory
from media_pipelines import run_process
from media_pipelines.pipelines import PIPELINES
from media_pipelines.resources.gpu import Gpu
from media_pipelines.tags import (
    ATTEMPT_TAG,
    CATEGORY_TAG,
    GPU_SLOT_TAG,
    GPU_TAG,
    JOB_TAG,
    ORIGIN_TAG,
    PRIORITY_TAG,
    SLOT_TAG,
    TYPE_TAG,
    VIDEO_TAG,
    gpu_slot,
    vram_tag,
)

_logger = logging.getLogger(__name__)
_LONGEST_WAIT_S = 4.5
# Runs without VRAM that may queue in Dagster beyond the slots, so that a freed slot is taken at once.
_LOOK_AHEAD = 3


@dataclass(frozen=True)
class Dispatched:
    """A row that was admitted, with what its request for a run needs."""

    job: Job
    checked: Checked
    units: tuple[int, ...]
    gpu: int | None = None
    """The one that the run is told to use; None: it is left to what it calls."""


@dg.sensor(
    jobs=[pipeline.definition for pipeline in PIPELINES.values()],
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Waits for rows in `jobs`, admits what slots and VRAM allow, requests their runs.",
)
def dispatch(context: dg.SensorEvaluationContext, gpu: Gpu) -> dg.SensorResult | dg.SkipReason:
    del context
    settings = load_settings()
    deadline_s = time.monotonic() + _LONGEST_WAIT_S
    with listen(settings) as heard:
        while True:
            dispatched = admit_ready(settings, gpu)
            if dispatched:
                return _result(dispatched)
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return dg.SkipReason("No job could start.")
            _wait(heard, min(left_s, _until_next_retry(settings)))


def _wait(heard: psycopg.Connection[tuple[object, ...]], seconds: float) -> None:
    """Until a job comes or moves, or the time is over."""
    for _ in heard.notifies(timeout=max(0.05, seconds), stop_after=1):
        pass


def _until_next_retry(settings: Settings) -> float:
    with engine_for(settings).begin() as connection:
        return dispatching.seconds_to_next_retry(connection) or _LONGEST_WAIT_S


def admit_ready(settings: Settings, gpu: Gpu) -> list[Dispatched]:
    """One look at the queue, in one transaction: refuse what can never run, admit what may, note why the rest waits."""
    with engine_for(settings).begin() as connection:
        if not dispatching.lock_dispatch(connection):
            return []
        found = dispatching.ready(connection)
        if not found:
            return []
        ready = [job for job in found if _could_run(connection, job, settings)]
        if reason := lifecycle.switch(connection).reason:
            dispatching.note_waiting(connection, ready, [admission.Waiting(job.id, reason) for job in ready])
            return []
        active = dispatching.active(connection) if ready else []
        in_force = drains.in_force(connection, [job.id for job in ready])
        capacity = _capacity(settings, gpu, active)
        dispatched: list[Dispatched] = []
        while ready:
            weighed, held = limits.may_be_weighed(_as_ready(ready, settings), in_force)
            plan, shares = limits.share_out(admission.admit(weighed, active, capacity), in_force)
            checked = _check_admitted(connection, plan.admitted, ready, settings)
            if len(checked) == len(plan.admitted):
                dispatching.note_waiting(connection, ready, limits.in_line(ready, [*held, *plan.waiting]))
                dispatched = _admit(connection, plan.admitted, checked, settings)
                drains.count(connection, {row.job.id: shares[row.job.id] for row in dispatched if row.job.id in shares})
                break
            refused = {entry.id for entry in plan.admitted} - checked.keys()
            ready = [job for job in ready if job.id not in refused]
        drains.note_refused(connection, {job.id for job in found} - {job.id for job in ready}, in_force)
        return dispatched


def _could_run(connection: sa.Connection, job: Job, settings: Settings) -> bool:
    """What the fields alone tell; a row that says no is refused."""
    try:
        queue.check_fields(_as_asked(job), settings)
    except InvalidJob as error:
        dispatching.refuse(connection, job.id, error)
        return False
    return True


def _check_admitted(
    connection: sa.Connection, admitted: Iterable[admission.Admitted], ready: Iterable[Job], settings: Settings
) -> dict[UUID, Checked]:
    """The admitted rows whose video is there, too; those without are refused and give their slot to others."""
    by_id = {job.id: job for job in ready}
    checked = {}
    for entry in admitted:
        try:
            checked[entry.id] = queue.check(connection, _as_asked(by_id[entry.id]), settings)
        except InvalidJob as error:
            dispatching.refuse(connection, entry.id, error)
    return checked


def _as_asked(job: Job) -> NewJob:
    return NewJob(
        job.type,
        job.params,
        priority=job.priority,
        resource_category=job.resource_category,
        vram_required=job.vram_required,
        max_retries=job.max_retries,
    )


def _as_ready(ready: Iterable[Job], settings: Settings) -> list[admission.ReadyJob]:
    now = datetime.now(UTC)
    opened = {
        category.value: windows.opened_at(hours, now, settings.zone)
        for category, hours in settings.windows_by_category.items()
    }
    return [
        admission.ReadyJob(
            id=job.id,
            type=JobType(job.type),
            category=ResourceCategory(job.resource_category),
            vram_mb=job.vram_required,
            waited_s=(now - _waits_since(job, opened.get(job.resource_category))).total_seconds(),
            starts_at_once=job.waiting_run_id is not None,
        )
        for job in ready
    ]


def _waits_since(job: Job, opened: datetime | None) -> datetime:
    """Not before its hours began: else every job of a night would be overdue at once."""
    return max(filter(None, (job.created_at, job.retry_after, opened)))


def _closed(settings: Settings) -> dict[ResourceCategory, str]:
    """The categories whose hours it is not, with what their jobs are told."""
    now, zone = datetime.now(UTC), settings.zone
    return {
        category: windows.waiting_text(f"{category} jobs", hours, now, zone)
        for category, hours in settings.windows_by_category.items()
        if windows.opened_at(hours, now, zone) is None
    }


def _capacity(settings: Settings, gpu: Gpu, active: list[admission.ActiveJob]) -> admission.Capacity:
    return admission.Capacity(
        slots=settings.slots,
        gpus=_gpus(settings, gpu, active),
        gpu_slots=settings.gpu_slots,
        starvation_s=settings.starvation_seconds,
        look_ahead=_LOOK_AHEAD,
        closed=_closed(settings),
    )


def _gpus(settings: Settings, gpu: Gpu, active: list[admission.ActiveJob]) -> list[admission.Gpu]:
    """Each with what it has free, less what the jobs on it have reserved and not taken yet."""
    reserved: dict[int, list[tuple[int | None, int]]] = {device.index: [] for device in settings.devices}
    for job in active:
        on = settings.devices[0].index if job.gpu is None else job.gpu
        if job.vram_mb and on in reserved:
            pid = run_process.pid_of(settings.runs_dir, job.run_id) if job.run_id else None
            reserved[on].append((pid, job.vram_mb))
    return [
        admission.Gpu(device.index, device.units, gpu.free_beside_reservations_mb(reserved[device.index], device))
        for device in settings.devices
    ]


def _admit(
    connection: sa.Connection,
    admitted: Iterable[admission.Admitted],
    checked: dict[UUID, Checked],
    settings: Settings,
) -> list[Dispatched]:
    dispatched = []
    for entry in admitted:
        job = dispatching.admit(connection, entry, checked[entry.id])
        if job is not None:
            _logger.info(
                "Admitted",
                extra={"job_id": str(job.id), "type": job.type, "attempt": job.attempt, "priority": job.priority},
            )
            named = settings.named_device(entry.gpu)
            dispatched.append(Dispatched(job, checked[entry.id], entry.units, named.index if named else None))
    return dispatched


def _result(dispatched: list[Dispatched]) -> dg.SensorResult:
    """A job that a run waits for needs no other one."""
    dispatched = [entry for entry in dispatched if entry.job.run_id is None]
    # Each key once: Dagster refuses a tick that asks for one twice, and with it every run that the tick requests.
    keys: dict[dg.DynamicPartitionsDefinition, dict[str, None]] = {}
    for entry in dispatched:
        pipeline = PIPELINES[entry.checked.kind]
        key = pipeline.partition_key(entry.job)
        if pipeline.partitions is not None and key is not None:
            keys.setdefault(pipeline.partitions, {})[key] = None
    return dg.SensorResult(
        run_requests=[run_request(entry) for entry in dispatched],
        dynamic_partitions_requests=[partitions.build_add_request(list(wanted)) for partitions, wanted in keys.items()],
    )


def run_request(entry: Dispatched) -> dg.RunRequest:
    """The run key names the attempt, because Dagster remembers run keys for ever."""
    job = entry.job
    return dg.RunRequest(
        run_key=f"{job.id}:{job.attempt}",
        job_name=entry.checked.kind.value,
        run_config={
            "resources": {"job": {"config": {"job_id": str(job.id), "attempt": job.attempt}}},
            "loggers": {"console": {}},
        },
        partition_key=PIPELINES[entry.checked.kind].partition_key(job),
        tags={
            JOB_TAG: str(job.id),
            ATTEMPT_TAG: str(job.attempt),
            TYPE_TAG: entry.checked.kind.value,
            CATEGORY_TAG: str(job.resource_category),
            SLOT_TAG: str(job.resource_category),
            PRIORITY_TAG: str(job.priority),
            ORIGIN_TAG: str(job.origin),
            "dagster/priority": str(-job.priority),
            **({VIDEO_TAG: str(job.video_id)} if job.video_id else {}),
            **{vram_tag(unit): "1" for unit in entry.units},
            **_gpu_tags(entry),
        },
    )


def _gpu_tags(entry: Dispatched) -> dict[str, str]:
    if entry.gpu is None:
        return {}
    return {GPU_TAG: str(entry.gpu), GPU_SLOT_TAG: gpu_slot(entry.job.resource_category, entry.gpu)}
