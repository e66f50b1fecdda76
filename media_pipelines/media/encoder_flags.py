"""What each encoder is told, in its own words: quality, preset, bit rate, pixel format. Pure; by ffmpeg's names.

Hardware scales are no CRF: NVENC has CQ, QSV an ICQ quality, VAAPI a quantiser. They get the number of the codec's
software scale, brought to their range, which is near enough to look alike and no promise of equal size.
"""

from collections.abc import Mapping
from typing import Literal

from media_pipelines.media.plan import Bitrate, Codec, Crf, VideoPlan
from media_pipelines.media.probe import Hdr10

Family = Literal["software", "nvenc", "qsv", "vaapi"]

# Source: the encoders' own guides (x264 23, x265 28, libvpx 31, SVT-AV1 30-35).
DEFAULT_CRF: Mapping[Codec, int] = {"h264": 23, "hevc": 28, "vp9": 31, "av1": 30}
WORST_CRF: Mapping[Codec, int] = {"h264": 51, "hevc": 51, "vp9": 63, "av1": 63}

ENCODERS: Mapping[Codec, Mapping[Family, str]] = {
    "h264": {"nvenc": "h264_nvenc", "qsv": "h264_qsv", "vaapi": "h264_vaapi", "software": "libx264"},
    "hevc": {"nvenc": "hevc_nvenc", "qsv": "hevc_qsv", "vaapi": "hevc_vaapi", "software": "libx265"},
    "vp9": {"qsv": "vp9_qsv", "vaapi": "vp9_vaapi", "software": "libvpx-vp9"},
    "av1": {"nvenc": "av1_nvenc", "qsv": "av1_qsv", "vaapi": "av1_vaapi", "software": "libsvtav1"},
}

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
# Those above 9 are not meant for films: SVT-AV1 itself warns of what they do to the picture.
_SVT_PRESETS = {
    "ultrafast": "9",
    "superfast": "9",
    "veryfast": "9",
    "faster": "8",
    "fast": "7",
    "medium": "6",
    "slow": "5",
    "slower": "4",
    "veryslow": "3",
    "placebo": "1",
}
_VPX_PRESETS = {
    "ultrafast": ("realtime", "8"),
    "superfast": ("realtime", "6"),
    "veryfast": ("good", "5"),
    "faster": ("good", "5"),
    "fast": ("good", "4"),
    "medium": ("good", "3"),
    "slow": ("good", "2"),
    "slower": ("good", "1"),
    "veryslow": ("good", "0"),
    "placebo": ("best", "0"),
}
_QSV_PRESETS = {"ultrafast": "veryfast", "superfast": "veryfast", "placebo": "veryslow"}
_QSV_WORST = 51
_QUANTISER_WORST = 255


def codec_of(encoder: str) -> Codec:
    return next(codec for codec, names in ENCODERS.items() if encoder in names.values())


def family_of(encoder: str) -> Family:
    suffix = encoder.rpartition("_")[2]
    families: Mapping[str, Family] = {"nvenc": "nvenc", "qsv": "qsv", "vaapi": "vaapi"}
    return families.get(suffix, "software")


def flags(encoder: str, video: VideoPlan, hdr10: Hdr10 | None = None) -> list[str]:
    """The encoder with everything it must know. The quality must be known by now: ValueError for a Target."""
    return [
        "-c:v:0", encoder,
        *_preset(encoder, video.preset),
        *_quality(encoder, video),
        *_format(encoder, ten_bit=video.ten_bit),
        *_private(encoder, hdr10),
    ]  # fmt: skip


def upload(encoder: str, *, ten_bit: bool) -> list[str]:
    """The filters that bring a picture to where the encoder reads it: VAAPI takes surfaces only."""
    return [f"format={'p010' if ten_bit else 'nv12'}", "hwupload"] if family_of(encoder) == "vaapi" else []


def _preset(encoder: str, preset: str) -> list[str]:
    match encoder:
        case "libx264" | "libx265":
            return ["-preset", preset]
        case "libsvtav1":
            return ["-preset", _SVT_PRESETS.get(preset, preset)]
        case "libvpx-vp9":
            deadline, cpu_used = _VPX_PRESETS.get(preset, ("good", "3"))
            return ["-deadline", deadline, "-cpu-used", cpu_used, "-row-mt", "1"]
    match family_of(encoder):
        case "nvenc":
            return ["-preset", _NVENC_PRESETS.get(preset, preset), "-tune", "hq"]
        case "qsv":
            return ["-preset", _QSV_PRESETS.get(preset, preset)]
        case _:
            return []


def _quality(encoder: str, video: VideoPlan) -> list[str]:
    cap_kbps = video.max_bitrate_kbps
    match video.quality:
        case Crf(value):
            return _constant_quality(encoder, max(1, value), cap_kbps)
        case Bitrate(kbps):
            return _average_bitrate(encoder, kbps, cap_kbps)
        case _:
            raise ValueError(f"{video.quality} must be searched for before an encoder can be told")


