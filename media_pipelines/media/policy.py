"""What a policy makes of one video: nothing, because it complies, or a plan. Pure: the dry run and the job ask here."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from jobqueue_bridge.policy import (
    DEFAULT_AUDIO_KBPS_PER_CHANNEL,
    DEFAULT_CRF,
    PLACEHOLDERS,
    RESOLUTIONS,
    Policy,
    SkipIf,
    kbps,
)
from media_pipelines.media import files, names
from media_pipelines.media.plan import Bitrate, Codec, Container, Crf, EncodePlan, Target, TrackPlan, VideoPlan
from media_pipelines.media.probe import Probe, Stream
from media_pipelines.media.streaming import attachments, dropped, playable_audio, subtitles

Speeds = Mapping[tuple[str, str], float]

_ENCODABLE: tuple[Codec, ...] = ("h264", "hevc", "vp9", "av1")
_MP4_VIDEO = frozenset({"h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2video"})
_MP4_AUDIO = frozenset({"aac", "ac3", "eac3", "mp3", "mp2", "alac", "opus", "flac", "dts"})
_LOSSLESS_AUDIO = frozenset({"truehd", "mlp", "flac", "alac", "ape", "wavpack", "tta", "wmalossless"})
_MOST_CHANNELS: Mapping[str, int] = {"aac": 8, "ac3": 6, "eac3": 6, "opus": 8, "mp3": 2, "flac": 8}
_DOWNMIX_CHANNELS: Mapping[str, int] = {"stereo": 2, "5.1": 6}
_SUFFIXES: Mapping[Container, tuple[str, ...]] = {"mp4": (".mp4", ".m4v"), "matroska": (".mkv",), "webm": (".webm",)}
# Pixels, of either side. Found by encoding with libx264, libx265, libvpx and SVT-AV1.
_SMALLEST: Mapping[Codec, int] = {"h264": 2, "hevc": 16, "vp9": 2, "av1": 4}
_SHORT: Mapping[Container, str] = {"mp4": "mp4", "matroska": "mkv", "webm": "webm"}

# Bits per pixel at the default CRF: the order of magnitude of what live-action video takes, a guess for any one file.
_BITS_PER_PIXEL: Mapping[str, float] = {"h264": 0.1, "hevc": 0.05, "vp9": 0.05, "av1": 0.04}
# So many steps of CRF halve the bit rate. Source for the first two: FFmpeg wiki, H.264 and H.265 guides.
_CRF_TO_HALVE: Mapping[str, float] = {"h264": 6, "hevc": 6, "vp9": 10, "av1": 10}
# Pixels a second at preset medium in software: guesses, used until a job of that kind has been measured.
_GUESSED_PIXELS_PER_S: Mapping[str, float] = {"h264": 100e6, "hevc": 25e6, "vp9": 15e6, "av1": 40e6}
_GUESSED_COPY_BYTES_PER_S = 100e6
_GUESSED_LOSSLESS_KBPS_PER_CHANNEL, _GUESSED_LOSSY_KBPS_PER_CHANNEL = 600, 80
_SEARCH_FACTOR = 1.5
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Estimate:
    """What the result may be like. `measured`: the time is from earlier jobs of this codec and size, not a guess."""

    size_bytes: int | None
    seconds: float | None
    measured: bool


@dataclass(frozen=True)
class Skip:
    """Nothing is to be done, because …; `outcome`: "compliant", or what came of it when it was tried before."""

    reason: str
    outcome: str = "compliant"


@dataclass(frozen=True)
class Refuse:
    """Nothing can be done, because …"""

    reason: str


@dataclass(frozen=True)
class Encode:
    """`changes`: "h264 -> hevc", "3840x2160 -> 1920x1080", …; `streams`: a line for each stream and what becomes of
    it; `name`: of the result; `folder`: below the library root, None: in the place of the original."""

    plan: EncodePlan
    changes: tuple[str, ...]
    streams: tuple[str, ...]
    name: str
    folder: str | None
    estimate: Estimate


Decision = Skip | Encode | Refuse


def decide(policy: Policy, source: Probe, speeds: Speeds | None = None) -> Decision:
    """What the policy asks for, given what the file holds. `speeds`: seconds of video made in a second, by codec and
    quality of the result."""
    skipped = _skipped(policy.skip_if, source) if policy.skip_if else None
    if skipped is not None:
        return Skip(skipped)
    container = _container(policy, source)
    video = _video(policy, source, container)
    audio = _Audio(policy, source, container)
    changes = tuple(_changes(policy, source, video, audio, container))
    if not changes:
        return Skip(f"Already compliant ({_described(source)})")
    if video is not None and min(video.width, video.height) < _SMALLEST[video.codec]:
        return Refuse(f"a picture of {video.width}x{video.height} is too small for {video.codec}")
    plan = EncodePlan(
        container=container,
        video=video,
        audio=audio.tracks,
        subtitles=subtitles(source, container),
        attachments=attachments(source, container),
        dropped=dropped(source, container, covers=True),
    )
    return Encode(
        plan,
        changes,
        tuple(_stream_lines(source, plan)),
        result_name(source.path.name, container),
        folder_of(policy, source, plan),
        _estimate(source, plan, speeds or {}),
    )


# Whether anything is to be done


def _skipped(skip_if: SkipIf, source: Probe) -> str | None:
    """The reason to leave the file alone: every condition that is given holds."""
    held = []
    if skip_if.codec_matches:
        if source.video_codec not in skip_if.codec_matches:
            return None
        held.append(f"{source.video_codec} is one of {', '.join(skip_if.codec_matches)}")
    if skip_if.resolution_within:
        if not _fits(source.width, source.height, RESOLUTIONS[skip_if.resolution_within]):
            return None
        held.append(f"{_size(source)} is within {skip_if.resolution_within}")
    if skip_if.bitrate_under:
        if not _is_under(source, skip_if.bitrate_under):
            return None
        held.append(f"{source.bitrate_kbps} kbit/s is under {kbps(skip_if.bitrate_under)}")
    return f"Already compliant (skip_if: {'; '.join(held)})"


def _is_under(source: Probe, limit: str) -> bool:
    """Of the whole file. One whose bit rate is unknown is not under anything."""
    return source.bitrate_kbps is not None and source.bitrate_kbps < kbps(limit)


def _fits(width: int, height: int, box: tuple[int, int]) -> bool:
    """Turned with the picture: portrait is measured by its own long and short side."""
    return max(width, height) <= box[0] and min(width, height) <= box[1]


def _described(source: Probe) -> str:
    audio = ", ".join(stream.codec for stream in source.of_kind("audio")) or "no audio"
    rate = f", {source.bitrate_kbps} kbit/s" if source.bitrate_kbps else ""
    return f"{source.video_codec}, {_size(source)}{rate}; {audio}"


def _size(source: Probe) -> str:
    return f"{source.width}x{source.height}"


def _changes(
    policy: Policy, source: Probe, video: VideoPlan | None, audio: "_Audio", container: Container
) -> Iterator[str]:
    if video is not None:
        same = video.codec == source.video_codec
        yield f"{source.video_codec} encoded anew" if same else f"{source.video_codec} -> {video.codec}"
        if _even_size(source) != (video.width, video.height):
            yield f"{_size(source)} -> {video.width}x{video.height}"
    for track in audio.tracks:
        if track.codec is not None and track not in audio.added:
            yield f"audio {track.stream.index}: {track.stream.codec} -> {track.codec}"
    for _ in audio.added:
        yield f"{policy.audio_downmix} track added"
    if policy.container is not None and container not in _containers_of(source):
        yield f"{_shown_container(source)} -> {_SHORT[container]}"


def _shown_container(source: Probe) -> str:
    return source.path.suffix.lstrip(".").lower() or source.container.partition(",")[0]


# The picture


def _video(policy: Policy, source: Probe, container: Container) -> VideoPlan | None:
    """None: the picture complies and is copied."""
    width, height = _fitted(policy, source)
    shrinks = (width, height) != _even_size(source)
    wrong_codec = policy.target_video_codec is not None and source.video_codec != policy.target_video_codec
    too_much = policy.skip_if is not None and _exceeds(policy.skip_if, source)
    unholdable = container == "mp4" and source.video_codec not in _MP4_VIDEO
    if not (shrinks or wrong_codec or too_much or unholdable):
        return None
    own: Codec = next((name for name in _ENCODABLE if name == source.video_codec), "h264")
    codec: Codec = policy.target_video_codec or own
    return VideoPlan(
        codec=codec,
        quality=_quality(policy, codec),
        preset=policy.preset,
        width=width,
        height=height,
        ten_bit=source.bit_depth > 8 and codec != "h264",
        hdr="none" if not source.hdr else "tonemap" if codec == "h264" else "keep",
        deinterlace=source.interlaced,
    )


def _exceeds(skip_if: SkipIf, source: Probe) -> bool:
    """A bit rate that the policy names and that the file is not under is a reason to encode even the right codec."""
    return skip_if.bitrate_under is not None and not _is_under(source, skip_if.bitrate_under)


def _quality(policy: Policy, codec: Codec) -> Crf | Bitrate | Target:
    if policy.target_bitrate is not None:
        return Bitrate(kbps(policy.target_bitrate))
    if policy.target_vmaf is not None:
        return Target("vmaf", policy.target_vmaf)
    if policy.target_xpsnr is not None:
        return Target("xpsnr", policy.target_xpsnr)
    return Crf(DEFAULT_CRF[codec] if policy.target_crf is None else policy.target_crf)


def _even_size(source: Probe) -> tuple[int, int]:
    return _even(source.width), _even(source.height)


def _even(pixels: float) -> int:
    """Never larger: an odd picture loses its last line."""
    return max(2, int(pixels) // 2 * 2)


def _fitted(policy: Policy, source: Probe) -> tuple[int, int]:
    """The largest even size of the same shape within all limits, and never above the source's."""
    width, height = source.width, source.height
    limits = [1.0]
    if policy.max_resolution is not None:
        long, short = RESOLUTIONS[policy.max_resolution]
        limits += [long / max(width, height), short / min(width, height)]
    if policy.max_width is not None:
        limits.append(policy.max_width / width)
    if policy.max_height is not None:
        limits.append(policy.max_height / height)
    scale = min(limits)
    if scale == 1.0:
        return _even_size(source)
    return _even(width * scale + _ROUNDING), _even(height * scale + _ROUNDING)


