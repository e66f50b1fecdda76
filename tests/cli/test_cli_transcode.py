"""`transcode` and `config policy` as commands: what they print and how they end."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from jobqueue_bridge import stats
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media.ffmpeg import find_ffmpeg
from tests.cli.conftest import Ended

Cli = Callable[..., Ended]
POLICY = "schema_version: 2\ntranscode:\n  target_video_codec: h264\n  max_width: 160\n"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def films(library: Path) -> Path:
    """One that complies, one that is too wide, one in a folder below, and one that is no video."""
    folder = library / "library/videos"
    (folder / "below").mkdir(parents=True)
    for name, size in {"fits.mp4": "160x90", "wide.mp4": "320x180", "below/deep.mp4": "320x180"}.items():
        subprocess.run(
            [find_ffmpeg(None), "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={size}:d=1", "-c:v", "libx264",
             "-preset", "ultrafast", f"file:{folder / name}"],
            check=True,
        )  # fmt: skip
    (folder / "bad\x1b[2J.mkv").write_text("no video")
    return folder


def pending(database: sa.Engine) -> int:
    with database.begin() as connection:
        return stats.read(connection).by_status[JobStatus.PENDING]


@pytest.fixture(autouse=True)
def _library(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_LIBRARY_PATH", str(library))


def test_a_dry_run_says_what_would_happen_and_why(cli: Cli, policy: Path, films: Path, database: sa.Engine) -> None:
    ended = cli("transcode", "--policy", str(policy), "--dry-run", str(films))
    lines = ended.out.splitlines()
    assert ended.code == 1, "one file is no video"
    assert any(line.startswith("[SKIP] fits.mp4: Already compliant (h264, 160x90, ") for line in lines)
    assert "[QUEUE] wide.mp4: h264 encoded anew, 320x180 -> 160x90" in lines
    assert "        video 0 h264: h264, CRF 23" in lines
    assert any(line.startswith("[FAIL] bad\\x1b[2J.mkv: ") for line in lines), "escapes are shown, not obeyed"
    assert "deep.mp4" not in ended.out
    assert lines[-1].startswith("Total: 3 files: 1 to encode, 1 skipped, 1 failed; ~")
    assert pending(database) == 0


def test_folders_in_folders_are_looked_through_where_that_is_wanted(cli: Cli, policy: Path, films: Path) -> None:
    ended = cli("transcode", "--policy", str(policy), "-n", "-R", str(films))
    assert "[QUEUE] below/deep.mp4: " in ended.out


def test_a_job_is_queued_for_each_file_with_the_policy_in_it(
    cli: Cli, policy: Path, films: Path, database: sa.Engine
) -> None:
    command = (
        "transcode",
        "--policy",
        str(policy),
        "--crf",
        "30",
        "--priority",
        "2",
        "--json",
        str(films / "wide.mp4"),
    )
    ended = cli(*command, str(films / "wide.mp4"))
    assert ended.code == 0
    (file,) = ended.json
    assert (file["path"], file["action"]) == ("library/videos/wide.mp4", "encode")
    job = cli("jobs", "show", file["jobId"], "--json").json
    assert (job["type"], job["priority"], job["origin"]) == ("transcode", 2, "cli")
    assert (job["params"]["policy"]["target_crf"], job["params"]["force"]) == (30, False)
    assert pending(database) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "{policy}", "/etc/hostname"], "/etc/hostname is not in the library"),
        (["--policy", "{policy}", "{films}/none.mkv"], "none.mkv does not exist"),
        (["--policy", "{films}/none.yaml", "{films}"], "none.yaml: No such file"),
        (["--policy", "{policy}", "--crf", "60", "{films}"], "target_crf: must be at most 51 for h264"),
        (["--policy", "{policy}", "--codec", "mpeg2", "{films}"], "target_video_codec: Input should be 'h264'"),
        (["--policy", "{policy}", "--bitrate", "fast", "{films}"], "target_bitrate: must be a bit rate"),
        (["--policy", "{policy}", "--max-resolution", "999p", "{films}"], "max_resolution: Input should be '480p'"),
        (["--policy", "{policy}", "--priority", "11", "{films}"], "priority: must be 1 (first) to 10 (last), got 11"),
    ],
)
def test_bad_usage_ends_with_2_and_queues_nothing(
    cli: Cli, policy: Path, films: Path, database: sa.Engine, arguments: list[str], said: str
) -> None:
    ended = cli("transcode", *(argument.format(policy=policy, films=films) for argument in arguments))
    assert (ended.code, pending(database)) == (2, 0)
    assert said in ended.err


def test_what_no_job_can_name_is_passed_over_and_said(cli: Cli, policy: Path, films: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(films / "latin-") + b"\xe9.mp4"))
    odd.write_bytes((films / "wide.mp4").read_bytes())
    os.mkfifo(films / "fifo.mp4")
    ended = cli("transcode", "--policy", str(policy), str(odd), str(films / "fifo.mp4"))
    (films / "fifo.mp4").unlink()
    assert (ended.code, ended.out) == (0, "Total: 0 files: 0 queued, 0 skipped, 0 failed\n")
    assert "its name is not valid UTF-8" in ended.err
    assert "it is not a regular file" in ended.err


def test_a_folder_without_videos_is_no_error(cli: Cli, policy: Path, library: Path) -> None:
    (library / "library/none").mkdir(parents=True)
    ended = cli("transcode", "--policy", str(policy), str(library / "library/none"))
    assert (ended.code, ended.out) == (0, "Total: 0 files: 0 queued, 0 skipped, 0 failed\n")


def test_a_policy_is_shown_with_what_counts(cli: Cli, policy: Path) -> None:
    shown = cli("config", "policy", str(policy))
    assert shown.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines() if line.strip()}
    assert rows["max_width"] == ["160", "file"]
    assert rows["target_crf"] == ["23", "default"]
    as_json = cli("config", "policy", str(policy), "--json").json
    assert (as_json["policy"]["target_crf"], len(as_json["hash"])) == (23, 64)


def test_a_wrong_policy_is_shown_with_file_line_and_key(cli: Cli, policy: Path) -> None:
    policy.write_text(POLICY + "  max_hight: 90\n")
    ended = cli("config", "policy", str(policy))
    assert ended.code == 2
    assert f"{policy}:5: transcode.max_hight: there is no such key; did you mean max_height?" in ended.err