def _constant_quality(encoder: str, crf: int, cap_kbps: int | None) -> list[str]:
    """CRF 0 has become 1: it is lossless in x264, which the High profile has not, and automatic in NVENC."""
    cap = _cap(cap_kbps)
    match family_of(encoder), codec_of(encoder):
        case "nvenc", _:
            return ["-rc", "vbr", "-cq", str(crf), "-b:v:0", "0", "-rc-lookahead", "20", *cap]
        case "qsv", _:
            # With a cap it needs an average, too (QVBR); without one it is ICQ.
            average = ["-b:v:0", f"{cap_kbps * 3 // 4}k"] if cap_kbps else []
            return ["-global_quality", str(_scaled(encoder, crf, _QSV_WORST)), *average, *cap]
        case "vaapi", "h264" | "hevc":
            return ["-rc_mode", "CQP", "-qp", str(crf)] if cap_kbps is None else _vaapi_capped(crf, cap_kbps)
        case "vaapi", _:
            quantiser = _scaled(encoder, crf, _QUANTISER_WORST)
            if cap_kbps is None:
                return ["-rc_mode", "CQP", "-global_quality", str(quantiser)]
            return _vaapi_capped(quantiser, cap_kbps)
        case _, "vp9":
            # In libvpx a bit rate beside a CRF is the cap ("constrained quality"); 0 says that there is none.
            return ["-crf", str(crf), "-b:v:0", f"{cap_kbps}k" if cap_kbps else "0"]
        case _:
            return ["-crf", str(crf), *cap]


def _vaapi_capped(quality: int, cap_kbps: int) -> list[str]:
    average = ["-b:v:0", f"{cap_kbps * 3 // 4}k"]
    return ["-rc_mode", "QVBR", "-global_quality", str(quality), *average, *_cap(cap_kbps)]


def _average_bitrate(encoder: str, kbps: int, cap_kbps: int | None) -> list[str]:
    # SVT-AV1 refuses a cap beside an average.
    cap = [] if encoder == "libsvtav1" else _cap(cap_kbps)
    match family_of(encoder):
        case "nvenc":
            return ["-rc", "vbr", "-b:v:0", f"{kbps}k", "-rc-lookahead", "20", *cap]
        case "vaapi":
            return ["-rc_mode", "VBR", "-b:v:0", f"{kbps}k", *cap]
        case _:
            return ["-b:v:0", f"{kbps}k", *cap]


def _cap(kbps: int | None) -> list[str]:
    return ["-maxrate", f"{kbps}k", "-bufsize", f"{2 * kbps}k"] if kbps else []


def _scaled(encoder: str, crf: int, worst: int) -> int:
    return min(worst, max(1, round(crf * worst / WORST_CRF[codec_of(encoder)])))


def _format(encoder: str, *, ten_bit: bool) -> list[str]:
    profile = _PROFILES.get(codec_of(encoder))
    named = ["-profile:v:0", profile[ten_bit]] if profile else []
    match family_of(encoder):
        case "vaapi":
            return named
        case "qsv":
            return [*named, "-pix_fmt:v:0", "p010le" if ten_bit else "nv12"]
        case "nvenc":
            return [*named, "-pix_fmt:v:0", "p010le" if ten_bit else "yuv420p"]
        case _:
            return [*named, "-pix_fmt:v:0", "yuv420p10le" if ten_bit else "yuv420p"]


# For 8 and 10 bits. VP9 and AV1 take theirs from the pixel format.
_PROFILES: Mapping[Codec, tuple[str, str]] = {"h264": ("high", "high10"), "hevc": ("main", "main10")}


def _private(encoder: str, hdr10: Hdr10 | None) -> list[str]:
    match encoder:
        case "libx265":
            # x265 writes its own log to stderr, whatever ffmpeg's level is.
            return ["-x265-params", ":".join(["log-level=error", *(_x265_hdr10(hdr10) if hdr10 else [])])]
        case "libsvtav1" if hdr10:
            return ["-svtav1-params", ":".join(_svt_hdr10(hdr10))]
        case _:
            return []


def _x265_hdr10(light: Hdr10) -> list[str]:
    g, b, r, wp = (f"({x},{y})" for x, y in (light.green, light.blue, light.red, light.white))
    display = f"master-display=G{g}B{b}R{r}WP{wp}L({light.max_luminance},{light.min_luminance})"
    content = [f"max-cll={light.max_cll},{light.max_fall}"] if light.max_cll else []
    return ["hdr10=1", "repeat-headers=1", display, *content]


def _svt_hdr10(light: Hdr10) -> list[str]:
    def chromaticity(point: tuple[int, int]) -> str:
        return f"({point[0] / 50_000:.5f},{point[1] / 50_000:.5f})"

    g, b, r, wp = map(chromaticity, (light.green, light.blue, light.red, light.white))
    luminance = f"({light.max_luminance / 10_000:.4f},{light.min_luminance / 10_000:.4f})"
    content = [f"content-light={light.max_cll},{light.max_fall}"] if light.max_cll else []
    return [f"mastering-display=G{g}B{b}R{r}WP{wp}L{luminance}", *content]
