"""ffmpeg's arguments, and nothing else: pure functions from a probe to an argument list, run by `ffmpeg.run`.

Every file is named `file:…`, so that a name with a leading dash or a colon is a name; every input may open files only.
Outputs overwrite: they are `.partial` files or temporaries of ours.
"""

from collections.abc import Sequence
from pathlib import Path

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
_NVENC_PRESETS = {
    "ultrafast": "p1",
    "superfast": "p1",
    "veryfast": "p2",
    "faster": "p3",
    "fast": "p4",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
    "veryslow": "p7",
    "placebo": "p7",
}


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
        *_input(source.path),
        "-map", f"0:{source.video_index}",
        *_map(kept_audio(source)),
        *_map(kept_subtitles(source)),
        "-map_metadata", "0",
        "-map_chapters", "0",
        *_filters(_even(source)),
        *_video(encoder, preset, crf),
        *_capped(max_bitrate_kbps),
        *_sane_rate(source),
        *_audio(kept_audio(source), audio_bitrate_kbps),
        "-c:s", "mov_text",
        "-movflags", "+faststart",
        "-f", "mp4",
        _file(output),
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


def thumbnail(ffmpeg: Path, source: Probe, output: Path, *, at_s: float, width: int) -> list[str]:
    """One frame as a JPEG of exactly `width` pixels, also when the source is smaller, with square pixels."""
    return [
        str(ffmpeg),
        "-y",
        "-ss", f"{at_s:.3f}",
        *_input(source.path),
        "-map", f"0:{source.video_index}",
        "-frames:v", "1",
        *_filters([f"scale=w={width}:h='max(1,round(ow/dar))':out_range=full", "setsar=1", "format=yuvj420p"]),
        "-c:v", "mjpeg",
        "-q:v", "3",
        "-map_metadata", "-1",
        # Not image2, which reads "%d" in a name as a pattern.
        "-f", "mjpeg",
        _file(output),
    ]  # fmt: skip


def normalise(
    ffmpeg: Path,
    source: Probe,
    output: Path,
    *,
    width: int,
    height: int,
    fps: float,
    encoder: Encoder,
    preset: str,
    crf: int,
    with_audio: bool = True,
) -> list[str]:
    """One source in the shape that all pieces of a compilation share: scaled and padded to `width`×`height` square
    pixels, constant `fps`, stereo sound at 48 kHz (silence where there is none), picture and sound equally long.

    The output is Matroska with uncompressed sound: pieces of AAC each begin with padding, which would be heard as a
    gap at every joint. `concat` encodes it once.
    """
    length = ["-t", f"{source.duration_s:.3f}"] if source.duration_s else ["-shortest"]
    return [
        str(ffmpeg),
        "-y",
        *_input(source.path),
        *(_sound_input(source) if with_audio else []),
        "-map", f"0:{source.video_index}",
        *(["-map", _sound_map(source)] if with_audio else []),
        "-map_metadata", "-1",
        "-map_chapters", "-1",
        *_filters(_shaped(source, width, height, fps)),
        *_video(encoder, preset, crf),
        *(_shared_sound(source) if with_audio else []),
        *length,
        "-f", "matroska",
        _file(output),
    ]  # fmt: skip


def _sound_input(source: Probe) -> list[str]:
    silence = ["-f", "lavfi", "-i", "anullsrc=sample_rate=48000:channel_layout=stereo"]
    return [] if kept_audio(source) else silence


def _shared_sound(source: Probe) -> list[str]:
    """Silence is added to the end only when `-t` cuts it: `-shortest` lets half a minute of it pass."""
    padding = ",apad" if source.duration_s else ""
    return ["-af", f"aresample=48000:async=1:first_pts=0{padding}", "-c:a", "pcm_s16le", "-ac", "2"]


def _sound_map(source: Probe) -> str:
    kept = kept_audio(source)
    return f"0:{kept[0].index}" if kept else "1:a"


def _shaped(source: Probe, width: int, height: int, fps: float) -> list[str]:
    return [
        "scale=w='max(2,round(iw*sar))':h=ih",
        "setsar=1",
        f"scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2",
        f"pad={width}:{height}:-1:-1:color=black",
        "setsar=1",
        f"fps={fps:.6g}",
        "format=yuv420p",
        f"tpad=stop_mode=clone:stop_duration={_missing_picture_s(source):.3f}",
    ]


