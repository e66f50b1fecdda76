"""The one place that knows encoders: which there are, which work here and now, and in which order to try them.

What works is proven by encoding a second of video with the very flags of the job, never by ffmpeg's list of encoders,
and asked again for each job: a fallback must not stick. What each encoder is told: `encoder_flags`.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from media_pipelines.media import errors
from media_pipelines.media.encoder_flags import DEFAULT_CRF, ENCODERS, Family, codec_of, family_of, flags, upload
from media_pipelines.media.plan import Codec, Crf, Target, VideoPlan

_HARDWARE: Sequence[Family] = ("nvenc", "qsv", "vaapi")
_RENDER_NODES = Path("/dev/dri")
# Smallest width and height, and the largest of either. Source: Video Codec SDK, "NVENC Capabilities" (the smallest are
# rounded up to what every generation takes).
_NVENC_SIZES: Mapping[Codec, tuple[int, int, int]] = {
    "h264": (160, 64, 4096),
    "hevc": (160, 64, 8192),
    "av1": (192, 128, 8192),
}
_TAKEN_FOR_THE_REASON = re.compile(
    r"Cannot load|No capable devices|OpenEncodeSession|Unknown encoder|not supported|minimum required|CUDA|driver|MFX"
    r"|too small"
)
_HARDWARE_WORDS = re.compile(
    r"(?<![a-z])(nvenc|nvdec|cuvid|cuda|vaapi|qsv|mfx|vpl|hwaccel|hwupload|hwdownload)(?![a-z])"
    r"|hardware device|Device creation failed"
    r"|Impossible to convert between the formats|Error while opening encoder|Could not open encoder"
    r"|Error submitting video frame|Failed to (upload|create) ",
    re.IGNORECASE,
)
_CRASHES = {-4, -6, -7, -8, -11}  # ILL, ABRT, BUS, FPE, SEGV: a driver inside ffmpeg can die so

# Without it ffmpeg counts time in frames of the mean rate, and gives a last frame the length of the one before it.
# Since ffmpeg 6.1.
EXACT_TIMES = ("-enc_time_base:v:0", "demux")

# Each a chain of filters that makes SDR of HDR, the best first. The last needs nothing but swscale.
_TONE_MAPPERS: Sequence[tuple[str, ...]] = (
    (
        "zscale=transfer=linear:npl=203",
        "format=gbrpf32le",
        "zscale=primaries=bt709",
        "tonemap=tonemap=mobius:desat=0",
        "zscale=transfer=bt709:matrix=bt709:range=tv",
        "format=yuv420p",
    ),
    ("libplacebo=tonemapping=bt.2390:colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv:format=yuv420p",),
    ("scale=out_primaries=bt709:out_transfer=bt709:out_color_matrix=bt709:out_range=tv:intent=perceptual",),
)

_TRIES = 3


@dataclass(frozen=True)
class Encoder:
    """An encoder by ffmpeg's name, and why this one: "a test encode succeeded" or what the better one said."""

    name: str
    hardware: bool
    reason: str


@dataclass(frozen=True)
class Way:
    """One way to carry out a plan: who decodes, who encodes, and why it is this one's turn. `tone_map` is the chain
    of filters that makes SDR of HDR here; empty: none is wanted, or none works. `exact_times`: this ffmpeg can keep
    the source's clock instead of rounding every frame to the mean rate."""

    encoder: Encoder
    hardware_decode: bool = False
    tone_map: tuple[str, ...] = ()
    exact_times: bool = True

    @property
    def reason(self) -> str:
        return self.encoder.reason

    def __str__(self) -> str:
        decoder = "hardware decode" if self.hardware_decode else "software decode"
        return f"{self.encoder.name} ({decoder})" if self.encoder.hardware else self.encoder.name


COPY = Way(Encoder("copy", hardware=False, reason="the picture is copied as it is"))


def ways(
    ffmpeg: Path, video: VideoPlan | None, *, prefer_hardware: bool = True, timeout_s: float = 10
) -> tuple[Way, ...]:
    """The ladder of one job, the best way first: hardware for both, hardware for the encode alone, software.

    Each encoder on it has just encoded something with the job's own flags. Raises NoEncoder where none can.
    """
    if video is None:
        return (COPY,)
    tone_map = tone_mapper(ffmpeg, timeout_s) if video.hdr == "tonemap" else ()
    found, reasons = [], []
    if not prefer_hardware:
        reasons.append("hardware encoding is switched off")
    for encoder in _hardware_candidates(video) if prefer_hardware else ():
        failure = _unsuited(encoder, video.width, video.height) or _trial(ffmpeg, encoder, video, timeout_s)
        if failure is None:
            proven = Encoder(encoder, hardware=True, reason="; ".join([*reasons, "a test encode succeeded"]))
            found += [Way(proven, hardware_decode=True, tone_map=tone_map), Way(proven, tone_map=tone_map)]
            break
        reasons.append(f"{encoder}: {failure}")
    software = ENCODERS[video.codec]["software"]
    failure = _trial(ffmpeg, software, video, timeout_s, EXACT_TIMES)
    exact = failure is None
    if not exact:
        failure = _trial(ffmpeg, software, video, timeout_s)
    if failure is None:
        why = "; ".join(reasons) or ("it needs no device" if found else "no hardware encodes this")
        found.append(Way(Encoder(software, hardware=False, reason=why), tone_map=tone_map))
    if not found:
        raise errors.NoEncoder(video.codec, (*reasons, f"{software}: {failure}"))
    return tuple(replace(way, exact_times=exact) for way in found)


