"""The pieces of ffmpeg's command line that several commands share."""

from collections.abc import Sequence
from pathlib import Path

from media_pipelines.media.encoders import Encoder
from media_pipelines.media.probe import Stream

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


def given(path: Path) -> list[str]:
    return ["-protocol_whitelist", "file", "-i", named(path)]


def named(path: Path) -> str:
    return f"file:{path}"


def mapped(streams: Sequence[Stream]) -> list[str]:
    return [argument for stream in streams for argument in ("-map", f"0:{stream.index}")]


def filtered(filters: Sequence[str]) -> list[str]:
    return ["-vf", ",".join(filters)] if filters else []


def h264(encoder: Encoder, preset: str, crf: int) -> list[str]:
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
