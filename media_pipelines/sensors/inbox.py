"""Files in inbox/ → rows. One that has stopped changing gets a scan; nothing here touches the file."""

import dagster as dg

from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.vocabulary import Origin
from media_pipelines.sensors import arrivals

GROUND = arrivals.Ground("inbox", Origin.INBOX, patience_s=5, by_type=False)


@dg.sensor(
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notices new files in inbox/ that no longer change, and puts scans of them into the queue.",
)
def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    return arrivals.evaluate(GROUND, load_settings(), context.cursor)
