from pathlib import Path

import pytest

from media_pipelines.media import encoders
from media_pipelines.media.encoders import Encoder

NVENC = Encoder("h264_nvenc", hardware=True, reason="a test encode succeeded")


def test_the_hardware_is_chosen_only_when_it_encodes(ffmpeg: Path) -> None:
    chosen = encoders.choose_h264(ffmpeg)
    verdicts = dict(encoders.available(ffmpeg))
    assert chosen.hardware is (verdicts["h264_nvenc"] is None)
    assert verdicts["libx264"] is None
    assert chosen.reason
    assert "0x" not in chosen.reason
    assert "\n" not in chosen.reason


def test_a_preference_for_software_is_obeyed_and_recorded(ffmpeg: Path) -> None:
    assert encoders.choose_h264(ffmpeg, prefer_hardware=False) == Encoder(
        "libx264", hardware=False, reason="hardware encoding is switched off"
    )


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("sleep 5", "took longer than 0.3 s"),
        ("echo '[h264_nvenc @ 0x55] Cannot load libcuda.so.1' >&2; exit 1", "h264_nvenc: Cannot load libcuda.so.1"),
        ("exit 3", "exit code 3"),
    ],
)
def test_why_not_is_told_in_a_few_words(tmp_path: Path, script: str, reason: str) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\ncase $* in *nvenc*) {script};; esac\n")
    program.chmod(0o755)
    chosen = encoders.choose_h264(program, timeout_s=0.3)
    assert chosen.name == "libx264"
    assert reason in chosen.reason


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [(1920, 1080, "h264_nvenc"), (101, 77, "libx264"), (7680, 4320, "libx264"), (1920, 32, "libx264")],
)
def test_a_size_that_the_hardware_cannot_do_goes_to_software(width: int, height: int, name: str) -> None:
    assert encoders.suited(NVENC, width, height).name == name
