"""What the workers of a `Prober` run: one file, opened and described."""

import collections
import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from media_pipelines.media import errors, mp4
from media_pipelines.media.containers import opened, regular_size
from media_pipelines.media.frames import Frames, fps_of, stream_duration_s, tag_of
from media_pipelines.media.probe import Color, Hdr10, Probe, Stream, stream_end_s

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Numbers of ITU-T H.273, which libav uses, by ffmpeg's names. "Unspecified" is left out on purpose.
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 11: "iec61966-2-4",
    12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428",
    18: "arib-std-b67",
}  # fmt: skip
_MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c", 14: "ictcp",
}  # fmt: skip
_RANGES: dict[int, Literal["tv", "pc"]] = {1: "tv", 2: "pc"}
_LATE_START_S = 0.1
_LONGEST_PACKET_S = 1
_INTERLACED = {2, 3, 4, 5}  # AVFieldOrder
# As many as help: the end of a long group of pictures is decoded frame by frame.
_DECODING_THREADS = min(4, os.cpu_count() or 1)
# A file without a duration is read once to find it, unless that would take too long.
_MEASURED_BYTES = 4_000_000_000
_BOXES_AT_MOST = 1000


def read(path_text: str, decode_frames: int, decode_end: bool = True) -> Probe:
    """Read one file in this process: what the workers run. Raises UnreadableMedia or NoVideoStream."""
    return _read(path_text, decode_frames, decode_end=decode_end, needs_first=True)


def glance(path_text: str) -> Probe:
    """The same without colour and scanning of the picture, whose first frame is decoded only where nothing else says
    how it is turned."""
    return _read(path_text, 0, decode_end=False, needs_first=False)


def glance_each(path_text: str, more: Sequence[str]) -> list[Probe | errors.MediaError]:
    """Several in a row: handing a file to a worker and back takes as long as reading it."""
    verdicts: list[Probe | errors.MediaError] = []
    for one in (path_text, *more):
        try:
            verdicts.append(glance(one))
        except errors.MediaError as error:
            verdicts.append(error)
    return verdicts


def _read(path_text: str, decode_frames: int, *, decode_end: bool, needs_first: bool) -> Probe:
    path = Path(path_text)
    size_bytes = regular_size(path)
    with opened(path) as container:
        return _describe(container, path, size_bytes, decode_frames, decode_end=decode_end, needs_first=needs_first)


def read_through(path_text: str) -> dict[int, float]:
    """Seconds of packets by stream: what `Prober.measure` runs. Raises UnreadableMedia."""
    path = Path(path_text)
    regular_size(path)
    seconds: collections.Counter[int] = collections.Counter()
    bases: dict[int, Fraction] = {}
    usual: dict[int, int] = {}
    with opened(path) as container:
        wanted = [stream for stream in container.streams if stream.type in ("video", "audio")]
        for packet in container.demux(wanted):
            index, ticks = packet.stream.index, packet.duration or 0
            bases[index] = packet.time_base
            # Before a jump of the clock a packet may claim to last until after it.
            usual[index] = ticks if ticks * packet.time_base <= _LONGEST_PACKET_S else usual.get(index, 0)
            seconds[index] += usual[index]
    return {index: float(ticks * bases[index]) for index, ticks in seconds.items()}