def _missing_picture_s(source: Probe) -> float:
    """How long the last picture must stand for the sound to end too. Not more: a truncated source must show."""
    if source.duration_s is None:
        return 0.0
    shorter_s = source.duration_s - (source.video.duration_s or source.duration_s)
    return max(0.0, shorter_s) + 0.5


def concat_copy(ffmpeg: Path, list_file: Path, output: Path) -> list[str]:
    """Join files of exactly the same shape (`concat_list`) into an MP4 without touching their streams."""
    return [*_concat(ffmpeg, list_file), "-c", "copy", *_mp4(output)]


def concat(ffmpeg: Path, list_file: Path, output: Path, *, audio_bitrate_kbps: int = 128) -> list[str]:
    """Join what `normalise` made: the picture is copied, the sound encoded once."""
    return [
        *_concat(ffmpeg, list_file),
        "-c:v", "copy",
        "-c:a", "aac",
        "-b:a", f"{audio_bitrate_kbps}k",
        *_mp4(output),
    ]  # fmt: skip


def _concat(ffmpeg: Path, list_file: Path) -> list[str]:
    return [
        str(ffmpeg),
        "-y",
        "-f", "concat",
        "-safe", "0",
        *_input(list_file),
        "-map", "0:v:0",
        "-map", "0:a:0?",
        "-map_metadata", "-1",
    ]  # fmt: skip


def _mp4(output: Path) -> list[str]:
    return ["-movflags", "+faststart", "-f", "mp4", _file(output)]


def concat_list(paths: Sequence[Path]) -> str:
    """The list that the concat demuxer reads. It goes by lines, so a name with a newline has no way in: ValueError
    (link such a file under a plain name)."""
    return "ffconcat version 1.0\n" + "".join(f"file {_quoted(f'file:{path.absolute()}')}\n" for path in paths)


def _quoted(name: str) -> str:
    if "\n" in name or "\r" in name:
        raise ValueError(f"A concat list cannot name {name!r}: it holds a line break")
    return "'" + name.replace("'", r"'\''") + "'"


def _input(path: Path) -> list[str]:
    return ["-protocol_whitelist", "file", "-i", _file(path)]


def _file(path: Path) -> str:
    return f"file:{path}"


def _map(streams: Sequence[Stream]) -> list[str]:
    return [argument for stream in streams for argument in ("-map", f"0:{stream.index}")]


def _filters(filters: Sequence[str]) -> list[str]:
    return ["-vf", ",".join(filters)] if filters else []


def _even(source: Probe) -> list[str]:
    """H.264 in yuv420p wants even sizes. Cropping a line keeps every other pixel as it was; scaling would blur all."""
    if source.width % 2 == 0 and source.height % 2 == 0:
        return []
    return ["scale=w='max(2,iw)':h='max(2,ih)'", "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0"]


def _sane_rate(source: Probe) -> list[str]:
    """Frame times are kept as they are, unless a wrong time base claims thousands of frames a second. (Not `-fpsmax`,
    which makes every output constant and doubles the frames of a screen recording.)"""
    return ["-r", str(_MAX_FPS)] if source.fps and source.fps > _MAX_FPS else []


def _video(encoder: Encoder, preset: str, crf: int) -> list[str]:
    quality = _nvenc(preset, crf) if encoder.hardware else _x264(preset, crf)
    return ["-c:v", encoder.name, *quality, "-profile:v", "high", "-pix_fmt", "yuv420p"]


def _x264(preset: str, crf: int) -> list[str]:
    """CRF 0 is lossless, which the High profile has not: it becomes 1."""
    return ["-preset", preset, "-crf", str(max(1, crf))]


def _nvenc(preset: str, crf: int) -> list[str]:
    """NVENC knows no CRF: `-cq` with an unset bit rate is its nearest. CQ 0 means automatic there."""
    return [
        "-preset", _NVENC_PRESETS.get(preset, preset),
        "-tune", "hq",
        "-rc", "vbr",
        "-cq", str(max(1, crf)),
        "-b:v", "0",
        "-rc-lookahead", "20",
    ]  # fmt: skip


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
