"""Still pictures of a video."""

from pathlib import Path

from media_pipelines.media.commands.arguments import filtered, given, named
from media_pipelines.media.probe import Probe


def thumbnail(ffmpeg: Path, source: Probe, output: Path, *, at_s: float, width: int) -> list[str]:
    """One frame as a JPEG of exactly `width` pixels, also when the source is smaller, with square pixels."""
    return [
        str(ffmpeg),
        "-y",
        "-ss", f"{at_s:.3f}",
        *given(source.path),
        "-map", f"0:{source.video_index}",
        "-frames:v", "1",
        *filtered([f"scale=w={width}:h='max(1,round(ow/dar))':out_range=full", "setsar=1", "format=yuvj420p"]),
        "-c:v", "mjpeg",
        "-q:v", "3",
        "-map_metadata", "-1",
        # Not image2, which reads "%d" in a name as a pattern.
        "-f", "mjpeg",
        named(output),
    ]  # fmt: skip