def _hardware_candidates(video: VideoPlan) -> list[str]:
    if video.codec == "h264" and video.ten_bit:
        return []  # no hardware in use makes High 10 that others can play
    return [ENCODERS[video.codec][family] for family in _HARDWARE if family in ENCODERS[video.codec]]


def blames_hardware(error: errors.MediaError) -> bool:
    """Whether a failed run is the device's doing, so that another way may succeed; else it is in the file, the disk
    or the request, and would fail in software just the same."""
    if isinstance(error, errors.FfmpegStalled):
        return True
    if not isinstance(error, errors.FfmpegFailed) or error.disk_full:
        return False
    if error.exit_code < 0:
        return error.exit_code in _CRASHES
    return any(_HARDWARE_WORDS.search(line) for line in error.stderr_tail)


def available(
    ffmpeg: Path, codec: Codec = "h264", *, only: Family | None = None, timeout_s: float = 10
) -> list[tuple[str, str | None]]:
    """Each encoder of a codec, or only that of one family, with None where a test encode succeeds, else what went
    wrong."""
    video = replace(_TRIAL_H264, codec=codec, quality=Crf(DEFAULT_CRF[codec]))
    return [
        (name, _trial(ffmpeg, name, video, timeout_s))
        for family, name in ENCODERS[codec].items()
        if only in (None, family)
    ]


def render_node() -> str | None:
    """The first GPU that VAAPI can open, as a path."""
    nodes = sorted(_RENDER_NODES.glob("renderD*"))
    return str(nodes[0]) if nodes else None


def device(encoder: str) -> list[str]:
    """What stands before the input so that an encoder finds its device."""
    return ["-vaapi_device", render_node() or "/dev/dri/renderD128"] if family_of(encoder) == "vaapi" else []


def hardware_decoding(encoder: str) -> list[str]:
    """Decoding on the encoder's device. Frames come back to memory, so that every filter still works; a codec that the
    device cannot decode is decoded in software by ffmpeg itself."""
    match family_of(encoder):
        case "nvenc":
            return ["-hwaccel", "cuda"]
        case "qsv" | "vaapi" if render_node():
            return ["-hwaccel", "vaapi", "-hwaccel_device", render_node() or ""]
        case _:
            return []


_TRIAL_H264 = VideoPlan(codec="h264", quality=Crf(23), preset="medium", width=512, height=512)


def _unsuited(encoder: str, width: int, height: int) -> str | None:
    if family_of(encoder) != "nvenc":
        return None
    min_width, min_height, most = _NVENC_SIZES[codec_of(encoder)]
    fits = min_width <= width <= most and min_height <= height <= most
    return None if fits else f"cannot encode {width}×{height}"


def _trial(ffmpeg: Path, encoder: str, video: VideoPlan, timeout_s: float, more: Sequence[str] = ()) -> str | None:
    """None where a small encode succeeds, else why not. Hardware gets a second of 512×512; software needs no more
    than a few frames to show that it is there and takes its flags."""
    family = family_of(encoder)
    if family in ("qsv", "vaapi") and render_node() is None:
        return f"there is no device below {_RENDER_NODES}"
    quality = Crf(DEFAULT_CRF[video.codec]) if isinstance(video.quality, Target) else video.quality
    if family == "software":
        size = f"{min(64, video.width)}x{min(64, video.height)}"  # some refuse what is too small
        picture, tried = f"size={size}:rate=25:duration=0.2", replace(video, quality=quality, preset="ultrafast")
    else:
        picture, tried = "size=512x512:rate=25:duration=1", replace(video, quality=quality)
    filters = upload(encoder, ten_bit=video.ten_bit)
    command = [
        str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "error",
        *device(encoder),
        "-f", "lavfi", "-i", f"color={picture}",
        *(["-vf", ",".join(filters)] if filters else []),
        *flags(encoder, tried),
        *more,
        "-f", "null", "-",
    ]  # fmt: skip
    return _run_trial(command, timeout_s)


def tone_mapper(ffmpeg: Path, timeout_s: float = 10) -> tuple[str, ...]:
    """The first chain of filters that makes SDR of one HDR frame; empty where none does."""
    hdr = "color=size=64x64:rate=25:duration=0.04,format=yuv420p10le,"
    hdr += "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
    for chain in _TONE_MAPPERS:
        command = [
            str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "error",
            "-f", "lavfi", "-i", hdr,
            "-vf", ",".join(chain),
            "-f", "null", "-",
        ]  # fmt: skip
        if _run_trial(command, timeout_s) is None:
            return chain
    return ()


def _run_trial(command: Sequence[str], timeout_s: float) -> str | None:
    try:
        result = try_out(command, timeout_s)
    except subprocess.TimeoutExpired:
        return f"the test encode took longer than {timeout_s:g} s"
    except OSError as error:
        return f"{command[0]} cannot be run: {error.strerror}"
    if result.returncode == 0:
        return None
    return short_reason(result.stderr.decode(errors="replace"), result.returncode)


def try_out(command: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[bytes]":
    """What a short command ends with. One that somebody kills has proved nothing: it is run again.

    Raises OSError, subprocess.TimeoutExpired.
    """
    for _ in range(_TRIES):
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
        if not errors.was_killed(result.returncode):
            break
    return result


def short_reason(stderr: str, exit_code: int) -> str:
    """The line of stderr that names the cause, without ffmpeg's "[h264_nvenc @ 0x…] [error]"."""
    lines = [re.sub(r"^(\[[^]]*\] ?)+", "", line).strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line]
    cause = next((line for line in lines if _TAKEN_FOR_THE_REASON.search(line)), next(iter(lines), ""))
    return cause[:200] or f"the test encode failed with exit code {exit_code}"
