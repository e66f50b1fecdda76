"""Four videos as one picture of two by two: `grid` decides, purely; `encode` does it in one pass and checks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from media_pipelines.media import errors, verify
from media_pipelines.media.commands.arguments import given, h264, named
from media_pipelines.media.commands.pieces import ONE_GRAPH, Shape, fitted, said, uploaded
from media_pipelines.media.encoders import Way, device
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from media_pipelines.media.streaming import playable_audio

Audio = Literal["mix", "first", "1", "2", "3", "4", "none"]
Length = Literal["shortest", "longest", "loop"]

CELLS = 4
_AUDIO_KBPS = 192
# −1 dB: what inter-sample peaks need.
_CEILING = 0.89
_SPARE_S = 0.5


@dataclass(frozen=True)
class Grid:
    """Four sources in cells of one shape. `heard` are the cells whose sound is kept, `looped` those that start again;
    `duration_s` is None where a source does not say how long it is."""

    sources: tuple[Probe, ...]
    cell: Shape
    heard: tuple[int, ...]
    looped: tuple[int, ...]
    duration_s: float | None
    stops_with_shortest: bool

    @property
    def width(self) -> int:
        return 2 * self.cell.width

    @property
    def height(self) -> int:
        return 2 * self.cell.height


def grid(sources: Sequence[Probe], cell: Shape, *, audio: Audio = "mix", length: Length = "longest") -> Grid:
    """Raises UnreadableMedia where `length` needs a duration that a source does not have."""
    if len(sources) != CELLS:
        raise ValueError(f"A grid has {CELLS} sources, not {len(sources)}")
    lengths_s = [source.duration_s for source in sources]
    known_s = [length_s for length_s in lengths_s if length_s]
    looped: tuple[int, ...] = ()
    if length == "loop":
        unknown = next((source for source in sources if not source.duration_s), None)
        if unknown is not None:
            raise errors.UnreadableMedia(unknown.path, "its duration is unknown, so it cannot be looped")
        looped = tuple(n for n, length_s in enumerate(known_s) if length_s < max(known_s) - 1 / cell.fps)
    duration_s = None
    if len(known_s) == CELLS:
        chosen_s = min(known_s) if length == "shortest" else max(known_s)
        duration_s = max(1, math.floor(chosen_s * cell.fps)) / float(cell.fps)
    return Grid(tuple(sources), cell, _heard(sources, audio), looped, duration_s, length == "shortest")


def _heard(sources: Sequence[Probe], audio: Audio) -> tuple[int, ...]:
    loud = tuple(n for n, source in enumerate(sources) if playable_audio(source))
    match audio:
        case "mix":
            return loud
        case "first":
            return loud[:1]
        case "none":
            return ()
        case _:
            return tuple(n for n in loud if n == int(audio) - 1)


def command(ffmpeg: Path, grid: Grid, output: Path, *, way: Way, preset: str, crf: int) -> list[str]:
    """All in one pass: each cell scaled and padded at one rate with square pixels, then stacked; the sound of the
    cells mixed at a level that does not clip."""
    inputs = [
        argument
        for n, source in enumerate(grid.sources)
        for argument in (*(["-stream_loop", "-1"] if n in grid.looped else []), *ONE_GRAPH, *given(source.path))
    ]
    return [
        str(ffmpeg),
        "-y",
        *device(way.encoder.name),
        *inputs,
        "-filter_complex", ";".join([*_stacked(grid, way), *_mixed(grid)]),
        "-map", "[v]",
        *(["-map", "[a]"] if grid.heard else []),
        "-map_metadata", "-1",
        "-map_chapters", "-1",
        *h264(way.encoder, preset, crf),
        *(["-c:a", "aac", "-b:a", f"{_AUDIO_KBPS}k"] if grid.heard else []),
        *(["-t", f"{grid.duration_s:.6f}"] if grid.duration_s is not None else []),
        "-movflags", "+faststart",
        "-f", "mp4",
        named(output),
    ]  # fmt: skip


def _stacked(grid: Grid, way: Way) -> list[str]:
    """xstack ends with its shortest input, or goes on with the last picture of those that have ended."""
    cells = [
        f"[{n}:{source.video_index}]{','.join(fitted(source, grid.cell, way.tone_map))}[c{n}]"
        for n, source in enumerate(grid.sources)
    ]
    labels = "".join(f"[c{n}]" for n in range(CELLS))
    rule = ":shortest=1" if grid.stops_with_shortest else ""
    stands = f",tpad=stop_mode=clone:stop_duration={_missing_picture_s(grid):.3f}"
    return [
        *cells,
        f"{labels}xstack=inputs={CELLS}:layout=0_0|w0_0|0_h0|w0_h0{rule}{stands},{said(grid.cell.color)}{uploaded(way)}[v]",
    ]


def _missing_picture_s(grid: Grid) -> float:
    """How long the last picture must stand where sound goes on. Not more: truncated sources must show."""
    if grid.duration_s is None:
        return 0.0
    shown_s = [source.end_s(source.video) or source.duration_s or 0.0 for source in grid.sources]
    return max(0.0, grid.duration_s - (min(shown_s) if grid.stops_with_shortest else max(shown_s))) + _SPARE_S


def _mixed(grid: Grid) -> list[str]:
    """Voices are attenuated as uncorrelated sounds add up, by the root of their number; a limiter holds the rest."""
    if not grid.heard:
        return []
    whole = f",apad=whole_dur={grid.duration_s:.6f}" if grid.duration_s is not None else ""
    voices = [
        f"[{n}:{playable_audio(grid.sources[n])[0].index}]aresample=48000:async=1:first_pts=0,"
        f"aformat=channel_layouts=stereo,volume={1 / math.sqrt(len(grid.heard)):.4f}[s{n}]"
        for n in grid.heard
    ]
    labels = "".join(f"[s{n}]" for n in grid.heard)
    mix = f"amix=inputs={len(grid.heard)}:duration=longest:normalize=0," if len(grid.heard) > 1 else ""
    return [*voices, f"{labels}{mix}alimiter=limit={_CEILING}:level=disabled{whole}[a]"]


def verified(prober: Prober, grid: Grid, output: Path) -> Probe:
    """Read the grid back: it opens, decodes to its end, has its size, its length and its sound. Raises
    OutputRejected."""
    result = verify.verify_joined(prober, output, expect_duration_s=grid.duration_s, has_audio=bool(grid.heard))
    if (result.width, result.height) != (grid.width, grid.height):
        found = f"it shows {result.width}×{result.height} instead of {grid.width}×{grid.height}"
        raise errors.OutputRejected(output, (found,))
    return result
