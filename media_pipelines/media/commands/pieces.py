"""Several videos brought to one shape, and joined."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from media_pipelines.media.commands.arguments import given, h264, named
from media_pipelines.media.encoders import Encoder
from media_pipelines.media.probe import Probe
from media_pipelines.media.streaming import playable_audio

_SILENCE = ("-f", "lavfi", "-i", "anullsrc=sample_rate=48000:channel_layout=stereo")
_STEREO = "aresample=48000:async=1:first_pts=0,aformat=channel_layouts=stereo"
# Frames that a picture may stand still at the end of a piece for the sound to end, too. Not more: a truncated source
# must show.
_SPARE_S = 0.5


@dataclass(frozen=True)
class Shape:
    """Size in square pixels, even, and constant frame rate that all pieces of a compilation share."""

    width: int
    height: int
    fps: Fraction


@dataclass(frozen=True)
class Part:
    """A stretch of a source, or a still picture that stands for a while. `length_s` None: to the end of a source that
    does not say how long it is. `levelling`: filters that bring its sound to the loudness of the others."""

    source: Probe | Path
    start_s: float = 0.0
    length_s: float | None = None
    levelling: str = ""


def shape(width: int, height: int, fps: float) -> Shape:
    """The rate as a fraction, so that 29.97 becomes 30000/1001."""
    return Shape(width, height, Fraction(fps).limit_denominator(1001))


def piece(
    ffmpeg: Path,
    parts: Sequence[Part],
    output: Path,
    *,
    shape: Shape,
    encoder: Encoder,
    preset: str,
    crf: int,
    with_audio: bool = True,
    timescale: int | None = None,
) -> list[str]:
    """One part, or two equally long ones of which the first fades into the second, in the shape that all pieces of a
    compilation share: scaled and padded, constant rate, stereo sound at 48 kHz (silence where there is none), picture
    and sound equally long.

    The output is QuickTime, which keeps frame times exactly, with uncompressed sound: pieces of AAC each begin with
    padding, which would be heard as a gap at every joint. `concat` encodes it once.
    """
    inputs, length_s = _Inputs(), parts[0].length_s
    graph = _alone(inputs, parts[0], shape) if len(parts) == 1 else _faded(inputs, parts[0], parts[1], shape)
    return [
        *_program(ffmpeg, inputs),
        "-filter_complex", ";".join(graph if with_audio else graph[:-1]),
        "-map", "[v]",
        *(["-map", "[a]"] if with_audio else []),
        "-map_metadata", "-1",
        "-map_chapters", "-1",
        *h264(encoder, preset, crf),
        *(["-t", _s(length_s)] if length_s is not None else ["-shortest"]),
        *_quicktime(output, timescale, with_audio=with_audio),
    ]  # fmt: skip


def _alone(inputs: "_Inputs", part: Part, shape: Shape) -> list[str]:
    return [f"{_picture(inputs, part, shape)}[v]", f"{_sound(inputs, part)}[a]"]


def _faded(inputs: "_Inputs", before: Part, after: Part, shape: Shape) -> list[str]:
    assert before.length_s is not None
    length_s, frames = _s(before.length_s), round(before.length_s * shape.fps)
    exact = f"tpad=stop_mode=clone:stop=2,trim=end_frame={frames},setpts=PTS-STARTPTS"
    fade = f"xfade=transition=fade:duration={length_s}:offset=0,format=yuv420p"
    return [
        f"{_picture(inputs, before, shape)},{exact}[v0];{_picture(inputs, after, shape)},{exact}[v1];[v0][v1]{fade}[v]",
        f"{_sound(inputs, before)}[a0];{_sound(inputs, after)}[a1];[a0][a1]acrossfade=duration={length_s}[a]",
    ]


def same_picture(
    ffmpeg: Path, part: Part, output: Path, *, with_audio: bool = True, timescale: int | None = None
) -> list[str]:
    """A whole source as a piece of which only the sound is touched."""
    assert isinstance(part.source, Probe)
    inputs = _Inputs()
    inputs.add(part)
    graph = [f"{_sound(inputs, part)}[a]"] if with_audio else []
    return [
        *_program(ffmpeg, inputs),
        *(["-filter_complex", ";".join(graph)] if graph else []),
        "-map", f"0:{part.source.video_index}",
        *(["-map", "[a]"] if with_audio else []),
        "-map_metadata", "-1",
        "-map_chapters", "-1",
        "-c:v", "copy",
        *(["-t", _s(part.length_s)] if part.length_s is not None else ["-shortest"]),
        *_quicktime(output, timescale, with_audio=with_audio),
    ]  # fmt: skip


class _Inputs:
    """The inputs of one command, each named once."""

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self._parts: dict[Part, int] = {}
        self._count = 0

    def add(self, part: Part, rate: Fraction | None = None) -> int:
        if part not in self._parts:
            self._parts[part] = self._named(_still(part, rate) if isinstance(part.source, Path) else _clip(part))
        return self._parts[part]

    def silence(self) -> int:
        return self._named(_SILENCE)

    def _named(self, arguments: Sequence[str]) -> int:
        self.arguments += arguments
        self._count += 1
        return self._count - 1


def _clip(part: Part) -> list[str]:
    assert isinstance(part.source, Probe)
    return [*(["-ss", _s(part.start_s)] if part.start_s else []), *given(part.source.path)]


def _still(part: Part, rate: Fraction | None) -> list[str]:
    assert isinstance(part.source, Path)
    frames = ["-framerate", str(rate)] if rate else []
    return ["-f", "image2", "-pattern_type", "none", "-loop", "1", *frames, *given(part.source)]


def _picture(inputs: _Inputs, part: Part, shape: Shape) -> str:
    """From an input to frames of the common shape, with some to spare where the sound is longer."""
    number = inputs.add(part, shape.fps)
    if isinstance(part.source, Path):
        return f"[{number}:v]setsar=1,format=yuv420p"
    spare = f"tpad=stop_mode=clone:stop_duration={missing_picture_s(part.source) + _SPARE_S:.3f}"
    return f"[{number}:{part.source.video_index}]" + ",".join([*fitted(part.source, shape), spare])


def fitted(source: Probe, shape: Shape) -> list[str]:
    """Filters that bring a picture to a shape: as large as fits, the rest black."""
    width, height = _inside(source, shape)
    return [
        f"fps={shape.fps}",
        f"scale={width}:{height}:out_range=tv",
        "setsar=1",
        f"pad={shape.width}:{shape.height}:-1:-1:color=black",
        "format=yuv420p",
    ]


def _inside(source: Probe, shape: Shape) -> tuple[int, int]:
    """The largest even size of the source's proportions in a shape."""
    proportion = float(source.width * source.sar / source.height)
    if proportion * shape.height >= shape.width:
        return shape.width, min(shape.height, even(shape.width / proportion))
    return min(shape.width, even(shape.height * proportion)), shape.height


