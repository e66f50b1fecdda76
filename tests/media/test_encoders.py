from pathlib import Path
from typing import get_args

import pytest

from jobqueue_bridge import policy
from jobqueue_bridge.params.fields import Preset
from media_pipelines.media import encoder_flags, encoders
from media_pipelines.media.encoder_flags import ENCODERS, flags
from media_pipelines.media.errors import FfmpegFailed, FfmpegStalled, MediaError, NoEncoder, OutputRejected
from media_pipelines.media.plan import Bitrate, Codec, Crf, Target, VideoPlan


def h264(width: int = 1280, height: int = 720) -> VideoPlan:
    return VideoPlan("h264", Crf(23), "medium", width, height)


def test_the_hardware_is_chosen_only_when_it_encodes(ffmpeg: Path) -> None:
    first = encoders.ways(ffmpeg, h264())[0]
    verdicts = dict(encoders.available(ffmpeg))
    assert first.encoder.hardware is any(verdicts[name] is None for name in verdicts if name != "libx264")
    assert verdicts["libx264"] is None
    assert first.reason
    assert "0x" not in first.reason
    assert "\n" not in first.reason


def device(folder: Path, ffmpeg: Path, does: str) -> Path:
    """An ffmpeg whose NVENC does what a line of shell says; all else is real."""
    program = folder / "ffmpeg"
    program.write_text(f'#!/bin/sh\ncase $* in *nvenc*) {does};; esac\nexec {ffmpeg} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("sleep 9", "h264_nvenc: the test encode took longer than 2 s"),
        ("echo '[h264_nvenc @ 0x55] Cannot load libcuda.so.1' >&2; exit 1", "h264_nvenc: Cannot load libcuda.so.1"),
        ("exit 3", "h264_nvenc: the test encode failed with exit code 3"),
    ],
)
def test_why_not_is_told_in_a_few_words(ffmpeg: Path, tmp_path: Path, does: str, reason: str) -> None:
    (way,) = encoders.ways(device(tmp_path, ffmpeg, does), h264(), timeout_s=2)
    assert str(way) == "libx264"
    assert reason in way.reason


def test_a_test_encode_that_somebody_kills_is_made_again(ffmpeg: Path, tmp_path: Path) -> None:
    program, mark = tmp_path / "ffmpeg", tmp_path / "killed"
    program.write_text(f'#!/bin/sh\n[ -e {mark} ] || {{ touch {mark}; kill -9 $$; }}\nexec {ffmpeg} "$@"\n')
    program.chmod(0o755)
    (way,) = encoders.ways(program, h264(), prefer_hardware=False)
    assert (str(way), way.exact_times) == ("libx264", True)
    assert mark.exists()


def test_hardware_that_works_comes_first_and_software_last(ffmpeg: Path, tmp_path: Path) -> None:
    ladder = encoders.ways(device(tmp_path, ffmpeg, "exit 0"), h264())
    assert [str(way) for way in ladder] == [
        "h264_nvenc (hardware decode)", "h264_nvenc (software decode)", "libx264",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [(1920, 1080, "h264_nvenc"), (100, 76, "libx264"), (7680, 4320, "libx264"), (1920, 32, "libx264")],
)
def test_a_size_that_the_hardware_cannot_do_goes_to_software(
    ffmpeg: Path, tmp_path: Path, width: int, height: int, name: str
) -> None:
    first = encoders.ways(device(tmp_path, ffmpeg, "exit 0"), h264(width, height))[0]
    assert first.encoder.name == name
    assert name == "h264_nvenc" or f"h264_nvenc: cannot encode {width}×{height}" in first.reason


def test_ten_bits_of_h264_are_software_s_alone(ffmpeg: Path, tmp_path: Path) -> None:
    deep = VideoPlan("h264", Crf(23), "medium", 1280, 720, ten_bit=True)
    (way,) = encoders.ways(device(tmp_path, ffmpeg, "exit 0"), deep)
    assert (str(way), way.reason) == ("libx264", "no hardware encodes this")


def hardware_failure(*stderr: str, exit_code: int = 1) -> FfmpegFailed:
    return FfmpegFailed(["ffmpeg"], exit_code, stderr)


@pytest.mark.parametrize(
    "line",
    [
        "[h264_nvenc @ 0x5] [error] OpenEncodeSessionEx failed: out of memory (10): (no details)",
        "[hevc_cuvid @ 0x5] [error] cuvidCreateDecoder failed: CUDA_ERROR_OUT_OF_MEMORY",
        "[error] Device creation failed: -542398533.",
        "[h264_vaapi @ 0x5] [error] Driver does not support QVBR RC mode",
        "[hevc_qsv @ 0x5] [error] Error creating a MFX session: -9.",
        "[fatal] Error while opening encoder - maybe incorrect parameters such as bit_rate, rate, width or height.",
    ],
)
def test_the_words_of_a_device_blame_it(line: str) -> None:
    assert encoders.blames_hardware(hardware_failure(line))


@pytest.mark.parametrize(
    "error",
    [
        hardware_failure("[in#0 @ 0x5] [error] Error opening input: Invalid data found when processing input"),
        hardware_failure("[in#0 @ 0x5] [error] Error opening input file file:/media/barracuda.mkv"),
        hardware_failure("[h264_nvenc @ 0x5] [error] x", "av_interleaved_write_frame(): No space left on device"),
        hardware_failure(exit_code=-9),
        OutputRejected(Path("a.mp4"), ("it lasts 1 s",)),
    ],
    ids=["file", "name", "disk", "killed", "verdict"],
)
def test_what_software_would_meet_too_does_not(error: MediaError) -> None:
    assert not encoders.blames_hardware(error)


