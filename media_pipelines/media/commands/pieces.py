"""Several videos brought to one shape, and joined."""

from collections.abc import Sequence
from pathlib import Path

from media_pipelines.media.commands.arguments import filtered, given, h264, named
from media_pipelines.media.encoders import Encoder
from media_pipelines.media.probe import Probe
from media_pipelines.media.streaming import playable_audio


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
        *given(source.path),
        *(_sound_input(source) if with_audio else []),
        "-map", f"0:{source.video_index}",
        *(["-map", _sound_map(source)] if with_audio else []),
        "-map_metadata", "-1",
        "-map_chapters", "-1",
        *filtered(_shaped(source, width, height, fps)),
        *h264(encoder, preset, crf),
        *(_shared_sound(source) if with_audio else []),
        *length,
        "-f", "matroska",
        named(output),
    ]  # fmt: skip


def _sound_input(source: Probe) -> list[str]:
    silence = ["-f", "lavfi", "-i", "anullsrc=sample_rate=48000:channel_layout=stereo"]
    return [] if playable_audio(source) else silence


def _shared_sound(source: Probe) -> list[str]:
    """Silence is added to the end only when `-t` cuts it: `-shortest` lets half a minute of it pass."""
    padding = ",apad" if source.duration_s else ""
    return ["-af", f"aresample=48000:async=1:first_pts=0{padding}", "-c:a", "pcm_s16le", "-ac", "2"]


def _sound_map(source: Probe) -> str:
    kept = playable_audio(source)
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
        *given(list_file),
        "-map", "0:v:0",
        "-map", "0:a:0?",
        "-map_metadata", "-1",
    ]  # fmt: skip


def _mp4(output: Path) -> list[str]:
    return ["-movflags", "+faststart", "-f", "mp4", named(output)]


def concat_list(paths: Sequence[Path]) -> str:
    """The list that the concat demuxer reads. It goes by lines, so a name with a newline has no way in: ValueError
    (link such a file under a plain name)."""
    return "ffconcat version 1.0\n" + "".join(f"file {_quoted(f'file:{path.absolute()}')}\n" for path in paths)


def _quoted(name: str) -> str:
    if "\n" in name or "\r" in name:
        raise ValueError(f"A concat list cannot name {name!r}: it holds a line break")
    return "'" + name.replace("'", r"'\''") + "'"
