"""The doorway to ffmpeg and to the probing of files."""

from pathlib import Path

from pydantic import Field

from jobqueue_bridge.settings import load_settings
from media_pipelines.media import ffmpeg
from media_pipelines.media.prober import Prober
from media_pipelines.resources.doorway import Doorway, PathText


class Ffmpeg(Doorway):
    """The configured ffmpeg, else the one on PATH, else the packaged one; or that of `Ffmpeg(program=…)`."""

    own_program: PathText | None = Field(
        default=None,
        alias="program",
        description="Another ffmpeg; empty: what `FFMPEG_BINARY` says, else one is found.",
    )
    own_stall_timeout_s: float | None = Field(
        default=None,
        alias="stall_timeout_s",
        gt=0,
        description="Seconds without progress after which it is stopped; empty: `MEDIA_STALL_TIMEOUT_SECONDS`.",
    )
    prefer_hardware: bool | None = Field(
        default=None, description="Whether to try hardware encoders; empty: `MEDIA_PREFER_HARDWARE_ENCODER`."
    )

    @property
    def program(self) -> Path:
        """Raises FfmpegMissing."""
        return ffmpeg.find_ffmpeg(self.own_program or load_settings().ffmpeg_binary or None)

    @property
    def stall_timeout_s(self) -> float:
        own = self.own_stall_timeout_s
        return load_settings().stall_timeout_seconds if own is None else own

    @property
    def prefers_hardware(self) -> bool:
        return load_settings().prefer_hardware_encoder if self.prefer_hardware is None else self.prefer_hardware

    def prober(self, workers: int = 1) -> Prober:
        return Prober(workers=workers)
