"""The doorway to ffmpeg and to the probing of files."""

from pathlib import Path

import dagster as dg

from jobqueue_bridge.settings import load_settings
from media_pipelines.media import ffmpeg
from media_pipelines.media.prober import Prober


class Ffmpeg(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The configured ffmpeg, else the one on PATH, else the packaged one."""

    @property
    def program(self) -> Path:
        return ffmpeg.find_ffmpeg(load_settings().ffmpeg_binary or None)

    @property
    def stall_timeout_s(self) -> float:
        return load_settings().stall_timeout_seconds

    @property
    def prefers_hardware(self) -> bool:
        return load_settings().prefer_hardware_encoder

    def prober(self, workers: int = 1) -> Prober:
        return Prober(workers=workers)
