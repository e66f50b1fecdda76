"""Dagster's declarative automation, turned into rows: conditions stand on the assets, what they ask for is enqueued.

Stock conditions look at every partition in each tick. The one here is answered by the database, in a bounded portion.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import cache
from uuid import UUID

import dagster as dg
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._serdes import deserialize_value, serialize_value
from dagster_shared.serdes.errors import DeserializationError

from jobqueue_bridge import automation as wanting
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import AUTOMATED, JobType
from media_pipelines.pipelines import PIPELINES

_PAUSE_S = 30
# Dagster's evaluator tells each of its steps; what came of them is in the tick.
_TELLS_TOO_MUCH = "dagster.automation_condition_tester"


class ContentIsNew(dg.AutomationCondition[dg.AssetKey]):
    """Of the videos whose content no job of a type has worked on, the next few."""

    def __init__(self, kind: JobType) -> None:
        self.kind = kind

    @property
    def requires_cursor(self) -> bool:
        """What was asked for is noted in the database."""
        return False

    @property
    def description(self) -> str:
        return f"the video has none, or its file has changed, and no {self.kind} job of it waits or runs"

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        with engine_for(load_settings()).begin() as connection:
            keys = {str(video_id) for video_id in wanting.wanted(connection, self.kind)}
        partitions = PIPELINES[self.kind].partitions
        assert partitions is not None
        subset = context.asset_graph_view.get_subset_from_partition_keys(context.key, partitions, keys)
        return dg.AutomationResult(context, true_subset=subset)


def with_conditions(assets: Sequence[dg.AssetsDefinition], names: Sequence[str]) -> list[dg.AssetsDefinition]:
    """The same; those of these names say in Dagster on which condition they are made by themselves."""
    wanted = {dg.AssetKey(name) for name in names}
    return [dg.map_asset_specs(_conditioned, [asset])[0] if asset.key in wanted else asset for asset in assets]


def _conditioned(spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec.replace_attributes(automation_condition=ContentIsNew(AUTOMATED[spec.key.to_user_string()]))


def sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """None where the settings make nothing automatic."""
    return [automation] if settings.automation else []


@dg.sensor(
    minimum_interval_seconds=_PAUSE_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Evaluates the conditions of what is made by itself, and puts a row into the queue for each partition "
    "that they ask for; requests no run itself.",
)
def automation(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    settings = load_settings()
    names = tuple(sorted(settings.automation))
    if not names:
        return dg.SensorResult(skip_reason="MEDIA_AUTOMATION names nothing.", cursor=context.cursor)
    logging.getLogger(_TELLS_TOO_MUCH).setLevel(logging.WARNING)
    found = dg.evaluate_automation_conditions(
        _evaluated(names),
        context.instance,
        asset_selection=dg.AssetSelection.assets(*names),
        cursor=_cursor(context.cursor),
    )
    made = {name: _enqueue(name, found.get_requested_partitions(dg.AssetKey(name)), settings) for name in names}
    said = ", ".join(f"{name} {count}" for name, count in made.items())
    context.log.info(f"Enqueued: {said}")
    return dg.SensorResult(
        skip_reason=f"Enqueued: {said}.",
        cursor=serialize_value(found.cursor),
        # which the asset's page shows as what its condition has asked for
        automation_condition_evaluations=[
            result.serializable_evaluation for result in found.results if not result.true_subset.is_empty
        ],
    )


@cache
def _evaluated(names: tuple[str, ...]) -> dg.Definitions:
    """The assets without their ops: to know whether one is wanted, Dagster needs not know how it is made. Each on its
    own: of specs that are given together it takes for granted that one run makes them all."""
    assets = [PIPELINES[AUTOMATED[name]].asset for name in names]
    specs = [_conditioned(asset.get_asset_spec(asset.key)) for asset in assets]
    return dg.Definitions(assets=[dg.AssetsDefinition(specs=[spec]) for spec in specs])


def _cursor(stored: str | None) -> AssetDaemonCursor | None:
    """None: there is none yet, or one of another release of Dagster."""
    try:
        return deserialize_value(stored, AssetDaemonCursor) if stored else None
    except (DeserializationError, ValueError):
        return None


def _enqueue(name: str, keys: Iterable[str | None], settings: Settings) -> int:
    with engine_for(settings).begin() as connection:
        return len(wanting.ask(connection, AUTOMATED[name], sorted(UUID(key) for key in keys if key), settings))