def even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)


def missing_picture_s(source: Probe) -> float:
    """How long the last picture must stand for the sound to end, too."""
    if source.duration_s is None:
        return 0.0
    return max(0.0, source.duration_s - (source.video.duration_s or source.duration_s))


def _sound(inputs: _Inputs, part: Part) -> str:
    """From an input, or silence, to stereo of exactly the part's length. Silence is added to the end only where the
    length is known: `-shortest` lets half a minute of it pass."""
    kept = playable_audio(part.source) if isinstance(part.source, Probe) else ()
    exact = "" if part.length_s is None else f",apad,atrim=end={_s(part.length_s)}"
    if not kept:
        return f"[{inputs.silence()}:a]anull{exact}"
    levelling = f",{part.levelling},aresample=48000" if part.levelling else ""
    return f"[{inputs.add(part)}:{kept[0].index}]{_STEREO}{levelling}{exact}"


def _program(ffmpeg: Path, inputs: _Inputs) -> list[str]:
    return [str(ffmpeg), "-y", *inputs.arguments]


def _quicktime(output: Path, timescale: int | None, *, with_audio: bool) -> list[str]:
    return [
        *(["-c:a", "pcm_s16le"] if with_audio else []),
        *(["-video_track_timescale", str(timescale)] if timescale else []),
        "-f", "mov",
        named(output),
    ]  # fmt: skip


def _s(seconds: float) -> str:
    return f"{seconds:.6f}"


def concat_copy(ffmpeg: Path, list_file: Path, output: Path, *, chapters: Path | None = None) -> list[str]:
    """Join files of exactly the same shape (`concat_list`) into an MP4 without touching their streams."""
    return [*_concat(ffmpeg, list_file, chapters), "-c", "copy", *_mp4(output)]


def concat(
    ffmpeg: Path, list_file: Path, output: Path, *, chapters: Path | None = None, audio_bitrate_kbps: int = 128
) -> list[str]:
    """Join pieces: the picture is copied, the sound encoded once."""
    return [
        *_concat(ffmpeg, list_file, chapters),
        "-c:v", "copy",
        "-c:a", "aac",
        "-b:a", f"{audio_bitrate_kbps}k",
        *_mp4(output),
    ]  # fmt: skip


def _concat(ffmpeg: Path, list_file: Path, chapters: Path | None) -> list[str]:
    return [
        str(ffmpeg),
        "-y",
        "-f", "concat",
        "-safe", "0",
        *given(list_file),
        *(["-f", "ffmetadata", *given(chapters)] if chapters else []),
        "-map", "0:v:0",
        "-map", "0:a:0?",
        "-map_metadata", "-1",
        "-map_chapters", "1" if chapters else "-1",
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


def chapters(titles: Sequence[tuple[float, str]], end_s: float) -> str:
    """Chapters for ffmpeg to read: each begins at its time and lasts to the next one's."""
    ends = [start_s for start_s, _ in titles[1:]] + [end_s]
    blocks = [
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={round(start_s * 1000)}\n"
        f"END={max(round(start_s * 1000) + 1, round(stop_s * 1000))}\ntitle={_escaped(title)}\n"
        for (start_s, title), stop_s in zip(titles, ends, strict=True)
    ]
    return ";FFMETADATA1\n" + "".join(blocks)


def _escaped(text: str) -> str:
    """`=`, `;`, `#`, backslash and line breaks mean something in a metadata file."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return "".join(f"\\{character}" if character in "=;#\\" else character for character in plain).strip() or "–"
