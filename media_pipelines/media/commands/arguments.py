"""The pieces of ffmpeg's command line that several commands share."""

from collections.abc import Sequence
from pathlib import Path

from media_pipelines.media.containers import CONTAINERS
from media_pipelines.media.encoder_flags import flags
from media_pipelines.media.encoders import Encoder
from media_pipelines.media.plan import Crf, VideoPlan
from media_pipelines.media.probe import Probe, Stream


def given(path: Path, *, formats: str = CONTAINERS) -> list[str]:
    """An input. Only containers: of a playlist, which would name other files, ffmpeg reads not even the first line,
    also where the file is another than the one that was probed."""
    return ["-protocol_whitelist", "file", "-format_whitelist", formats, "-i", named(path)]


def named(path: Path) -> str:
    return f"file:{path}"


def mapped(streams: Sequence[Stream]) -> list[str]:
    return [argument for stream in streams for argument in ("-map", f"0:{stream.index}")]


def filtered(filters: Sequence[str]) -> list[str]:
    return ["-vf", ",".join(filters)] if filters else []


def h264(encoder: Encoder, preset: str, crf: int) -> list[str]:
    """H.264 for a piece or a rendition whose size its filters decide."""
    return flags(encoder.name, VideoPlan(codec="h264", quality=Crf(crf), preset=preset, width=0, height=0))


def tone_mapped(source: Probe, tone_map: Sequence[str]) -> list[str]:
    """The light of a mastering display describes no SDR picture. Where the primaries are unsaid they are BT.2020."""
    said = source.color
    assumed = [
        *(["color_primaries=bt2020"] if said.primaries is None else []),
        *(["colorspace=bt2020nc"] if said.matrix is None else []),
    ]
    return [
        *(["setparams=" + ":".join(assumed)] if assumed else []),
        *tone_map,
        "sidedata=mode=delete:type=MASTERING_DISPLAY_METADATA",
        "sidedata=mode=delete:type=CONTENT_LIGHT_LEVEL",
    ]
