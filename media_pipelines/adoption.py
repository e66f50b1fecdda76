"""What a run that somebody launched in Dagster itself is to do, as rows of the queue: one for each asset that it makes.

A person materializes partitions, starts a backfill or re-executes a run in Dagster's UI; the work still waits in the
one line, within the one budget. The run coordinator asks for the rows when the run is submitted; under a stock one the
run does so itself, when it begins.
"""

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any
from uuid import UUID

import dagster as dg
from dagster._core.snap import ExecutionPlanSnapshot
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG, SENSOR_NAME_TAG

from jobqueue_bridge import adoption, params
from jobqueue_bridge.adoption import Wanted
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


def take_rows(run: dg.DagsterRun, kinds: Mapping[JobType, JobType | None], settings: Settings) -> list[Job]:
    """Raises InvalidJob where the run's params do not fit or its video is not there, JobAlreadyLive where another job
    is at the same work."""
    with engine_for(settings).begin() as connection:
        wanted = []
        for kind, after in kinds.items():
            given = _params(kind, kinds, run)
            partition = run.tags.get(PARTITION_NAME_TAG)
            if partition is not None and "video_id" in params.MODELS[kind].model_fields:
                given, partition = {**given, "videoId": partition}, None
            elif partition is not None and (made_by := _uuid(partition)) is not None:
                given = {**adoption.params_of(connection, made_by), **given}
            job = NewJob(kind, given, priority=_priority(run), origin=Origin.DAGSTER, partition_key=partition)
            wanted.append(Wanted(job, after))
        return adoption.take(connection, run.run_id, wanted, settings, repeats=run.parent_run_id)


def kinds_of(plan: ExecutionPlanSnapshot) -> dict[JobType, JobType | None]:
    """The job types of the assets that a run makes, in an order that respects lineage; each with one that it builds
    upon, if the run makes such a one too. Empty: it makes none of ours."""
    executed = set(plan.step_keys_to_execute)
    upstream: dict[str, set[str]] = {}
    for step in plan.steps:
        if step.key in executed and (asset := asset_of(step.key)) in TYPE_OF:
            sources = [handle.step_key for each in step.inputs for handle in each.upstream_output_handles]
            found = {asset_of(source) for source in sources if source in executed}
            upstream.setdefault(asset, set()).update(found & TYPE_OF.keys() - {asset})
    order = list(TopologicalSorter(upstream).static_order())
    return {TYPE_OF[asset]: _last(order, upstream[asset]) for asset in order}


def asset_of(step_key: str) -> str:
    """ "streaming_rendition.find_source" → "streaming_rendition". A graph that would be called as its pipeline is has a
    suffix: "library_report_graph.report_on_library" → "library_report"."""
    return step_key.partition(".")[0].removesuffix("_graph")


def _last(order: Sequence[str], among: set[str]) -> JobType | None:
    found = [asset for asset in order if asset in among]
    return TYPE_OF[found[-1]] if found else None


def _params(kind: JobType, kinds: Mapping[JobType, JobType | None], run: dg.DagsterRun) -> dict[str, Any]:
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
        ATTEMPT_TAG: "",
        TYPE_TAG: ",".join(row.type for row in rows),
        CATEGORY_TAG: category.value,
        PRIORITY_TAG: str(rows[0].priority),
        ORIGIN_TAG: Origin.DAGSTER.value,
        LAUNCHED_TAG: category.value if len(rows) == 1 else SEVERAL,
        SLOT_TAG: "",
        "dagster/priority": str(-rows[0].priority),
        **({VIDEO_TAG: videos.pop()} if len(videos) == 1 else {}),
        **{tag: "" for tag in run.tags if tag.startswith(VRAM_TAGS)},
    }