# Sound


class _Audio:
    """What becomes of every audio track, the default one first; `added`: the downmix."""

    def __init__(self, policy: Policy, source: Probe, container: Container) -> None:
        self._policy, self._container = policy, container
        kept = tuple(self._track(stream) for stream in playable_audio(source))
        self.added = tuple(self._downmix(kept))
        self.tracks = (*kept, *self.added)

    def _track(self, stream: Stream) -> TrackPlan:
        if is_copied(self._policy, stream) and _holds_audio(self._container, stream):
            return TrackPlan(stream)
        return self._encoded(stream, self._policy.audio_codec or "aac", stream.channels or 2)

    def _encoded(self, stream: Stream, codec: str, channels: int) -> TrackPlan:
        channels = min(channels, _MOST_CHANNELS[codec])
        fewer = channels if channels != stream.channels else None
        rate = self._policy.audio_transcode_bitrate
        if codec == "flac":
            return TrackPlan(stream, codec, channels=fewer)
        audio_kbps = kbps(rate) if rate else DEFAULT_AUDIO_KBPS_PER_CHANNEL * max(2, channels)
        return TrackPlan(stream, codec, audio_kbps, fewer)

    def _downmix(self, kept: tuple[TrackPlan, ...]) -> Iterator[TrackPlan]:
        """Of the first track that has more channels; none where there is a track of that kind."""
        if self._policy.audio_downmix is None:
            return
        wanted = _DOWNMIX_CHANNELS[self._policy.audio_downmix]
        if any((track.channels or track.stream.channels) == wanted for track in kept):
            return
        wider = [track.stream for track in kept if (track.stream.channels or 0) > wanted]
        if wider:
            codec = self._policy.audio_codec or "aac"
            yield self._encoded(wider[0], codec if _MOST_CHANNELS[codec] >= wanted else "aac", wanted)


