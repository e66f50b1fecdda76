"""The explicit list of everything that Dagster sees."""

import logging

import dagster as dg

from jobqueue_bridge import process_log
from jobqueue_bridge.settings import load_settings
from media_pipelines import schedules
from media_pipelines.assets.checks import ALL_CHECKS
from media_pipelines.assets.code import Asset, with_code
from media_pipelines.assets.compilations import mega_compilation, quad_compilation, random_compilation
from media_pipelines.assets.insights import clips, digest, highlights, scenes, tags, video_analysis
from media_pipelines.assets.library import (
    library_report,
    library_scan,
    library_video,
    place_in_library,
    public_gallery_scan,
)
from media_pipelines.assets.renditions import compliant_video, gif, streaming_rendition, thumbnail, video_metadata
from media_pipelines.pipelines import PIPELINES
from media_pipelines.platform import dev
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.gpu import Gpu
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue
from media_pipelines.sensors import automation
from media_pipelines.sensors.dispatch import dispatch
from media_pipelines.sensors.inbox import inbox
from media_pipelines.sensors.library import library_checks, library_notes
from media_pipelines.sensors.library_folders import library_folders
from media_pipelines.sensors.purge import nightly_purge
from media_pipelines.sensors.reconcile import reconcile
from media_pipelines.sensors.run_failures import run_failures


def _quiet_console(context: dg.InitLoggerContext) -> logging.Logger:
    del context
    logger = logging.Logger("dagster-run", level=logging.WARNING)
    handler = logging.StreamHandler()
    handler.setFormatter(process_log.formatter(load_settings().log_format))
    logger.addHandler(handler)
    return logger


if dev.is_code_server():
    dev.hold_database(load_settings())

_ASSETS: list[Asset] = [
    library_video,
    library_scan,
    public_gallery_scan,
    library_report,
    place_in_library,
    *automation.with_conditions([video_metadata, thumbnail], load_settings().automation),
    streaming_rendition,
    compliant_video,
    gif,
    video_analysis,
    scenes,
    tags,
    highlights,
    digest,
    clips,
    random_compilation,
    quad_compilation,
    mega_compilation,
]

_queue = Queue()
defs = dg.Definitions(
    assets=with_code(_ASSETS, load_settings().source_url),
    asset_checks=ALL_CHECKS,
    jobs=[pipeline.definition for pipeline in PIPELINES.values()],
    sensors=[
        dispatch,
        reconcile,
        inbox,
        library_folders,
        library_notes,
        library_checks,
        nightly_purge,
        run_failures,
        *automation.sensors(load_settings()),
    ],
    schedules=schedules.definitions(load_settings()),
    resources={
        "job": JobRow.configure_at_launch(queue=_queue),
        "queue": _queue,
        "library": Library(),
        "ffmpeg": Ffmpeg(),
        "gpu": Gpu(),
        # what ops hand to each other outlives their run, so that a failed one can go on where it failed
        "io_manager": dg.FilesystemIOManager(base_dir=str(load_settings().step_outputs_dir)),
    },
    executor=dg.in_process_executor,
    loggers={
        "console": dg.LoggerDefinition(
            _quiet_console,
            description="Warnings and errors alone: events are in Dagster's storage, a job's log is on its row.",
        )
    },
)
