"""One video, encoded anew for the web; and which of its streams come along."""

from collections.abc import Sequence
from pathlib import Path

from media_pipelines.media.commands.arguments import filtered, given, h264, mapped, named
from media_pipelines.media.encoders import Encoder
from media_pipelines.media.probe import Probe, Stream

# Subtitles that mov_text can hold; the others are pictures or need their own player.
TEXT_SUBTITLES = frozenset(
    {"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text", "microdvd", "subviewer", "subviewer1", "sami"}
    | {"realtext", "jacosub", "mpl2", "pjs", "vplayer", "stl", "ttml"}
)
MAX_CHANNELS = 6
# What AAC holds; a source may have 192 kHz.
_MAX_SAMPLE_RATE_HZ = 48_000
_MAX_FPS = 120


def reencode(
    ffmpeg: Path,
    source: Probe,
    output: Path,
    *,
    encoder: Encoder,
    preset: str,
    crf: int,
    max_bitrate_kbps: int,
    audio_bitrate_kbps: int = 128,
) -> list[str]:
    """A rendition for the web: H.264 High, yuv420p, every audio track as AAC, text subtitles, in a fast-start MP4.

    Rotation is applied, the pixel aspect and the frame times are kept, an odd size loses its last row or column.
    `audio_bitrate_kbps` is for stereo; more channels get as much more. What is left out: `dropped_streams`.
    """
    return [
        str(ffmpeg),
        "-y",
        *given(source.path),
        "-map", f"0:{source.video_index}",
        *mapped(kept_audio(source)),
        *mapped(kept_subtitles(source)),
        "-map_metadata", "0",
        "-map_chapters", "0",
        *filtered(_even(source)),
        *h264(encoder, preset, crf),
        *_capped(max_bitrate_kbps),
        *_sane_rate(source),
        *_audio(kept_audio(source), audio_bitrate_kbps),
        "-c:s", "mov_text",
        "-movflags", "+faststart",
        "-f", "mp4",
        named(output),
    ]  # fmt: skip


def kept_audio(source: Probe) -> tuple[Stream, ...]:
    """The audio streams that a rendition keeps, the default one first."""
    return tuple(stream for stream in source.audio if _reason_to_drop(stream) is None)


def kept_subtitles(source: Probe) -> tuple[Stream, ...]:
    return tuple(stream for stream in source.of_kind("subtitle") if _reason_to_drop(stream) is None)


def dropped_streams(source: Probe) -> tuple[str, ...]:
    """What a rendition leaves out and why, a line for each stream."""
    kept = {source.video_index}
    lines = []
    for stream in source.streams:
        reason = None if stream.index in kept else _reason_to_drop(stream)
        if reason is not None:
            lines.append(f"stream {stream.index} ({stream.kind}, {stream.codec}): {reason}")
    return tuple(lines)


def _reason_to_drop(stream: Stream) -> str | None:
    match stream.kind:
        case "audio":
            playable = stream.codec != "unknown" and stream.channels
            return None if playable else "this ffmpeg cannot decode it"
        case "subtitle":
            return None if stream.codec in TEXT_SUBTITLES else "MP4 holds text subtitles only"
        case "video":
            return "cover art" if stream.is_cover else "a rendition holds one video stream"
        case "data" | "attachment":
            return "MP4 does not hold it"


def _even(source: Probe) -> list[str]:
    """H.264 in yuv420p wants even sizes. Cropping a line keeps every other pixel as it was; scaling would blur all."""
    if source.width % 2 == 0 and source.height % 2 == 0:
        return []
    return ["scale=w='max(2,iw)':h='max(2,ih)'", "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0"]


def _sane_rate(source: Probe) -> list[str]:
    """Frame times are kept as they are, unless a wrong time base claims thousands of frames a second. (Not `-fpsmax`,
    which makes every output constant and doubles the frames of a screen recording.)"""
    return ["-r", str(_MAX_FPS)] if source.fps and source.fps > _MAX_FPS else []


def _capped(max_bitrate_kbps: int) -> list[str]:
    return ["-maxrate", f"{max_bitrate_kbps}k", "-bufsize", f"{2 * max_bitrate_kbps}k"]


def _audio(streams: Sequence[Stream], stereo_kbps: int) -> list[str]:
    arguments = ["-c:a", "aac"] if streams else []
    for n, stream in enumerate(streams):
        channels = min(stream.channels or 2, MAX_CHANNELS)
        arguments += [f"-b:a:{n}", f"{stereo_kbps * max(2, channels) // 2}k"]
        arguments += [f"-disposition:a:{n}", "default" if n == 0 else "0"]
        if channels != stream.channels:
            arguments += [f"-ac:a:{n}", str(channels)]
        if (stream.sample_rate_hz or 0) > _MAX_SAMPLE_RATE_HZ:
            arguments += [f"-ar:a:{n}", str(_MAX_SAMPLE_RATE_HZ)]
    return arguments
