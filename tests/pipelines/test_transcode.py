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

from jobqueue_bridge import logs, queue, stats, videos
from jobqueue_bridge.queue import Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.cli.main import main
from media_pipelines.definitions import defs
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
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
    """Of a mixed folder, down to the broken file."""
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
        assert stats.read(connection).by_status[JobStatus.PENDING] == 0

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


# What becomes of results


TINY = "transcode:\n  target_video_codec: hevc\n  target_crf: 51\n  preset: ultrafast\n"
HUGE = "transcode:\n  target_video_codec: hevc\n  target_crf: 0\n  preset: ultrafast\n"


def only(jobs: list[Job]) -> dict[str, Any]:
    (job,) = jobs
    assert (job.status, job.error) == (JobStatus.COMPLETED, None)
    assert job.result is not None
    return job.result


def test_a_larger_result_is_discarded_and_not_tried_again(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]]
) -> None:
    path = clip("small.mp4", "-c:v", "libx264", "-crf", "40", tones=0)
    before, command = path.read_bytes(), ("transcode", "--policy", policy(HUGE), path, "--json")
    assert cli(*command).actions["small.mp4"][0] == "encode"
    result = only(work())
    assert result["outcome"] == "larger"
    assert "the limit is" in result["detail"]
    assert [file.name for file in path.parent.iterdir()] == ["small.mp4"]
    assert path.read_bytes() == before

    again = cli(*command)
    assert (again.code, again.actions["small.mp4"][0]) == (0, "skip")
    assert again.actions["small.mp4"][1].endswith("(tried before; --force tries again)")
    assert work() == []
    copy = path.with_name("copy.mp4")
    copy.write_bytes(before)
    assert cli("transcode", "--policy", policy(HUGE), copy, "--json").actions["copy.mp4"][0] == "skip"
    assert cli(*command, "--force").actions["small.mp4"][0] == "encode"
    assert only(work())["outcome"] == "larger"
    kept = policy(HUGE + "  on_larger: keep-result\n")
    assert cli("transcode", "--policy", kept, path, "--json").actions["small.mp4"][0] == "encode"
    assert only(work())["outcome"] == "done"


def test_a_job_for_what_was_tried_meanwhile_completes_with_that_outcome(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]]
) -> None:
    """Two copies of one file are queued; what came of the first is known when the second starts."""
    path = clip("small.mp4", "-c:v", "libx264", "-crf", "40", tones=0)
    path.with_name("twin.mp4").write_bytes(path.read_bytes())
    assert cli("transcode", "--policy", policy(HUGE), path.parent).code == 0
    first, second = work()
    assert first.result is not None
    assert second.result is not None
    assert [first.result["outcome"], second.result["outcome"]] == ["larger", "larger"]


def test_two_copies_of_one_file_are_both_encoded(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]]
) -> None:
    path = clip("one.mp4", *X264, tones=0)
    twin = path.with_name("twin.mp4")
    twin.write_bytes(path.read_bytes())
    assert cli("transcode", "--policy", policy(TINY), path.parent).code == 0
    assert [job.result and job.result["outcome"] for job in work()] == ["done", "done"]
    assert [probed(each).video_codec for each in (path, twin)] == ["hevc", "hevc"]


def test_a_result_that_the_policy_would_encode_again_is_not(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]]
) -> None:
    """No result of this policy can be under its bit rate: it must not be encoded every night."""
    path = clip("film.mp4", *X264, tones=0)
    endless = policy("transcode:\n  target_video_codec: hevc\n  preset: ultrafast\n  skip_if: {bitrate_under: 8k}\n")
    assert cli("transcode", "--policy", endless, path).code == 0
    assert only(work())["outcome"] == "done"
    again = cli("transcode", "--policy", endless, path, "--json")
    assert again.actions["film.mp4"][0] == "skip"
    assert "known to be compliant" in again.actions["film.mp4"][1]


def test_a_destination_gets_the_result_and_the_source_stays(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]], library: Path,
    database: sa.Engine,
) -> None:  # fmt: skip
    path = clip("The.Matrix.1999.avi", *X264, tones=0)
    before = path.read_bytes()
    to = policy(TINY + "  destination: 'Movies/{year}/{title}'\n")
    dry = cli("transcode", "--policy", to, "-n", path)
    assert "[QUEUE] The.Matrix.1999.avi: h264 -> hevc\n        Destination: Movies/1999/The Matrix/\n" in dry.out
    assert cli("transcode", "--policy", to, path).code == 0
    result = only(work())
    assert result["outputPath"] == "Movies/1999/The Matrix/The.Matrix.1999.mkv"
    assert probed(library / result["outputPath"]).video_codec == "hevc"
    assert path.read_bytes() == before
    with database.begin() as connection:
        source = videos.find(connection, "library/videos/The.Matrix.1999.avi")
        assert videos.find(connection, result["outputPath"]).source_video_id == source.id
    again = cli("transcode", "--policy", to, path, "--json")
    assert "done before" in again.actions["The.Matrix.1999.avi"][1]
    assert cli("transcode", "--policy", to, library / "Movies", "-R", "--json").json[0]["action"] == "skip"
    (library / result["outputPath"]).unlink()
    lost = cli("transcode", "--policy", to, path, "--json", "-n")
    assert lost.actions["The.Matrix.1999.avi"][0] == "encode", "what is gone is not done"


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    return monkeypatch.setenv