def is_copied(policy: Policy, stream: Stream) -> bool:
    """Whether the policy wants this audio track as it is."""
    if policy.audio_codec is None or stream.codec == policy.audio_codec:
        return True
    return any(_names(name, stream.codec) for name in policy.audio_preserve_codecs)


def _names(name: str, codec: str) -> bool:
    """ "pcm" and "pcm_*" name every PCM; "dts-hd" names all DTS: losing quality is worse than keeping too much."""
    if name == "dts-hd":
        return codec == "dts"
    if name in ("pcm", "pcm_*"):
        return codec.startswith("pcm_")
    if name.endswith("_*"):
        return codec.startswith(name[:-1])
    return name == codec


def _holds_audio(container: Container, stream: Stream) -> bool:
    return container != "mp4" or stream.codec in _MP4_AUDIO


# Where to


def _containers_of(source: Probe) -> tuple[Container, ...]:
    formats = source.container.split(",")
    if "mp4" in formats:
        return ("mp4",)
    if "matroska" in formats:
        return ("webm",) if source.path.suffix.lower() == ".webm" else ("matroska",)
    return ()


def _container(policy: Policy, source: Probe) -> Container:
    """As the policy says; else the family of the source where that holds every track that is to be copied."""
    if policy.container is not None:
        return "mp4" if policy.container == "mp4" else "matroska"
    if _containers_of(source) != ("mp4",):
        return "matroska"
    copied = (stream for stream in source.of_kind("audio") if is_copied(policy, stream) and stream.codec != "unknown")
    holds_picture = policy.target_video_codec is not None or source.video_codec in _MP4_VIDEO
    return "mp4" if holds_picture and all(_holds_audio("mp4", stream) for stream in copied) else "matroska"


