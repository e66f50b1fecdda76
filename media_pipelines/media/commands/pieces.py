"""Several videos brought to one shape, and joined."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from media_pipelines.media.commands.arguments import given, h264, named, tone_mapped
from media_pipelines.media.containers import CONTAINERS, INDEXED
from media_pipelines.media.encoder_flags import upload
from media_pipelines.media.encoders import Way, device
from media_pipelines.media.probe import Color, Probe
from media_pipelines.media.streaming import playable_audio

# A picture whose size changes goes on through the same filters; begun anew, they would lose what they hold.
ONE_GRAPH = ("-reinit_filter", "0")
_SILENCE = ("-f", "lavfi", "-i", "anullsrc=sample_rate=48000:channel_layout=stereo")
_STEREO = "aresample=48000:async=1:first_pts=0,aformat=channel_layouts=stereo"
# "-map_metadata -1" would take the chapters' names, too; the chapter file has no other metadata.
_ONLY_CHAPTERS = ("-map_metadata", "1", "-map_metadata:s", "1:g", "-map_chapters", "1")
# Frames that a picture may stand still at the end of a piece for the sound to end, too. Not more: a truncated source
# must show.
_SPARE_S = 0.5
# As far apart as key frames are, in nearly all recordings.
_LEAD_S = 12.0


_MATRICES = {
    "smpte170m": "bt601", "bt470bg": "bt601", "bt2020nc": "bt2020", "bt2020c": "bt2020", "fcc": "fcc",
    "smpte240m": "smpte240m",
}  # fmt: skip
BT709 = Color("bt709", "bt709", "bt709", "tv")


@dataclass(frozen=True)
class Shape:
    """Size in square pixels, even, constant frame rate and colours that all pieces of a compilation share. Where a
    colour is None, the output does not say it, like the sources that it stands beside."""

    width: int
    height: int
    fps: Fraction
    color: Color = BT709


@dataclass(frozen=True)
class Framing:
    """What of a picture is seen: `width` and `height` as shares of it, the middle of that on straight lines between
    `points`, each a time of the source in seconds, x and y from 0 to 1. Two points of one time are a jump."""

    width: float
    height: float
    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Part:
    """A stretch of a source, or a still picture that stands for a while. `length_s` None: to the end of a source that
    does not say how long it is. `levelling`: filters that bring its sound to the loudness of the others."""

    source: Probe | Path
    start_s: float = 0.0
    length_s: float | None = None
    levelling: str = ""
    framing: Framing | None = None


def shape(width: int, height: int, fps: float, color: Color = BT709) -> Shape:
    """The rate as a fraction, so that 29.97 becomes 30000/1001."""
    return Shape(width, height, Fraction(fps).limit_denominator(1001), color)


def piece(
    ffmpeg: Path,
    parts: Sequence[Part],
    output: Path,
    *,
    shape: Shape,
    way: Way,
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
    make = _Filters(inputs, shape, way)
    graph = make.alone(parts[0]) if len(parts) == 1 else make.faded(parts[0], parts[1])
    return [
        *_program(ffmpeg, inputs, *device(way.encoder.name)),
        "-filter_complex", ";".join(graph if with_audio else graph[:-1]),
        "-map", "[v]",
        *(["-map", "[a]"] if with_audio else []),
        "-map_metadata", "-1",
        "-map_chapters", "-1",
        *h264(way.encoder, preset, crf),
        *(["-t", _s(length_s)] if length_s is not None else ["-shortest"]),
        *_quicktime(output, timescale, with_audio=with_audio),
    ]  # fmt: skip


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
    seek_s = part.start_s - _lead_s(part)
    return [*(["-noaccurate_seek", "-ss", _s(seek_s)] if seek_s else []), *ONE_GRAPH, *given(part.source.path)]


def _lead_s(part: Part) -> float:
    """Seconds before a part that are read, too, where a seek may land beyond the key frame that it needs."""
    assert isinstance(part.source, Probe)
    return 0.0 if INDEXED & set(part.source.container.split(",")) else min(part.start_s, _LEAD_S)


def _still(part: Part, rate: Fraction | None) -> list[str]:
    assert isinstance(part.source, Path)
    frames = ["-framerate", str(rate)] if rate else []
    return ["-f", "image2", "-pattern_type", "none", "-loop", "1", *frames, *given(part.source, formats="image2")]


class _Filters:
    """The filter graph of one piece, picture first, sound last."""

    def __init__(self, inputs: _Inputs, shape: Shape, way: Way) -> None:
        self._inputs = inputs
        self._shape = shape
        self._way = way

    def alone(self, part: Part) -> list[str]:
        return [f"{self._picture(part)}{uploaded(self._way)}[v]", f"{_sound(self._inputs, part)}[a]"]

    def faded(self, before: Part, after: Part) -> list[str]:
        assert before.length_s is not None
        length_s, frames = _s(before.length_s), round(before.length_s * self._shape.fps)
        exact = f"tpad=stop_mode=clone:stop=2,trim=end_frame={frames},setpts=PTS-STARTPTS"
        fade = f"xfade=transition=fade:duration={length_s}:offset=0,format=yuv420p,{said(self._shape.color)}"
        return [
            f"{self._picture(before)},{exact}[v0];{self._picture(after)},{exact}[v1];"
            f"[v0][v1]{fade}{uploaded(self._way)}[v]",
            f"{_sound(self._inputs, before)}[a0];{_sound(self._inputs, after)}[a1];"
            f"[a0][a1]acrossfade=duration={length_s}[a]",
        ]

    def _picture(self, part: Part) -> str:
        """From an input to frames of the common shape, with some to spare where the sound is longer."""
        number, shape = self._inputs.add(part, self._shape.fps), self._shape
        if isinstance(part.source, Path):
            to_yuv = f"scale=out_color_matrix={_coefficients(shape.color, shape.width, shape.height)}:out_range=tv"
            return f"[{number}:v]{to_yuv},setsar=1,format=yuv420p,{said(shape.color)}"
        spare = f"tpad=stop_mode=clone:stop_duration={missing_picture_s(part.source) + _SPARE_S:.3f}"
        since_s = _lead_s(part) if part.start_s else None
        framed = _framed(part) if part.framing else ()
        chain = [*fitted(part.source, shape, self._way.tone_map, since_s, framed=framed), spare]
        return f"[{number}:{part.source.video_index}]" + ",".join(chain)


def uploaded(way: Way) -> str:
    """What brings frames to where the encoder reads them."""
    return "".join(f",{step}" for step in upload(way.encoder.name, ten_bit=False))


def fitted(
    source: Probe,
    shape: Shape,
    tone_map: Sequence[str] = (),
    since_s: float | None = None,
    *,
    framed: Sequence[str] = (),
) -> list[str]:
    """Filters that bring a picture to a shape and to its colours: as large as fits, the rest black. One that is shorter
    than a frame of the shape is one frame, where `fps` would round it to none. `since_s` cuts off the beginning, after
    the rate is constant: a frame that is shown for long may have come before. What is `framed` fills the shape."""
    width, height = (shape.width, shape.height) if framed else _inside(source, shape)
    frame_s = 1 / float(shape.fps)
    mapped = tone_mapped(source, tone_map) if source.hdr and tone_map else []
    return [
        *(["bwdif=mode=send_frame:deint=interlaced"] if source.interlaced else []),
        *([f"tpad=stop_mode=clone:stop_duration={_s(frame_s)}"] if (source.duration_s or 0) < frame_s else []),
        f"fps={shape.fps}",
        *([f"trim=start={_s(since_s)}", f"setpts=PTS-{_s(since_s)}/TB"] if since_s is not None else []),
        *framed,
        ":".join([f"scale={width}:{height}", *([] if mapped else _recoloured(source, shape))]),
        *mapped,
        "setsar=1",
        f"pad={shape.width}:{shape.height}:-1:-1:color=black",
        "format=yuv420p",
        said(shape.color),
    ]


def _framed(part: Part) -> list[str]:
    """Cuts out what is seen, frame by frame: the sum of all steps that the middle has taken by then."""
    framing = part.framing
    assert framing is not None
    points = framing.points or ((part.start_s, 0.5, 0.5),)
    x, y = (_followed([(at_s - part.start_s, point[axis]) for at_s, *point in points]) for axis in (0, 1))
    width, height = f"floor(iw*{framing.width:.5f}/2)*2", f"floor(ih*{framing.height:.5f}/2)*2"
    return [f"crop=w='{width}':h='{height}':x='clip(iw*({x})-ow/2,0,iw-ow)':y='clip(ih*({y})-oh/2,0,ih-oh)'"]


def _followed(points: Sequence[tuple[float, float]]) -> str:
    """An expression of `t`: the first value, and each change of it as it happens."""
    terms = [f"{points[0][1]:.5f}"]
    for (at_s, value), (next_s, next_value) in itertools.pairwise(points):
        change = next_value - value
        if abs(change) < 1e-5:
            continue
        share = f"clip((t-{at_s:.3f})/{next_s - at_s:.3f},0,1)" if next_s > at_s else f"gte(t,{at_s:.3f})"
        terms.append(f"({change:.5f})*{share}")
    return "+".join(terms)


def said(color: Color) -> str:
    """Every piece says the same of its colours, or their headers would differ."""
    return (
        f"setparams=color_primaries={color.primaries or 'unknown'}:color_trc={color.transfer or 'unknown'}"
        f":colorspace={color.matrix or 'unknown'}:range=tv"
    )


def _recoloured(source: Probe, shape: Shape) -> list[str]:
    """Options of `scale` that turn one matrix into the other where they differ."""
    there = _coefficients(shape.color, shape.width, shape.height)
    if source.color.matrix == "gbr":
        return [f"out_color_matrix={there}", "out_range=tv"]
    here = _coefficients(source.color, source.width, source.height)
    return [*([] if here == there else [f"in_color_matrix={here}", f"out_color_matrix={there}"]), "out_range=tv"]


def _coefficients(color: Color, width: int, height: int) -> str:
    """The matrix as `scale` calls it. Where it is unsaid, players take BT.709 for HD and BT.601 for less."""
    if color.matrix is None:
        return "bt709" if max(width, height) >= 1280 or min(width, height) > 576 else "bt601"
    return _MATRICES.get(color.matrix, "bt709")


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
    return max(0.0, source.duration_s - (source.end_s(source.video) or source.duration_s))


def _sound(inputs: _Inputs, part: Part) -> str:
    """From an input, or silence, to stereo of exactly the part's length. Silence is added to the end only where the
    length is known: `-shortest` lets half a minute of it pass."""
    kept = playable_audio(part.source) if isinstance(part.source, Probe) else ()
    exact = "" if part.length_s is None else f",apad,atrim=end={_s(part.length_s)}"
    if not kept:
        return f"[{inputs.silence()}:a]anull{exact}"
    since_s = _s(_lead_s(part))
    begin = f"atrim=start={since_s},asetpts=PTS-{since_s}/TB," if part.start_s else ""
    levelling = f",{part.levelling},aresample=48000" if part.levelling else ""
    return f"[{inputs.add(part)}:{kept[0].index}]{begin}{_STEREO}{levelling}{exact}"


def _program(ffmpeg: Path, inputs: _Inputs, *options: str) -> list[str]:
    return [str(ffmpeg), "-y", *options, *inputs.arguments]


def _quicktime(output: Path, timescale: int | None, *, with_audio: bool) -> list[str]:
    return [
        *(["-c:a", "pcm_s16le"] if with_audio else []),
        *(["-video_track_timescale", str(timescale)] if timescale else []),
        "-f", "mov",
        named(output),
    ]  # fmt: skip


def _s(seconds: float) -> str:
    return f"{seconds:.6f}"


def concat_copy(
    ffmpeg: Path, list_file: Path, output: Path, *, chapters: Path | None = None, index_bytes: int | None = None
) -> list[str]:
    """Join files of exactly the same shape (`concat_list`) into an MP4 without touching their streams.

    `index_bytes` is room for the index at the front of the file; without it the file is written twice to get it there.
    """
    return [*_concat(ffmpeg, list_file, chapters), "-c", "copy", *_mp4(output, index_bytes)]


def concat(
    ffmpeg: Path,
    list_file: Path,
    output: Path,
    *,
    chapters: Path | None = None,
    index_bytes: int | None = None,
    audio_bitrate_kbps: int = 128,
) -> list[str]:
    """Join pieces: the picture is copied, the sound encoded once."""
    return [
        *_concat(ffmpeg, list_file, chapters),
        "-c:v", "copy",
        "-c:a", "aac",
        "-b:a", f"{audio_bitrate_kbps}k",
        *_mp4(output, index_bytes),
    ]  # fmt: skip


def _concat(ffmpeg: Path, list_file: Path, chapters: Path | None) -> list[str]:
    return [
        str(ffmpeg),
        "-y",
        "-f", "concat",
        "-safe", "0",
        *given(list_file, formats=f"concat,{CONTAINERS}"),
        *(["-f", "ffmetadata", *given(chapters, formats="ffmetadata")] if chapters else []),
        "-map", "0:v:0",
        "-map", "0:a:0?",
        *(_ONLY_CHAPTERS if chapters else ("-map_metadata", "-1", "-map_chapters", "-1")),
    ]  # fmt: skip


def _mp4(output: Path, index_bytes: int | None) -> list[str]:
    front = ["-movflags", "+faststart"] if index_bytes is None else ["-moov_size", str(index_bytes)]
    return [*front, "-f", "mp4", named(output)]


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
    """`=`, `;`, `#`, backslash and line breaks mean something in a metadata file. A backslash before the end of a line
    would take the next line along, also when it is escaped itself: a space keeps them apart."""
    plain = "".join(character if character.isprintable() else " " for character in text).strip() or "–"
    escaped = "".join(f"\\{character}" if character in "=;#\\" else character for character in plain)
    return f"{escaped} " if plain.endswith("\\") else escaped