def test_an_encode_is_written_in_the_temporary_directory_and_the_original_goes_where_that_is_wanted(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]],
    setting: Callable[[str, str], None], tmp_path: Path, database: sa.Engine,
) -> None:  # fmt: skip
    path = clip("film.mp4", *X264, tones=0)
    setting("MEDIA_TEMP_DIRECTORY", str(tmp_path / "fast"))
    setting("MEDIA_BACKUP_ORIGINAL", "false")
    assert cli("transcode", "--policy", policy(TINY), path).code == 0
    (job,) = work()
    assert (job.error, job.result and job.result["backupPath"]) == (None, None)
    with database.begin() as connection:
        assert f"file:{tmp_path}/fast/film." in logs.text(connection, job.id)
    assert list((tmp_path / "fast").iterdir()) == []
    assert [file.name for file in path.parent.iterdir()] == ["film.mp4"]
    assert probed(path).video_codec == "hevc"


# What must not be touched


def test_a_file_of_several_names_and_a_link_are_refused_in_place_and_fine_with_a_destination(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]]
) -> None:
    path = clip("film.mp4", *X264, tones=0)
    path.with_name("second name.mp4").hardlink_to(path)
    link = path.parent.parent / "link.mp4"
    link.symlink_to(path)
    command = ("transcode", path.parent, link, "--json", "--policy")
    refused = cli(*command, policy(TINY))
    assert refused.code == 1
    assert {action for action, _ in refused.actions.values()} == {"refuse"}
    assert "2 names (hard links)" in refused.actions["film.mp4"][1]
    assert "symbolic link" in refused.actions["link.mp4"][1]
    fine = cli(*command, policy(TINY + "  destination: elsewhere\n"))
    assert {action for action, _ in fine.actions.values()} == {"encode"}
    assert [job.status for job in work()] == [JobStatus.COMPLETED] * 3


def test_a_taken_name_is_refused_before_anything_is_encoded(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path]
) -> None:
    clip("film.mkv", *X265, tones=0)
    clip("film.avi", *X264, tones=0)
    found = cli("transcode", "--policy", policy(TINY), "library/videos", "--json")
    assert found.actions["film.avi"] == ("refuse", "'film.mkv', the name of the result, is taken")


def test_the_name_of_a_video_that_is_missing_is_left_to_it(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], add_video: Any
) -> None:
    clip("film.avi", *X264, tones=0)
    add_video("library/videos/film.mkv", title="on a disk that is not mounted")
    found = cli("transcode", "--policy", policy(TINY), "library/videos", "--json")
    action, reason = found.actions["film.avi"]
    assert action == "refuse"
    assert "'film.mkv', the name of the result, is that of a video that is missing" in reason


def test_of_two_files_whose_results_would_get_one_name_the_second_is_refused_in_the_dry_run_already(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]]
) -> None:
    clip("film.avi", *X264, tones=0)
    clip("film.flv", *X264, tones=0)
    command = ("transcode", "--policy", policy(TINY), "library/videos", "--json")
    dry, real = cli(*command, "-n"), cli(*command)
    assert dry.actions == real.actions
    assert real.actions["film.flv"] == ("refuse", "the result of 'film.avi' gets the name 'film.mkv'")
    assert only(work())["outcome"] == "done"


def test_a_source_that_breaks_after_it_was_queued_fails_its_job_and_is_marked(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]],
    database: sa.Engine,
) -> None:  # fmt: skip
    path = clip("film.mp4", *X264, tones=0)
    assert cli("transcode", "--policy", policy(TINY), path).code == 0
    path.write_bytes(path.read_bytes()[:900])
    (job,) = work()
    assert job.status == JobStatus.FAILED
    assert "film.mp4 cannot be read as a video" in (job.error or "")
    with database.begin() as connection:
        assert videos.find(connection, "library/videos/film.mp4").is_valid is False


def test_a_file_that_a_live_job_works_on_is_not_queued_again(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path]
) -> None:
    path = clip("film.mp4", *X264, tones=0)
    (first,) = cli("transcode", "--policy", policy(TINY), path, "--json").json
    again = cli("transcode", "--policy", policy(HUGE), path, "--json")
    assert (again.code, again.json[0]["action"], again.json[0]["outcome"]) == (0, "skip", "queued")
    assert first["jobId"] in again.json[0]["reason"]


def test_the_time_that_earlier_jobs_took_is_the_next_estimate(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]]
) -> None:
    clip("film.mp4", *X264, tones=0)
    command = ("transcode", "--policy", policy(TINY), "library/videos", "--json")
    assert cli(*command).json[0]["estimateIsMeasured"] is False
    took_s = only(work())["encodeSeconds"]
    clip("next.mp4", *X264, tones=0, seconds=2)
    (_, following) = cli(*command, "-n").json
    assert following["estimateIsMeasured"] is True
    assert following["estimatedSeconds"] == pytest.approx(2 * took_s, rel=0.1)


