"""The plan of a rendition for the web: H.264 and AAC in a fast-start MP4; and which streams a container can take."""

from media_pipelines.media.plan import Bitrate, Container, Crf, EncodePlan, Target, TrackPlan, VideoPlan
from media_pipelines.media.probe import Probe, Stream

# Subtitles that are text: mov_text and WebVTT can hold them. The others are pictures or need their own player.
TEXT_SUBTITLES = frozenset(
    {"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text", "microdvd", "subviewer", "subviewer1", "sami"}
    | {"realtext", "jacosub", "mpl2", "pjs", "vplayer", "stl", "ttml"}
)
# What Matroska stores as it is; other text becomes SubRip there.
_MATROSKA_SUBTITLES = frozenset(
    {"subrip", "srt", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"}
)
_COVERS = frozenset({"mjpeg", "png"})
MAX_CHANNELS = 6
STEREO_KBPS = 128


def rendition(
    source: Probe,
    *,
    quality: Crf | Bitrate | Target,
    preset: str,
    max_bitrate_kbps: int | None,
    stereo_kbps: int = STEREO_KBPS,
) -> EncodePlan:
    """H.264 High in 8 bits, every audio track as AAC, text subtitles. An odd size loses its last row or column; HDR
    becomes SDR; interlaced becomes progressive. `stereo_kbps` is for stereo: more channels get as much more."""
    video = VideoPlan(
        codec="h264",
        quality=quality,
        preset=preset,
        width=max(2, source.width // 2 * 2),
        height=max(2, source.height // 2 * 2),
        max_bitrate_kbps=max_bitrate_kbps,
        hdr="tonemap" if source.hdr else "none",
        deinterlace=source.interlaced,
    )
    return EncodePlan(
        container="mp4",
        video=video,
        audio=tuple(aac(stream, stereo_kbps) for stream in playable_audio(source)),
        subtitles=subtitles(source, "mp4"),
        dropped=dropped(source, "mp4", covers=False),
    )


def aac(stream: Stream, stereo_kbps: int = STEREO_KBPS) -> TrackPlan:
    channels = min(stream.channels or 2, MAX_CHANNELS)
    return TrackPlan(stream, "aac", stereo_kbps * max(2, channels) // 2, channels)


def playable_audio(source: Probe) -> tuple[Stream, ...]:
    """The audio streams that can be decoded, the default one first."""
    return tuple(stream for stream in source.audio if _is_playable(stream))


def subtitles(source: Probe, container: Container) -> tuple[TrackPlan, ...]:
    """Every subtitle that the container can hold: copied where it may stay as it is, else converted."""
    found = ((stream, subtitle_codec(stream, container)) for stream in source.of_kind("subtitle"))
    return tuple(TrackPlan(stream, None if codec == "copy" else codec) for stream, codec in found if codec)


def subtitle_codec(stream: Stream, container: Container) -> str | None:
    """What a subtitle becomes in a container: "copy", a codec, or None where it cannot be kept."""
    is_text = stream.codec in TEXT_SUBTITLES
    match container:
        case "mp4":
            return "mov_text" if is_text else None
        case "webm":
            return "webvtt" if is_text else None
        case "matroska":
            return "copy" if stream.codec in _MATROSKA_SUBTITLES else "subrip" if is_text else None


def attachments(source: Probe, container: Container) -> tuple[Stream, ...]:
    """Fonts and the like, and cover art, where the container holds them."""
    return tuple(
        stream
        for stream in source.streams
        if (stream.kind == "attachment" or stream.is_cover)
        and _reason_to_drop(stream, source, container, covers=True) is None
    )


def dropped(source: Probe, container: Container, *, covers: bool) -> tuple[str, ...]:
    """What does not come along and why, a line for each stream. `covers`: whether cover art is wanted."""
    lines = []
    for stream in source.streams:
        reason = _reason_to_drop(stream, source, container, covers=covers)
        if reason is not None:
            lines.append(f"stream {stream.index} ({stream.kind}, {stream.codec}): {reason}")
    return tuple(lines)


def _reason_to_drop(stream: Stream, source: Probe, container: Container, *, covers: bool) -> str | None:
    if stream.index == source.video_index:
        return None
    name = {"mp4": "MP4", "webm": "WebM", "matroska": "Matroska"}[container]
    match stream.kind:
        case "audio":
            return None if _is_playable(stream) else "this ffmpeg cannot decode it"
        case "subtitle" if subtitle_codec(stream, container) is None:
            return f"{name} holds text subtitles only" if container != "matroska" else f"{name} does not hold it"
        case "subtitle":
            return None
        case "video" if stream.is_cover:
            return None if covers and container != "webm" and stream.codec in _COVERS else "cover art"
        case "video":
            return "one video stream is kept"
        case "attachment":
            return None if container == "matroska" else f"{name} does not hold it"
        case "data":
            return "it is neither picture, sound nor text"


def _is_playable(stream: Stream) -> bool:
    return stream.codec != "unknown" and bool(stream.channels)