def result_name(source_name: str, container: Container) -> str:
    """The source's name, with another extension where the container is another."""
    path = PurePosixPath(source_name)
    if path.suffix.lower() in _SUFFIXES[container]:
        return source_name
    return f"{path.stem}{_SUFFIXES[container][0]}"


def folder_of(policy: Policy, source: Probe, plan: EncodePlan) -> str | None:
    """The destination below the library root, its placeholders filled from the file's name; resolution and codec from
    what the result will be, where the name does not say them."""
    if policy.destination is None:
        return None
    result = replace(source, width=plan.video.width, height=plan.video.height) if plan.video else source
    known = {
        "resolution": result.quality,
        "codec": plan.video.codec if plan.video else source.video_codec,
        **names.parsed(source.path.name),
    }
    values = {name: _folder_name(known.get(name, ""), policy.destination_fallback) for name in PLACEHOLDERS}
    parts = policy.destination.split("/")
    return "/".join(files.shortened(_filled(part, values), files.NAME_MAX_BYTES) for part in parts if part.strip())


def _filled(part: str, values: Mapping[str, str]) -> str:
    """Not `str.format`, in which a template may reach for attributes."""
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], part)


def _folder_name(value: str, fallback: str) -> str:
    """Words of a file's name as the name of a folder: they lead nowhere else and are not hidden."""
    plain = "".join(character if character.isprintable() else " " for character in value.replace("/", "-"))
    return plain.strip(" .") or fallback