def test_a_job_learns_what_an_unknown_file_holds(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]],
    database: sa.Engine,
) -> None:  # fmt: skip
    path = clip("film.mp4", *X264, tones=0)
    cli("transcode", "--policy", policy(TINY + "  destination: elsewhere\n"), path)
    work()
    with database.begin() as connection:
        row = videos.find(connection, "library/videos/film.mp4")
    assert (row.video_codec, row.width, row.size_bytes, row.is_valid) == ("h264", 320, path.stat().st_size, True)


# When something goes wrong on the way


@pytest.fixture
def lossy_ffmpeg(ffmpeg: Path, tmp_path: Path, setting: Callable[[str, str], None]) -> None:
    """An ffmpeg that ends its files after a third of a second and says that all is well."""
    script = tmp_path / "ffmpeg"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys\n*rest, output = sys.argv[1:]\n"
        f"os.execv({str(ffmpeg)!r}, ['ffmpeg', *rest, '-t', '0.3', output])\n"
    )
    script.chmod(0o755)
    setting("FFMPEG_BINARY", str(script))


def test_a_result_that_fails_verification_is_discarded_and_not_made_again(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]],
    lossy_ffmpeg: None, database: sa.Engine,
) -> None:  # fmt: skip
    path = clip("film.mp4", *X264, tones=0, seconds=3)
    before = path.read_bytes()
    assert cli("transcode", "--policy", policy(TINY), path).code == 0
    (job,) = work()
    assert (job.status, job.retry_after) == (JobStatus.FAILED, None)
    assert "instead of 3.00 s" in (job.error or "")
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["film.mp4"]
    again = cli("transcode", "--policy", policy(TINY), path, "--json")
    assert again.actions["film.mp4"][0] == "skip"
    assert "failed verification" in again.actions["film.mp4"][1]
    wanted = {"target_video_codec": "hevc", "target_crf": 51, "preset": "ultrafast"}
    params = {"inputPath": "library/videos/film.mp4", "policy": wanted}
    assert cli("jobs", "create", "transcode", "--params", json.dumps(params)).code == 0
    (by_hand,) = work()
    assert (by_hand.status, "was left as it is" in (by_hand.error or "")) == (JobStatus.FAILED, True)


def test_a_track_that_is_damaged_in_the_source_is_named_as_the_reason(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]]
) -> None:
    path = clip("film.mkv", *X264, *AAC, "-bsf:a", "noise=amount=30", seconds=2)
    before = path.read_bytes()
    assert cli("transcode", "--policy", policy(TINY), path).code == 0
    (job,) = work()
    assert job.status == JobStatus.FAILED
    assert "film.mkv was left as it is" in (job.error or "")
    assert "does the source play to its end?" in (job.error or "")
    assert path.read_bytes() == before


def test_a_quality_target_is_searched_for_and_one_that_is_out_of_reach_is_not_tried_again(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]]
) -> None:
    path = clip("film.mp4", *X264, tones=0)
    hopeless = policy("transcode:\n  target_video_codec: hevc\n  preset: ultrafast\n  target_xpsnr: 100\n")
    cli("transcode", "--policy", hopeless, path)
    (job,) = work()
    assert job.status == JobStatus.FAILED
    assert cli("transcode", "--policy", hopeless, path, "--json").json[0]["outcome"] == "unreachable"
    easy = policy("transcode:\n  target_video_codec: hevc\n  preset: ultrafast\n  target_xpsnr: 20\n  min_vmaf: 1\n")
    cli("transcode", "--policy", easy, path)
    assert only(work())["outcome"] == "done"


@pytest.mark.parametrize("destination", ["", "  destination: elsewhere\n"], ids=["in place", "destination"])
def test_a_job_that_died_after_its_result_was_there_only_completes(
    cli: Cli, policy: Callable[[str], Path], clip: Callable[..., Path], work: Callable[[], list[Job]],
    monkeypatch: pytest.MonkeyPatch, database: sa.Engine, library: Path, destination: str,
) -> None:  # fmt: skip
    path = clip("film.avi", *X264, tones=0)
    assert cli("transcode", "--policy", policy(TINY + destination), path).code == 0

    def die(*arguments: object) -> None:
        raise OSError("the machine went down")

    with monkeypatch.context() as patch:
        patch.setattr("media_pipelines.ops.transcode._told", die)
        (job,) = work()
    assert job.status == JobStatus.PENDING
    folder = library / ("elsewhere" if destination else "library/videos")
    made = (folder / "film.mkv").stat()
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET retry_after = NULL"))
    result = only(work())
    assert (result["outcome"], library / result["outputPath"]) == ("done", folder / "film.mkv")
    assert (folder / "film.mkv").stat().st_ino == made.st_ino, "it was not made a second time"
    assert cli("transcode", "--policy", policy(TINY + destination), folder, "--json").json[0]["action"] == "skip"