def test_a_driver_that_crashes_or_hangs_is_blamed() -> None:
    assert encoders.blames_hardware(hardware_failure(exit_code=-11))
    assert encoders.blames_hardware(FfmpegStalled(["ffmpeg"], 300))


QUALITY_FLAGS = [
    ("libx264", "h264", {"-crf": "23"}, ()),
    ("libx265", "hevc", {"-crf": "23"}, ("-cq",)),
    ("libsvtav1", "av1", {"-crf": "23", "-preset": "6"}, ("-cq",)),
    ("libvpx-vp9", "vp9", {"-crf": "23", "-b:v:0": "0", "-row-mt": "1"}, ("-preset",)),
    ("hevc_nvenc", "hevc", {"-cq": "23", "-b:v:0": "0", "-preset": "p5"}, ("-crf",)),
    ("av1_nvenc", "av1", {"-cq": "23"}, ("-crf",)),
    ("h264_qsv", "h264", {"-global_quality": "23", "-pix_fmt:v:0": "nv12"}, ("-crf", "-cq")),
    ("av1_qsv", "av1", {"-global_quality": "19"}, ("-crf",)),
    ("hevc_vaapi", "hevc", {"-rc_mode": "CQP", "-qp": "23"}, ("-crf", "-pix_fmt:v:0")),
    ("vp9_vaapi", "vp9", {"-rc_mode": "CQP", "-global_quality": "93"}, ("-crf", "-qp")),
]


@pytest.mark.parametrize(("name", "codec", "told", "never"), QUALITY_FLAGS, ids=[case[0] for case in QUALITY_FLAGS])
def test_each_encoder_hears_of_quality_in_its_own_words(
    name: str, codec: Codec, told: dict[str, str], never: tuple[str, ...]
) -> None:
    given = flags(name, VideoPlan(codec, Crf(23), "medium", 1920, 1080))
    assert {flag: given[given.index(flag) + 1] for flag in told} == told
    assert not set(never) & set(given)


@pytest.mark.parametrize("codec", list(ENCODERS))
def test_every_encoder_knows_every_preset_rate_and_depth(codec: Codec) -> None:
    for name in ENCODERS[codec].values():
        for preset in get_args(get_args(Preset)[0]):
            for quality in (Crf(0), Crf(51), Bitrate(900)):
                for ten_bit in (False, True):
                    video = VideoPlan(codec, quality, preset, 640, 480, max_bitrate_kbps=1000, ten_bit=ten_bit)
                    given = flags(name, video)
                    assert given[:2] == ["-c:v:0", name]
                    assert all(isinstance(argument, str) and argument for argument in given)


def test_a_target_must_have_become_a_crf() -> None:
    with pytest.raises(ValueError, match="must be searched for"):
        flags("libx264", VideoPlan("h264", Target("vmaf", 95), "medium", 640, 480))


def test_software_is_the_only_way_where_hardware_is_not_wanted(ffmpeg: Path) -> None:
    for codec in ENCODERS:
        (way,) = encoders.ways(ffmpeg, VideoPlan(codec, Crf(30), "medium", 640, 480), prefer_hardware=False)
        assert str(way) == ENCODERS[codec]["software"]
        assert way.reason == "hardware encoding is switched off"


def test_a_picture_that_is_copied_needs_no_encoder(tmp_path: Path) -> None:
    assert encoders.ways(tmp_path / "no ffmpeg", None) == (encoders.COPY,)


def test_nothing_that_encodes_is_an_error_with_every_reason(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\necho "[x @ 0x5] Unknown encoder" >&2\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(NoEncoder, match=r"Nothing here encodes av1: av1_nvenc: Unknown encoder; .*libsvtav1: Unknown"):
        encoders.ways(program, VideoPlan("av1", Crf(30), "medium", 640, 480))


def test_a_picture_too_small_for_a_codec_is_refused_before_any_work(ffmpeg: Path) -> None:
    with pytest.raises(NoEncoder, match=r"libx265: .*too small"):
        encoders.ways(ffmpeg, VideoPlan("hevc", Crf(30), "medium", 640, 8), prefer_hardware=False)


def test_an_older_ffmpeg_is_not_asked_for_exact_times(ffmpeg: Path, tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\ncase "$*" in *enc_time_base*) exit 1;; esac\nexec {ffmpeg} "$@"\n')
    program.chmod(0o755)
    video = VideoPlan("h264", Crf(30), "medium", 640, 480)
    assert [way.exact_times for way in encoders.ways(program, video, prefer_hardware=False)] == [False]
    assert [way.exact_times for way in encoders.ways(ffmpeg, video, prefer_hardware=False)] == [True]


def test_policies_and_encoders_have_one_scale() -> None:
    """The queue may import nothing of media, so the figures stand on both sides."""
    assert dict(policy.DEFAULT_CRF) == dict(encoder_flags.DEFAULT_CRF)
    assert dict(policy.MAX_CRF) == dict(encoder_flags.WORST_CRF)
