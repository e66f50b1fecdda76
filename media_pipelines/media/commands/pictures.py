"""Still and moving pictures of a video. `tone_map`: the chain of filters that makes SDR of a source in HDR."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from media_pipelines.media.commands.arguments import filtered, given, named, tone_mapped
from media_pipelines.media.commands.pieces import even
from media_pipelines.media.probe import Probe


def thumbnail(
    ffmpeg: Path, source: Probe, output: Path, *, at_s: float, width: int, tone_map: Sequence[str] = ()
) -> list[str]:
    """One frame as a JPEG of exactly `width` pixels, also when the source is smaller, with square pixels."""
    return [
        str(ffmpeg),
        "-y",
        # A raw stream knows no times: of any seek in it nothing comes.
        *(["-ss", f"{at_s:.3f}"] if at_s > 0 else []),
        *given(source.path),
        "-map", f"0:{source.video_index}",
        "-frames:v", "1",
        *filtered(
            [
                *_sdr(source, tone_map, even(width), "'2*max(1,round(ow/dar/2))'"),
                f"scale=w={width}:h='max(1,round(ow/dar))':out_range=full",
                "setsar=1",
                "format=yuvj420p",
            ]
        ),
        "-c:v", "mjpeg",
        "-q:v", "3",
        "-map_metadata", "-1",
        # Not image2, which reads "%d" in a name as a pattern.
        "-f", "mjpeg",
        named(output),
    ]  # fmt: skip


def animation(
    ffmpeg: Path,
    source: Probe,
    output: Path,
    *,
    start_s: float,
    duration_s: float,
    width: int,
    height: int,
    fps: float,
    loop: int,
    kind: Literal["gif", "webp"],
    palette: Path | None = None,
    tone_map: Sequence[str] = (),
) -> list[str]:
    """A part of a video as an animated picture that plays `loop` times, 0 for ever. A GIF's palette is made in the same
    pass, for which all frames are held in memory; with `palette`, it was made before."""
    frames = f"[0:{source.video_index}]{_frames(source, width, height, fps, duration_s, tone_map)}"
    use = "paletteuse=dither=bayer:bayer_scale=5:diff_mode=rectangle[v]"
    graph = f"{frames},split[a][b];[a]{_PALETTE}[p];[b][p]{use}"
    if kind == "webp":
        graph = f"{frames},format=yuv420p[v]"
    elif palette is not None:
        graph = f"{frames}[a];[a][1:v]{use}"
    return [
        *_stretch(ffmpeg, source, start_s),
        *(["-f", "image2", "-pattern_type", "none", *given(palette, formats="image2")] if palette else []),
        "-filter_complex", graph,
        "-map", "[v]",
        "-map_metadata", "-1",
        *(_gif(loop) if kind == "gif" else _webp(loop)),
        named(output),
    ]  # fmt: skip


def palette(
    ffmpeg: Path,
    source: Probe,
    output: Path,
    *,
    start_s: float,
    duration_s: float,
    width: int,
    height: int,
    fps: float,
    tone_map: Sequence[str] = (),
) -> list[str]:
    """The 256 colours of a part of a video, as a PNG."""
    return [
        *_stretch(ffmpeg, source, start_s),
        "-map", f"0:{source.video_index}",
        *filtered([_frames(source, width, height, fps, duration_s, tone_map), _PALETTE]),
        "-frames:v", "1",
        "-c:v", "png",
        "-f", "image2pipe",
        named(output),
    ]  # fmt: skip


_PALETTE = "palettegen=stats_mode=diff"


def _stretch(ffmpeg: Path, source: Probe, start_s: float) -> list[str]:
    """Seeking to the very start loses frames of formats without an index. An accurate seek loses the frame that is
    shown then, and leaves nothing of a start within the last one. A picture whose size changes goes through one and
    the same chain of filters."""
    seek = ["-ss", f"{start_s:.3f}", "-noaccurate_seek"] if start_s > 0 else []
    return [str(ffmpeg), "-y", *seek, "-reinit_filter", "0", *given(source.path)]


def _frames(source: Probe, width: int, height: int, fps: float, duration_s: float, tone_map: Sequence[str]) -> str:
    """As many as fill the time from the frame that is shown at its start: one at least, where the video has but one
    that stands for less than its share. The last stands as long as the source's frames do."""
    count = max(1, round(duration_s * fps))
    stands_s = 1 / min(fps, source.fps or fps)
    exact = f"tpad=stop_mode=clone:stop_duration={stands_s:.3f},fps={fps:.6g}:start_time=0,trim=end_frame={count}"
    sdr = _sdr(source, tone_map, even(width), even(height))
    return ",".join([exact, *sdr, f"scale={width}:{height}:flags=lanczos", "setsar=1"])


def _sdr(source: Probe, tone_map: Sequence[str], width: int, height: int | str) -> list[str]:
    """Mapped when it is small already, which is faster; even, because most chains take nothing else."""
    return [f"scale=w={width}:h={height}:flags=lanczos", *tone_mapped(source, tone_map)] if tone_map else []


def _gif(loop: int) -> list[str]:
    """The muxer counts repetitions; −1 is none."""
    return ["-c:v", "gif", "-loop", str({0: 0, 1: -1}.get(loop, loop - 1)), "-f", "gif"]


def _webp(loop: int) -> list[str]:
    return ["-c:v", "libwebp_anim", "-quality", "75", "-compression_level", "4", "-loop", str(loop), "-f", "webp"]


def sheets(
    ffmpeg: Path,
    source: Probe,
    output: Path,
    *,
    interval_s: float,
    tiles: int,
    tile: tuple[int, int],
    columns: int,
    rows: int,
    key_frames_only: bool,
    tone_map: Sequence[str] = (),
) -> list[str]:
    """Small pictures at equal distances, on sheets of `columns`×`rows`: JPEGs, one after the other in one file."""
    return [
        str(ffmpeg),
        "-y",
        *(["-skip_frame", "nokey"] if key_frames_only else []),
        *given(source.path),
        "-map", f"0:{source.video_index}",
        *filtered(
            [
                f"fps=fps=1000/{round(interval_s * 1000)}:start_time=0:eof_action=pass",
                *_sdr(source, tone_map, even(tile[0]), even(tile[1])),
                f"scale={tile[0]}:{tile[1]}:out_range=full",
                "setsar=1",
                "format=yuvj420p",
                f"tpad=stop_mode=clone:stop={tiles}",
                f"trim=end_frame={tiles}",
                f"tile={columns}x{rows}",
            ]
        ),
        "-c:v", "mjpeg",
        "-q:v", "4",
        "-map_metadata", "-1",
        "-f", "mjpeg",
        named(output),
    ]  # fmt: skip
