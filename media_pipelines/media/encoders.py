"""Which H.264 encoder works here: proven by encoding a second of video, never by ffmpeg's list of encoders."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SOFTWARE = "libx264"
_HARDWARE = "h264_nvenc"
# NVENC's limits for H.264 (Video Codec SDK, "NVENC Capabilities").
_NVENC_MIN_WIDTH, _NVENC_MIN_HEIGHT, _NVENC_MAX = 160, 64, 4096
_TAKEN_FOR_THE_REASON = re.compile(
    r"Cannot load|No capable devices|OpenEncodeSession|Unknown encoder|not supported|minimum required|CUDA|driver"
)


@dataclass(frozen=True)
class Encoder:
    """An encoder by ffmpeg's name, and why this one: "a test encode succeeded" or what the better one said."""

    name: str
    hardware: bool
    reason: str


def choose_h264(ffmpeg: Path, *, prefer_hardware: bool = True, timeout_s: float = 10) -> Encoder:
    """NVENC where a test encode succeeds now, else libx264. Ask again for each job: a fallback must not stick."""
    if not prefer_hardware:
        return Encoder(_SOFTWARE, hardware=False, reason="hardware encoding is switched off")
    failure = _trial(ffmpeg, _HARDWARE, timeout_s)
    if failure is None:
        return Encoder(_HARDWARE, hardware=True, reason="a test encode succeeded")
    return Encoder(_SOFTWARE, hardware=False, reason=f"{_HARDWARE}: {failure}")


def suited(encoder: Encoder, width: int, height: int) -> Encoder:
    """The encoder itself, or libx264 where the picture is too small or too large for the hardware."""
    if not encoder.hardware or (_NVENC_MIN_WIDTH <= width <= _NVENC_MAX and _NVENC_MIN_HEIGHT <= height <= _NVENC_MAX):
        return encoder
    return Encoder(_SOFTWARE, hardware=False, reason=f"{encoder.name}: cannot encode {width}×{height}")


def available(ffmpeg: Path, *, timeout_s: float = 10) -> list[tuple[str, str | None]]:
    """Each H.264 encoder with None where a test encode succeeds, else what went wrong."""
    return [(name, _trial(ffmpeg, name, timeout_s)) for name in (_HARDWARE, _SOFTWARE)]


def _trial(ffmpeg: Path, encoder: str, timeout_s: float) -> str | None:
    command = [
        str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "error",
        "-f", "lavfi", "-i", "color=size=512x512:rate=25:duration=1",
        "-c:v", encoder,
        "-pix_fmt", "yuv420p",
        "-f", "null", "-",
    ]  # fmt: skip
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"the test encode took longer than {timeout_s:g} s"
    except OSError as error:
        return f"{ffmpeg} cannot be run: {error.strerror}"
    if result.returncode == 0:
        return None
    return _short_reason(result.stderr.decode(errors="replace"), result.returncode)


def _short_reason(stderr: str, exit_code: int) -> str:
    """The line of stderr that names the cause, without ffmpeg's "[h264_nvenc @ 0x…]"."""
    lines = [re.sub(r"^(\[[^]]*\] ?)+", "", line).strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line]
    cause = next((line for line in lines if _TAKEN_FOR_THE_REASON.search(line)), next(iter(lines), ""))
    return cause[:200] or f"the test encode failed with exit code {exit_code}"
