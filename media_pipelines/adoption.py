"""What a run that somebody launched in Dagster itself is to do, as rows of the queue: one for each asset that it makes.

A person materializes partitions, starts a backfill or re-executes a run in Dagster's UI; the work still waits in the
one line, within the one budget. The run coordinator asks for the rows when the run is submitted; under a stock one the
run does so itself, when it begins.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import dagster as dg
import sqlalchemy as sa
from dagster._core.snap import ExecutionPlanSnapshot
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG, SENSOR_NAME_TAG

from jobqueue_bridge import adoption, archive, params
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import FieldProblem, InvalidJob
from jobqueue_bridge.products import TYPE_OF
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import PRIORITY_DEFAULT, JobType, Origin, ResourceCategory
from media_pipelines.tags import (
    ADOPTED_TAG,
    ATTEMPT_TAG,
    CATEGORY_TAG,
    DISPATCHER,
    JOB_TAG,
    LAUNCHED_TAG,
    ORIGIN_TAG,
    PRIORITY_TAG,
    SEVERAL,
    SLOT_TAG,
    TYPE_TAG,
    VIDEO_TAG,
    VRAM_TAGS,
)

_HEAVIEST = (ResourceCategory.GPU_AI, ResourceCategory.GPU_ENCODE, ResourceCategory.CPU)


def is_launched_by_hand(run: dg.DagsterRun) -> bool:
    """Whether nobody but Dagster's user has asked for it. A re-execution carries the tags of the run it repeats."""
    return run.parent_run_id is not None or run.tags.get(SENSOR_NAME_TAG) != DISPATCHER or JOB_TAG not in run.tags


def is_adopted(run: dg.DagsterRun) -> bool:
    """Whether it has its rows."""
    return run.tags.get(ADOPTED_TAG) == run.run_id


def is_of_backfill(run: dg.DagsterRun) -> bool:
    return BACKFILL_ID_TAG in run.tags


def take_rows(run: dg.DagsterRun, kinds: Sequence[JobType], settings: Settings) -> list[Job]:
    """Raises InvalidJob where the run's params do not fit or its video is not there, JobAlreadyLive where another job
    is at the same work."""
    with engine_for(settings).begin() as connection:
        wanted = [_wanted(connection, kind, kinds, run) for kind in kinds]
        return adoption.take(
            connection, run.run_id, wanted, settings, repeats=run.parent_run_id, repeated=_jobs_of(run.tags)
        )


def _jobs_of(tags: Mapping[str, str]) -> list[UUID]:
    return [job_id for text in tags.get(JOB_TAG, "").split(",") if (job_id := _uuid(text)) is not None]


def _wanted(connection: sa.Connection, kind: JobType, kinds: Sequence[JobType], run: dg.DagsterRun) -> NewJob:
    """A video's partition names the video; that of a compilation the job that made it, whose params count again."""
    given, partition = _params(kind, kinds, run), run.tags.get(PARTITION_NAME_TAG)
    if partition is not None and "video_id" in params.MODELS[kind].model_fields:
        given, partition = {**given, "videoId": partition}, None
    elif partition is not None and (job_id := _uuid(partition)) is not None:
        made_by = archive.find_job(connection, job_id)
        if made_by is not None and made_by.type != kind:
            raise InvalidJob([FieldProblem("partition", f"{partition} was made by a {made_by.type} job")])
        given = {**(made_by.params if made_by else {}), **given}
    return NewJob(kind, given, priority=_priority(run), origin=Origin.DAGSTER, partition_key=partition)


def kinds_of(plan: ExecutionPlanSnapshot) -> list[JobType]:
    """The job types of the assets that a run makes. Empty: it makes none of ours."""
    assets = {asset_of(key) for key in plan.step_keys_to_execute}
    return sorted(TYPE_OF[asset] for asset in assets & TYPE_OF.keys())


def asset_of(step_key: str) -> str:
    """ "streaming_rendition.find_source" → "streaming_rendition". A graph that would be called as its pipeline is has a
    suffix: "library_report_graph.report_on_library" → "library_report"."""
    return step_key.partition(".")[0].removesuffix("_graph")


def _params(kind: JobType, kinds: Sequence[JobType], run: dg.DagsterRun) -> dict[str, Any]:
    """What the launchpad says at `resources.job.config.params`; where a run makes several assets, by job type."""
    config: Any = run.run_config
    for key in ("resources", "job", "config", "params"):
        config = config.get(key, {}) if isinstance(config, Mapping) else {}
    given = dict(config) if isinstance(config, Mapping) else {}
    if len(kinds) == 1 and not (given.keys() <= {kind.value}):
        return given
    if odd := given.keys() - {one.value for one in kinds}:
        names = ", ".join(sorted(kinds))
        raise InvalidJob(
            [FieldProblem(f"params.{min(odd)}", f"this run does several jobs: give params by type, {names}")]
        )
    return dict(given.get(kind.value) or {})


def _priority(run: dg.DagsterRun) -> int:
    text = run.tags.get(PRIORITY_TAG, "")
    return int(text) if text.isdecimal() else PRIORITY_DEFAULT


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def tags_for(run: dg.DagsterRun, rows: Sequence[Job]) -> dict[str, str]:
    """What a run is found by, as one of the dispatcher's is; and on what its own limits count. What it has copied from
    the run that it repeats counts no more: its rows are given slot and VRAM when they are admitted."""
    category = next(each for each in _HEAVIEST if each in {row.resource_category for row in rows})
    videos = {str(row.video_id) for row in rows if row.video_id}
    return {
        ADOPTED_TAG: run.run_id,
        JOB_TAG: ",".join(str(row.id) for row in rows),
        TYPE_TAG: ",".join(row.type for row in rows),
        CATEGORY_TAG: category.value,
        PRIORITY_TAG: str(rows[0].priority),
        ORIGIN_TAG: Origin.DAGSTER.value,
        LAUNCHED_TAG: category.value if len(rows) == 1 else SEVERAL,
        "dagster/priority": str(-rows[0].priority),
        **({VIDEO_TAG: videos.pop()} if len(videos) == 1 else {}),
        **{tag: "" for tag in run.tags if tag in (ATTEMPT_TAG, SLOT_TAG) or tag.startswith(VRAM_TAGS)},
    }
