"""Down the ladder of encoders inside an attempt: the best proven way first, the next when a device fails it."""

from dataclasses import replace

from media_pipelines.media import encoders
from media_pipelines.media.encoders import Way
from media_pipelines.media.errors import FfmpegFailed, FfmpegStalled
from media_pipelines.media.plan import VideoPlan
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg


class Ladder:
    """The ways to encode a picture: hardware for decoding and encoding, hardware for the encode alone, software. They
    are proven when the first is asked for: what is only copied needs none.

    `several_sources`: without hardware decoding, which one command does for one source only.
    """

    def __init__(
        self, attempt: Attempt, ffmpeg: Ffmpeg, video: VideoPlan | None, *, several_sources: bool = False
    ) -> None:
        self._attempt = attempt
        self._ffmpeg = ffmpeg
        self._video = video
        self._several_sources = several_sources
        self._ways: list[Way] = []
        self._failures: list[str] = []

    def way(self) -> Way:
        """The first that has not failed, noted on the attempt and in its log. Raises NoEncoder."""
        if not self._ways:
            found = encoders.ways(self._ffmpeg.program, self._video, prefer_hardware=self._ffmpeg.prefers_hardware)
            self._ways = [way for way in found if not (way.hardware_decode and self._several_sources)]
        way = self._with_failures(self._ways[0])
        self._attempt.record_encoder(f"{way}: {way.reason}")
        self._attempt.log(f"Encoder: {way} ({way.reason})")
        if self._video and self._video.hdr == "tonemap" and not way.tone_map:
            self._attempt.log("No tone mapping: this ffmpeg has none that works; the HDR curve is kept")
        return way

    def steps_down(self, error: FfmpegFailed | FfmpegStalled) -> bool:
        """Whether there is another way and the error is the device's doing; then it is the next to be asked for."""
        if len(self._ways) < 2 or not self._ways[0].encoder.hardware or not encoders.blames_hardware(error):
            return False
        failed = self._ways.pop(0)
        self._failures.append(f"{failed} failed: {_cause(error)}")
        self._attempt.log(f"{self._failures[-1]}; the next way is tried")
        return True

    def _with_failures(self, way: Way) -> Way:
        if not self._failures:
            return way
        reason = "; ".join([*self._failures, way.encoder.reason])
        return replace(way, encoder=replace(way.encoder, reason=reason))


def _cause(error: FfmpegFailed | FfmpegStalled) -> str:
    if isinstance(error, FfmpegStalled):
        return f"no progress for {error.stall_s:g} s"
    return encoders.short_reason("\n".join(error.stderr_tail), error.exit_code)
