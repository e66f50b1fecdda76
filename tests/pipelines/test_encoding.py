"""The ladder of encoders, the quality target and the limits, in real attempts. A device that works, or breaks in the
middle, is played by a script before the real ffmpeg."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import logs, videos, vram
from jobqueue_bridge.queue import Job
from jobqueue_bridge.tables import job_attempts
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips
from tests.pipelines.conftest import RunJob, make_clip

# NVENC passes its test encode, whose output goes nowhere; what a real encode does is up to the test.
_DEVICE = """#!/bin/sh
case "$*" in
*_nvenc*null*) exit 0 ;;
*hwaccel*_nvenc*) {decoding} ;;
*_nvenc*) {encoding} ;;
esac
exec {ffmpeg} "$@"
"""
_NO_SESSION = 'echo "[h264_nvenc @ 0x55] [error] OpenEncodeSessionEx failed: out of memory (10)" >&2; exit 1'
_NO_MEMORY = 'echo "[h264_nvenc @ 0x55] [error] InitializeEncoder failed: out of memory (10)" >&2; exit 1'
_NOT_OPENED = 'echo "[vost#0:0/h264_nvenc @ 0x55] [error] Error while opening encoder" >&2; exit 1'
_NO_SURFACE = 'echo "[AVHWFramesContext @ 0x55] [error] Failed setup for format cuda: hwaccel init error" >&2; exit 1'
_BAD_FILE = 'echo "[in#0 @ 0x55] [error] Error opening input: Invalid data found when processing input" >&2; exit 1'


@pytest.fixture
def video(ffmpeg: Path, library: Path, run_job: RunJob, database: sa.Engine) -> UUID:
    make_clip(ffmpeg, library / "library/videos/clip.mp4")
    run_job("scan", {})
    with database.begin() as connection:
        found = videos.find(connection, "library/videos/clip.mp4")
    assert found is not None
    return found.id


@pytest.fixture
def with_device(ffmpeg: Path, tmp_path: Path) -> Iterator[Callable[[str, str], None]]:
    def install(decoding: str, encoding: str) -> None:
        script = tmp_path / "bin" / "ffmpeg"
        script.parent.mkdir()
        script.write_text(_DEVICE.format(decoding=decoding, encoding=encoding, ffmpeg=ffmpeg))
        script.chmod(0o755)
        os.environ["FFMPEG_BINARY"] = str(script)

    yield install
    os.environ.pop("FFMPEG_BINARY", None)


def reencode(run_job: RunJob, video: UUID, **params: Any) -> Job:
    return run_job("reencode_streaming", {"videoId": str(video), "preset": "ultrafast", **params})


def log_of(database: sa.Engine, job: Job) -> str:
    with database.begin() as connection:
        return logs.text(connection, job.id)


def encoder_of(database: sa.Engine, job: Job) -> str:
    with database.begin() as connection:
        return str(
            connection.scalar(
                sa.select(job_attempts.c.encoder).where(
                    job_attempts.c.job_id == job.id, job_attempts.c.attempt == job.attempt
                )
            )
        )


def test_a_device_that_fails_is_left_step_by_step_within_the_attempt(
    run_job: RunJob, video: UUID, with_device: Callable[[str, str], None], database: sa.Engine, library: Path
) -> None:
    with_device(_NO_SURFACE, _NOT_OPENED)
    done = reencode(run_job, video)
    assert done.status == JobStatus.COMPLETED, done.error
    assert (done.attempt, done.result["encoder"]) == (1, "libx264")
    log = log_of(database, done)
    assert "Encoder: h264_nvenc (hardware decode) (a test encode succeeded)" in log
    assert "h264_nvenc (hardware decode) failed: Failed setup for format cuda" in log
    assert "h264_nvenc (software decode) failed: Error while opening encoder" in log
    recorded = encoder_of(database, done)
    assert recorded.startswith("libx264: h264_nvenc (hardware decode) failed")
    assert "Error while opening encoder" in recorded
    assert not list(library.rglob("*.partial*"))


def test_a_fallback_does_not_stick(
    run_job: RunJob, video: UUID, with_device: Callable[[str, str], None], database: sa.Engine
) -> None:
    with_device(_NO_SURFACE, _NOT_OPENED)
    for name in ("one", "two"):
        done = reencode(run_job, video, outputPath=f"playback/{name}.mp4")
        assert "Encoder: h264_nvenc (hardware decode)" in log_of(database, done)


def again_at_once(run_job: RunJob, database: sa.Engine, job: Job) -> Job:
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET retry_after = NULL"))
    done: Job = run_job.again(job)  # type: ignore[attr-defined]
    return done


def test_a_job_waits_for_an_encoder_session_as_no_retry_and_in_the_end_software_does_it(
    run_job: RunJob, video: UUID, with_device: Callable[[str, str], None], database: sa.Engine
) -> None:
    """The trial at the start succeeded: other encodes took the sessions since."""
    with_device(_NO_SURFACE, _NO_SESSION)
    job = reencode(run_job, video)
    for attempt in (1, 2, 3):
        assert (job.status, job.attempt, job.retry_count, job.vram_required) == (JobStatus.PENDING, attempt, 0, 4000)
        assert job.retry_after is not None
        assert "no free encoder session" in (job.error or "")
        job = again_at_once(run_job, database, job)
    assert (job.status, job.attempt, job.result["encoder"]) == (JobStatus.COMPLETED, 4, "libx264"), job.error
    assert "OpenEncodeSessionEx failed: out of memory (10)" in encoder_of(database, job)


def test_a_session_that_is_missing_at_the_trial_already_is_no_reason_to_wait(
    run_job: RunJob, video: UUID, ffmpeg: Path, tmp_path: Path, database: sa.Engine
) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text(f'#!/bin/sh\ncase "$*" in *_nvenc*) {_NO_SESSION} ;; esac\nexec {ffmpeg} "$@"\n')
    script.chmod(0o755)
    os.environ["FFMPEG_BINARY"] = str(script)
    try:
        job = reencode(run_job, video)
    finally:
        del os.environ["FFMPEG_BINARY"]
    assert (job.status, job.attempt, job.result["encoder"]) == (JobStatus.COMPLETED, 1, "libx264"), job.error
    assert "h264_nvenc: OpenEncodeSessionEx failed: out of memory (10)" in encoder_of(database, job)


def test_after_running_out_of_gpu_memory_the_next_attempt_reserves_more(
    run_job: RunJob, video: UUID, with_device: Callable[[str, str], None], database: sa.Engine
) -> None:
    with_device(_NO_MEMORY, _NO_MEMORY)
    job = reencode(run_job, video)
    for attempt, reserved_mb in ((1, 6000), (2, 9000), (3, 14000)):
        assert (job.status, job.attempt, job.retry_count) == (JobStatus.PENDING, attempt, 0)
        assert job.vram_required == reserved_mb
        assert f"Out of GPU memory: the next attempt reserves {reserved_mb} MB instead of" in log_of(database, job)
        job = again_at_once(run_job, database, job)
    assert (job.status, job.attempt, job.result["encoder"]) == (JobStatus.COMPLETED, 4, "libx264"), job.error


def test_what_was_learned_is_reserved_where_it_is_more(
    run_job: RunJob, video: UUID, with_device: Callable[[str, str], None], database: sa.Engine
) -> None:
    with database.begin() as connection:
        vram.learn(connection, vram.Work("reencode_streaming", "h264", "480p"), 11500)
    with_device(_NO_MEMORY, _NO_MEMORY)
    assert reencode(run_job, video).vram_required == 12000


def test_a_job_that_had_the_whole_budget_is_encoded_in_software(
    run_job: RunJob, video: UUID, with_device: Callable[[str, str], None]
) -> None:
    with_device(_NO_MEMORY, _NO_MEMORY)
    job = run_job("reencode_streaming", {"videoId": str(video), "preset": "ultrafast"}, vram_required=16000)
    assert (job.status, job.attempt, job.result["encoder"]) == (JobStatus.COMPLETED, 1, "libx264"), job.error


def test_a_failure_that_is_in_the_file_is_not_tried_again_in_software(
    run_job: RunJob, video: UUID, with_device: Callable[[str, str], None], database: sa.Engine
) -> None:
    with_device(_BAD_FILE, _BAD_FILE)
    failed = reencode(run_job, video)
    assert failed.status == JobStatus.FAILED
    assert "Invalid data found" in failed.error
    assert log_of(database, failed).count("Encoder: ") == 1


def test_a_quality_target_is_searched_for_and_recorded(run_job: RunJob, video: UUID, database: sa.Engine) -> None:
    done = reencode(run_job, video, targetXpsnr=30, targetBitrate=200_000)
    assert done.status == JobStatus.COMPLETED, done.error
    quality = done.result["quality"]
    assert (quality["metric"], quality["wanted"]) == ("xpsnr", 30)
    log = log_of(database, done)
    assert 30 <= quality["score"] < 32, log
    assert f"-crf {quality['crf']}" in log
    assert f"Quality: CRF {quality['crf']} gives {quality['score']:.2f}" in log
    assert f"CRF {quality['crf']} gives xpsnr" in encoder_of(database, done)


def test_a_quality_out_of_reach_fails_for_good(run_job: RunJob, video: UUID, library: Path) -> None:
    failed = reencode(run_job, video, targetXpsnr=99)
    assert failed.status == JobStatus.FAILED
    assert "does not reach xpsnr 99" in failed.error
    assert not [path for path in library.rglob("*") if "partial" in path.name]


def test_an_output_above_its_size_limit_is_refused(run_job: RunJob, video: UUID, library: Path) -> None:
    failed = reencode(run_job, video, maxSizePercent=5)
    assert failed.status == JobStatus.FAILED
    assert "the limit is" in failed.error
    assert not list((library / "playback").iterdir())


def test_every_frame_of_an_output_can_be_decoded_before_it_is_published(
    run_job: RunJob, video: UUID, database: sa.Engine
) -> None:
    done = reencode(run_job, video, verify="full")
    assert done.status == JobStatus.COMPLETED, done.error
    assert "Verified: every frame decoded" in log_of(database, done)


def test_an_output_that_looks_too_little_like_its_source_is_refused(
    run_job: RunJob, video: UUID, database: sa.Engine, library: Path
) -> None:
    failed = reencode(run_job, video, crf=51, minVmaf=90)
    assert failed.status == JobStatus.FAILED
    assert "below 90" in failed.error
    assert "Quality: VMAF" in log_of(database, failed)
    assert not list((library / "playback").iterdir())


def test_a_cover_in_matroska_survives_a_transcode(
    ffmpeg: Path, library: Path, run_job: RunJob, database: sa.Engine, tmp_path: Path
) -> None:
    laden = Clips(ffmpeg, tmp_path).laden
    source = library / "library/videos/laden.mkv"
    source.parent.mkdir(parents=True)
    source.write_bytes(laden.read_bytes())
    run_job("scan", {})
    policy = {"target_video_codec": "hevc", "preset": "ultrafast", "on_larger": "keep-result"}
    with database.begin() as connection:
        video = videos.find(connection, "library/videos/laden.mkv")
    assert video is not None
    done = run_job("transcode", {"videoId": str(video.id), "policy": policy})
    assert done.status == JobStatus.COMPLETED, done.error
    with Prober() as prober:
        made = prober.probe(source)
    assert [(stream.kind, stream.codec) for stream in made.streams] == [
        ("video", "hevc"), ("subtitle", "subrip"), ("subtitle", "hdmv_pgs_subtitle"), ("attachment", "unknown"),
        ("video", "mjpeg"),
    ]  # fmt: skip
    assert made.streams[-1].is_cover
    assert not [path for path in library.rglob("*") if "partial" in path.name]
