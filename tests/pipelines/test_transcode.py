"""A policy over a mixed folder: what the dry run says is what the jobs do, and a second run finds nothing to do."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import queue, videos
from jobqueue_bridge.queue import Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.cli.main import main
from media_pipelines.definitions import defs
from media_pipelines.media.probe import Probe, Prober
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready, run_request

HEVC = """\
schema_version: 2
transcode:
  target_video_codec: hevc
  target_crf: 30
  preset: ultrafast
  max_width: 320
  max_height: 320
  audio_preserve_codecs: [aac, flac]
  audio_transcode_to: aac
  on_larger: keep-result
"""
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "10")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error")
AAC, MP3, MP2 = ("-c:a", "aac"), ("-c:a", "libmp3lame"), ("-c:a", "mp2")
Cli = Callable[..., "Printed"]


class Printed:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def actions(self) -> dict[str, tuple[str, str]]:
        return {Path(file["path"]).name: (file["action"], file["reason"]) for file in self.json}


@pytest.fixture
def cli(
    settings: Settings, database: sa.Engine, library: Path, instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> Cli:  # fmt: skip
    def run(*arguments: object) -> Printed:
        monkeypatch.setattr(sys, "argv", ["media-pipelines", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Printed(int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture
def policy(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "hevc.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def work(settings: Settings, database: sa.Engine, instance: dg.DagsterInstance) -> Callable[[], list[Job]]:
    """Run every job that waits, one after another; return their rows."""

    def one_after_another() -> list[Job]:
        done = []
        while dispatched := admit_ready(settings, Gpu()):
            for each in dispatched:
                request = run_request(each)
                assert request.job_name is not None
                instance.add_dynamic_partitions("videos", [str(request.partition_key)])
                defs.resolve_job_def(request.job_name).execute_in_process(
                    run_config=request.run_config, partition_key=request.partition_key, tags=request.tags,
                    instance=instance, raise_on_error=False,
                )  # fmt: skip
                with database.begin() as connection:
                    done.append(queue.get(connection, each.job.id))
        return done

    return one_after_another


@pytest.fixture
def clip(ffmpeg: Path, library: Path) -> Callable[..., Path]:
    def make(name: str, *codecs: str, size: str = "320x180", tones: int = 1, seconds: float = 1) -> Path:
        path = library / "library/videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = f"sine=d={seconds}:sample_rate=48000"
        sound = [argument for _ in range(tones) for argument in ("-f", "lavfi", "-i", tone)]
        maps = [argument for n in range(tones + 1) for argument in ("-map", str(n))]
        subprocess.run(
            [
                ffmpeg, "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds}", *sound, *maps,
                *codecs, f"file:{path}",
            ],
            check=True,
        )  # fmt: skip
        return path

    return make


@pytest.fixture
def mixed(clip: Callable[..., Path]) -> Path:
    """Files of every kind that a folder holds; those that comply are hevc, at most 320 wide, with aac or flac."""
    folder = clip("film.mp4", *X264, *AAC).parent
    clip("complies.mkv", *X265, *AAC)
    clip("large.mp4", *X264, *AAC, size="640x360")
    clip("large hevc.mkv", *X265, *AAC, size="640x360")
    clip("odd size.mkv", *X264, "-pix_fmt", "yuv444p", *AAC, size="161x91")
    clip("mp3 and flac.mkv", *X265, "-c:a:0", "libmp3lame", "-c:a:1", "flac", tones=2)
    clip("silent.mp4", *X264, tones=0)
    clip("complies silently.mp4", *X265, "-tag:v", "hvc1", tones=0)
    clip("new\nline \x1b[31mred.mp4", *X264, *AAC)
    clip("deeper/old.avi", "-c:v", "mpeg4", *MP3)
    whole = clip("truncated.mp4", *X264, *AAC).read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mkv").write_text("I am not a video")
    (folder / "empty.mp4").touch()
    return folder


def probed(path: Path) -> Probe:
    with Prober() as prober:
        return prober.probe(path, decode_frames=3)


def test_dry_run_and_real_run_agree_for_every_file_and_a_second_run_queues_nothing(
    cli: Cli, policy: Callable[[str], Path], mixed: Path, work: Callable[[], list[Job]], database: sa.Engine
) -> None:
    """Must show 4."""
    command = ("transcode", "--policy", policy(HEVC), "-R", mixed, "--json")
    before = {path: path.read_bytes() for path in mixed.rglob("*") if path.is_file()}
    dry = cli(*command, "--dry-run")
    assert {path: path.read_bytes() for path in before} == before
    assert {name: action for name, (action, _) in dry.actions.items()} == {
        "film.mp4": "encode", "complies.mkv": "skip", "large.mp4": "encode", "large hevc.mkv": "encode",
        "odd size.mkv": "encode", "mp3 and flac.mkv": "encode", "silent.mp4": "encode",
        "complies silently.mp4": "skip", "new\nline \x1b[31mred.mp4": "encode", "old.avi": "encode",
        "truncated.mp4": "refuse", "text.mkv": "refuse", "empty.mp4": "refuse",
    }  # fmt: skip
    assert dry.actions["large.mp4"][1] == "h264 -> hevc, 640x360 -> 320x180"
    assert dry.actions["large hevc.mkv"][1] == "hevc encoded anew, 640x360 -> 320x180"
    assert dry.actions["mp3 and flac.mkv"][1] == "audio 1: mp3 -> aac"
    with database.begin() as connection:
        assert queue.stats(connection).by_status[JobStatus.PENDING] == 0

    real = cli(*command)
    assert real.actions == dry.actions
    assert real.code == dry.code == 1  # three files are broken
    queued = {file["jobId"]: file for file in real.json if file["jobId"]}
    jobs = work()
    assert {str(job.id) for job in jobs} == set(queued)
    for job in jobs:
        said = queued[str(job.id)]
        assert (job.status, job.error) == (JobStatus.COMPLETED, None), said
        assert job.result is not None
        assert job.result["outcome"] == "done"
        made = mixed.parent.parent / job.result["outputPath"]
        assert made.name == said["resultName"]
        assert made.parent == (mixed.parent.parent / said["path"]).parent
        result = probed(made)
        assert (result.video_codec, max(result.width, result.height) <= 320) == ("hevc", True)
        assert {stream.codec for stream in result.of_kind("audio")} <= {"aac", "flac"}
        assert (mixed.parent.parent / job.result["backupPath"]).read_bytes() == before[
            mixed.parent.parent / said["path"]
        ]
        with database.begin() as connection:
            row = videos.find(connection, job.result["outputPath"])
        assert (row.video_codec, row.size_bytes) == ("hevc", made.stat().st_size)
    assert len(probed(mixed / "mp3 and flac.mkv").of_kind("audio")) == 2
    untouched = [name for name, (action, _) in dry.actions.items() if action != "encode"]
    assert all((mixed / name).read_bytes() == before[mixed / name] for name in untouched)
    assert not list(mixed.rglob("*.partial*"))

    again = cli(*command)
    assert {action for action, _ in again.actions.values()} == {"skip", "refuse"}
    assert work() == []
