"""Files below library/ → rows. What is new, changed or gone there, and stands still, gets a scan with its like."""

import dagster as dg

from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.vocabulary import Origin
from media_pipelines.sensors import arrivals

GROUND = arrivals.Ground("library", Origin.FOLDER, patience_s=30, by_type=True)


@dg.sensor(
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notices files below library/ that are new, changed or gone, and puts scans of them into the queue.",
)
def library_folders(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    return arrivals.evaluate(GROUND, load_settings(), context.cursor)
