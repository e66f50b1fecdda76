"""Down the ladder of encoders inside an attempt: the best proven way first, the next when a device fails it."""

from dataclasses import replace

from media_pipelines.media import encoders, errors
from media_pipelines.media.encoders import Way
from media_pipelines.media.errors import FfmpegFailed, FfmpegStalled
from media_pipelines.media.plan import VideoPlan
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg

# How many attempts wait for a busy device before software does the job: slowly is better than never.
_WAITS_FOR_THE_DEVICE = 3


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
        self._attempt.decided(f"Encoder: {way} ({way.reason})")
        if self._video:
            hardware = way.encoder.hardware
            self._attempt.vram.encodes(self._video.codec, self._video.width, self._video.height, hardware=hardware)
        if self._video and self._video.hdr == "tonemap" and not way.tone_map:
            self._attempt.decided("No tone mapping: this ffmpeg has none that works; the HDR curve is kept")
        return way

    def steps_down(self, error: FfmpegFailed | FfmpegStalled) -> bool:
        """Whether there is another way and the error is the device's doing; then it is the next to be asked for.

        A device that worked in the trial and has no session or no memory left is busy: before software takes over, the
        job waits for it, which uses up no retry.
        """
        if len(self._ways) < 2 or not self._ways[0].encoder.hardware or not encoders.blames_hardware(error):
            return False
        if not self._ways[1].encoder.hardware and self._waits_for_the_device(error):
            return False
        failed = self._ways.pop(0)
        self._failures.append(f"{failed} failed: {_cause(error)}")
        self._attempt.decided(f"{self._failures[-1]}; the next way is tried")
        return True

    def _waits_for_the_device(self, error: FfmpegFailed | FfmpegStalled) -> bool:
        if isinstance(error, FfmpegStalled) or self._attempt.job.attempt > _WAITS_FOR_THE_DEVICE:
            return False
        said = "\n".join(error.stderr_tail)
        if errors.is_session_limit(said):
            return True
        return errors.is_out_of_gpu_memory(said) and not self._attempt.vram.exhausted()

    def _with_failures(self, way: Way) -> Way:
        if not self._failures:
            return way
        reason = "; ".join([*self._failures, way.encoder.reason])
        return replace(way, encoder=replace(way.encoder, reason=reason))


def _cause(error: FfmpegFailed | FfmpegStalled) -> str:
    if isinstance(error, FfmpegStalled):
        return f"no progress for {error.stall_s:g} s"
    return encoders.short_reason("\n".join(error.stderr_tail), error.exit_code)