def _describe(
    container: "InputContainer", path: Path, size_bytes: int, decode_frames: int, *, decode_end: bool, needs_first: bool
) -> Probe:
    _require_whole(container, path, size_bytes)
    start_s = (container.start_time or 0) / 1_000_000
    streams = tuple(_stream(stream, start_s) for stream in container.streams)
    candidates = [stream for stream in streams if stream.kind == "video" and not stream.is_cover]
    if not candidates:
        raise errors.NoVideoStream(path)
    chosen = min(candidates, key=lambda stream: not stream.is_default)
    video = _video_stream(container, chosen.index, path, threads=_DECODING_THREADS if decode_end else 1)
    duration_s = _duration_s(container, streams)
    frames = Frames(container, video, path)
    is_mp4 = "mp4" in container.format.name.split(",")
    first = frames.first() if needs_first or not is_mp4 or not mp4.is_upright(path) else None
    if duration_s is not None and start_s > _LATE_START_S and "matroska" in container.format.name:
        duration_s = frames.length_s(duration_s, start_s)
        streams = tuple(_within(stream, duration_s, start_s) for stream in streams)
        chosen = next(stream for stream in streams if stream.index == chosen.index)
    rotation = _rotation(first)
    if duration_s is None and size_bytes <= _MEASURED_BYTES:
        duration_s = frames.measured_duration_s()
    frames_decoded = frames.spread(decode_frames, duration_s, chosen, decode_end=decode_end) if decode_frames else 0

    context = video.codec_context
    if not context.width or not context.height:
        raise errors.UnreadableMedia(path, "the size of its picture is unknown")
    turned = rotation in (90, 270)
    audio = sorted((s for s in streams if s.kind == "audio"), key=lambda stream: not stream.is_default)
    return Probe(
        path=path,
        size_bytes=size_bytes,
        container=container.format.name,
        duration_s=duration_s,
        width=context.height if turned else context.width,
        height=context.width if turned else context.height,
        rotation=rotation,
        sar=_sar(video, turned=turned),
        fps=fps_of(video),
        video_codec=chosen.codec,
        pix_fmt=context.pix_fmt,
        audio_codec=audio[0].codec if audio else None,
        has_audio=bool(audio),
        has_video=True,
        bitrate_kbps=round(size_bytes * 8 / duration_s / 1000) if duration_s else None,
        streams=streams,
        video_index=chosen.index,
        frames_decoded=frames_decoded,
        color=_color(first),
        hdr10=_hdr10(first),
        bit_depth=_bit_depth(context.pix_fmt),
        interlaced=context.field_order in _INTERLACED or bool(first is not None and first.interlaced_frame),
        chapters=len(container.chapters()),
    )


def _require_whole(container: "InputContainer", path: Path, size_bytes: int) -> None:
    """An MP4's index says where each sample lies: a truncated file is told without reading its data. Of an index that
    is itself cut libav reads the tracks that are left, so that one would be lost in silence."""
    if "mp4" not in container.format.name.split(","):
        return
    index_end = _index_end(path, size_bytes)
    if index_end > size_bytes:
        raise errors.UnreadableMedia(path, f"it is truncated: {size_bytes} of at least {index_end} bytes")
    lasts = [stream.index_entries[-1] for stream in container.streams if len(stream.index_entries)]
    needed_bytes = max((entry.pos + entry.size for entry in lasts), default=0)
    if needed_bytes > size_bytes:
        raise errors.UnreadableMedia(path, f"it is truncated: {size_bytes} of at least {needed_bytes} bytes")


def _index_end(path: Path, size_bytes: int) -> int:
    """Where the `moov` box of an MP4 says that it ends; 0 where none is found among the first boxes."""
    at = 0
    with path.open("rb") as file:
        for _ in range(_BOXES_AT_MOST):
            if at + 8 > size_bytes:
                break
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4])
            if length == 1:
                length = int.from_bytes(head[8:16])
            if head[4:8] == b"moov":
                return at + length
            if length < 8:
                break
            at += length
    return 0


def _video_stream(container: "InputContainer", index: int, path: Path, threads: int) -> "VideoStream":
    from av.video.stream import VideoStream

    stream = container.streams[index]
    assert isinstance(stream, VideoStream)
    if stream.codec_context is None:  # whatever PyAV's types say
        raise errors.UnreadableMedia(path, "its video is in a format that cannot be decoded here")
    stream.codec_context.thread_count = threads
    stream.codec_context.thread_type = "AUTO"
    return stream


def _rotation(first: Any) -> int:
    """Clockwise degrees, from the first frame: libav gives the display matrix with frames only."""
    return round(-first.rotation / 90) * 90 % 360 if first is not None else 0


def _color(first: Any) -> Color:
    """From the first frame: what the bit stream says overrules the container."""
    if first is None:
        return Color()
    return Color(
        primaries=_PRIMARIES.get(first.color_primaries),
        transfer=_TRANSFERS.get(first.color_trc),
        matrix=_MATRICES.get(first.colorspace),
        range=_RANGES.get(first.color_range),
    )