# What it says


def _stream_lines(source: Probe, plan: EncodePlan) -> Iterator[str]:
    video = plan.video
    if video is None:
        yield f"video {source.video_index} {source.video_codec}: copied"
    else:
        yield f"video {source.video_index} {source.video_codec}: {video.codec}, {_shown_quality(video)}"
    for track in plan.audio:
        yield f"audio {track.stream.index} {_shown_track(track.stream)}: {_shown_encoding(track)}"
    for track in plan.subtitles:
        yield f"subtitle {track.stream.index} {_shown_track(track.stream)}: {track.codec or 'copied'}"
    for stream in plan.attachments:
        yield f"attachment {stream.index} {stream.codec}: copied"
    yield from (f"left out: {line}" for line in plan.dropped)


def _shown_quality(video: VideoPlan) -> str:
    match video.quality:
        case Crf(value):
            return f"CRF {value}"
        case Bitrate(rate):
            return f"{rate} kbit/s"
        case Target(metric, score):
            return f"{metric.upper()} {score:g}"


def _shown_track(stream: Stream) -> str:
    channels = f" {stream.channels} channels" if stream.channels else ""
    return f"{stream.codec}{channels}{f' ({stream.language})' if stream.language else ''}"


def _shown_encoding(track: TrackPlan) -> str:
    if track.codec is None:
        return "copied"
    rate = f" {track.bitrate_kbps} kbit/s" if track.bitrate_kbps else ""
    return f"{track.codec}{rate}{f', {track.channels} channels' if track.channels else ''}"


# How large and how long


def _estimate(source: Probe, plan: EncodePlan, speeds: Speeds) -> Estimate:
    if plan.video is None or source.duration_s is None:
        copying_s = source.size_bytes / _GUESSED_COPY_BYTES_PER_S
        return Estimate(source.size_bytes, copying_s if plan.video is None else None, measured=False)
    audio_kbps = sum(_track_kbps(track) for track in plan.audio)
    size_bytes = (_video_kbps(source, plan.video) + audio_kbps) * 1000 / 8 * source.duration_s
    return Estimate(round(size_bytes), *_seconds(source, plan.video, speeds))


def _video_kbps(source: Probe, video: VideoPlan) -> float:
    """Never more than the source has: an encoder does not invent detail."""
    if isinstance(video.quality, Bitrate):
        return video.quality.kbps
    crf = video.quality.value if isinstance(video.quality, Crf) else DEFAULT_CRF[video.codec]
    per_pixel = _BITS_PER_PIXEL[video.codec] * 2 ** ((DEFAULT_CRF[video.codec] - crf) / _CRF_TO_HALVE[video.codec])
    guessed = per_pixel * video.width * video.height * (source.fps or 25) / 1000
    return min(guessed, source.bitrate_kbps or guessed)


def _track_kbps(track: TrackPlan) -> float:
    if track.bitrate_kbps:
        return track.bitrate_kbps
    codec = track.codec or track.stream.codec
    lossless = codec in _LOSSLESS_AUDIO or codec.startswith("pcm_")
    per_channel = _GUESSED_LOSSLESS_KBPS_PER_CHANNEL if lossless else _GUESSED_LOSSY_KBPS_PER_CHANNEL
    return per_channel * (track.channels or track.stream.channels or 2)


def _seconds(source: Probe, video: VideoPlan, speeds: Speeds) -> tuple[float | None, bool]:
    assert source.duration_s is not None
    searching = _SEARCH_FACTOR if isinstance(video.quality, Target) else 1.0
    speed = speeds.get((video.codec, replace(source, width=video.width, height=video.height).quality))
    if speed:
        return searching * source.duration_s / speed, True
    pixels = video.width * video.height * (source.fps or 25) * source.duration_s
    return searching * pixels / _GUESSED_PIXELS_PER_S[video.codec], False