def _hdr10(first: Any) -> Hdr10 | None:
    from av.sidedata.sidedata import Type

    if first is None:
        return None
    display = _side_data(first, Type.MASTERING_DISPLAY_METADATA)
    light = _side_data(first, Type.CONTENT_LIGHT_LEVEL)
    return _mastering(display, *(struct.unpack_from("=2I", light) if light else (0, 0))) if display else None


def _side_data(frame: Any, kind: Any) -> bytes | None:
    try:
        return bytes(frame.side_data[kind])
    except KeyError:
        return None


def _mastering(display: bytes, max_cll: int, max_fall: int) -> Hdr10 | None:
    """AVMasteringDisplayMetadata: eight chromaticities and two luminances as fractions, then which of them are set."""
    *numbers, has_primaries, has_luminance = struct.unpack_from("=22i", display)
    values = [top / bottom if bottom else 0.0 for top, bottom in zip(numbers[::2], numbers[1::2], strict=True)]
    if not has_primaries or not has_luminance:
        return None
    red, green, blue, white = (
        (round(x * 50_000), round(y * 50_000)) for x, y in zip(values[:8:2], values[1:8:2], strict=True)
    )
    dark, bright = (round(value * 10_000) for value in values[8:])
    return Hdr10(red, green, blue, white, bright, dark, max_cll, max_fall)


def _bit_depth(pix_fmt: str | None) -> int:
    import av

    return max((part.bits for part in av.VideoFormat(pix_fmt).components), default=8) if pix_fmt else 8


def _stream(stream: Any, file_start_s: float) -> Stream:
    """One libav stream. Typed Any: what a stream has depends on its kind, and unknown codecs have no context."""
    from av.stream import Disposition

    context = stream.codec_context
    sound = context if stream.type == "audio" else None
    return Stream(
        index=stream.index,
        kind=stream.type if stream.type in ("video", "audio", "subtitle", "attachment") else "data",
        codec=context.codec.canonical_name if context is not None else "unknown",
        language=tag_of(stream, "language", missing="und"),
        title=tag_of(stream, "title"),
        channels=sound.channels if sound else None,
        channel_layout=sound.layout.name if sound else None,
        sample_rate_hz=sound.sample_rate if sound else None,
        duration_s=stream_duration_s(stream),
        start_s=float(stream.start_time * stream.time_base) - file_start_s if stream.start_time is not None else 0.0,
        time_base=str(stream.time_base) if stream.time_base else None,
        config=_digest(getattr(context, "extradata", None)),
        is_default=bool(stream.disposition & Disposition.default),
        is_cover=bool(stream.disposition & Disposition.attached_pic),
    )


def _within(stream: Stream, duration_s: float, start_s: float) -> Stream:
    """The same stream with its length counted from the start of the file, where it was from zero."""
    if stream.duration_s is None or stream.duration_s <= duration_s + _LATE_START_S:
        return stream
    return replace(stream, duration_s=max(0.0, stream.duration_s - start_s))


def _digest(extradata: bytes | None) -> str:
    return hashlib.sha256(extradata).hexdigest()[:16] if extradata else ""


def _duration_s(container: "InputContainer", streams: tuple[Stream, ...]) -> float | None:
    """As the container says; of sound and picture alone where a subtitle goes on after them, as those of DVDs do for
    49 days."""
    if not container.duration or container.duration < 0:
        known = [stream.duration_s for stream in streams if stream.duration_s]
        return max(known) if known else None
    declared_s = float(container.duration / 1_000_000)
    matroska = "matroska" in container.format.name
    ends_s: dict[bool, list[float | None]] = {True: [], False: []}
    for stream in streams:
        if not stream.is_cover:
            ends_s[stream.kind in ("video", "audio")].append(stream_end_s(stream, matroska=matroska))
    shown_s = [end_s for end_s in ends_s[True] if end_s]
    others_s = [end_s for end_s in ends_s[False] if end_s]
    if len(shown_s) < len(ends_s[True]) or not others_s or max(others_s) <= max(shown_s):
        return declared_s
    return min(declared_s, max(shown_s))


def _sar(video: "VideoStream", *, turned: bool) -> Fraction:
    sar = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
    if not sar or sar <= 0:
        return Fraction(1)
    return 1 / Fraction(sar) if turned else Fraction(sar)
