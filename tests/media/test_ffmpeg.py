import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from media_pipelines.media import errors
from media_pipelines.media import ffmpeg as running
from media_pipelines.media.ffmpeg import ChildRegistry, Progress, ProgressParser, run
from tests.media.conftest import Clips

# Endless, and paced so that it costs next to nothing.
ENDLESS = ["-re", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25", "-c:v", "libx264", "-f", "null", "-"]


def _copy(ffmpeg: Path, source: Path, output: Path) -> list[str]:
    return [str(ffmpeg), "-y", "-i", f"file:{source}", "-c:v", "libx264", "-preset", "ultrafast", f"file:{output}"]


def _children() -> set[int]:
    return {
        child.pid
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "ffmpeg" in child.name()
    }


def test_progress_reaches_the_end(ffmpeg: Path, clips: Clips, tmp_path: Path) -> None:
    seen: list[Progress] = []
    run(_copy(ffmpeg, clips.plain, tmp_path / "out.mp4"), duration_s=1.0, on_progress=seen.append)
    assert seen[-1].frame == 25
    assert seen[-1].percent == pytest.approx(100, abs=5)
    assert seen[-1].size_bytes > 0
    assert _children() == set()


def test_progress_comes_at_most_four_times_a_second(ffmpeg: Path, clips: Clips, tmp_path: Path) -> None:
    at_s: list[float] = []
    etas: list[float | None] = []

    def note(progress: Progress) -> None:
        at_s.append(time.monotonic())
        etas.append(progress.eta_s)

    command = [str(ffmpeg), "-y", "-re", "-i", f"file:{clips.long}", "-t", "3", "-f", "null", "-"]
    run(command, duration_s=3.0, on_progress=note)
    assert 6 <= len(at_s) <= 15
    known = [eta for eta in etas if eta is not None]
    assert known[0] > known[-1] >= 0


def test_a_failure_says_the_command_the_code_and_the_last_lines(ffmpeg: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    lines: list[str] = []
    with pytest.raises(errors.FfmpegFailed) as caught:
        run(_copy(ffmpeg, text, tmp_path / "out.mp4"), duration_s=None, on_line=lines.append)
    assert caught.value.kind == "permanent"
    assert caught.value.exit_code > 0
    assert any("Invalid data found" in line for line in lines)
    assert "Invalid data found" in str(caught.value)
    assert str(text) in str(caught.value)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises((errors.FfmpegMissing, errors.FfmpegFailed)) as caught:
        run([str(tmp_path / "no-ffmpeg")], duration_s=None)
    assert caught.value.kind == "permanent"
    assert "no-ffmpeg" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "exit_code", "kind", "words"),
    [
        ("x: Invalid data found when processing input", 183, "permanent", "failed with exit code"),
        ("av_interleaved_write_frame(): No space left on device", 228, "transient", "disk space"),
        ("[h264_nvenc] OpenEncodeSessionEx failed: out of memory (10)", 1, "capacity", "encoder session"),
        ("x: Cannot allocate memory", 244, "capacity", "memory"),
        ("something nobody has seen", 1, "transient", "failed with exit code"),
        ("x: Invalid data found when processing input", -9, "transient", "SIGKILL"),
    ],
)
def test_the_words_of_ffmpeg_decide_the_kind(line: str, exit_code: int, kind: str, words: str) -> None:
    error = errors.FfmpegFailed(["ffmpeg"], exit_code, [line])
    assert error.kind == kind
    assert words in str(error)


def test_a_full_disk_is_told(ffmpeg: Path, clips: Clips) -> None:
    command = [str(ffmpeg), "-y", "-i", f"file:{clips.plain}", "-f", "matroska", "file:/dev/full"]
    with pytest.raises(errors.FfmpegFailed) as caught:
        run(command, duration_s=1.0)
    assert caught.value.disk_full
    assert caught.value.kind == "transient"


def test_stop_ends_it(ffmpeg: Path) -> None:
    began_s = time.monotonic()
    with pytest.raises(errors.EncodeStopped, match="the job was cancelled"):
        run(
            [str(ffmpeg), *ENDLESS],
            duration_s=None,
            stop=lambda: "the job was cancelled" if time.monotonic() > began_s + 0.5 else None,
        )
    assert _children() == set()


def _soon(act: Callable[[int], object], delay_s: float = 0.6) -> None:
    """Do something to the running ffmpeg a little later."""

    def later() -> None:
        for pid in _children():
            act(pid)

    threading.Timer(delay_s, later).start()


def test_a_killed_ffmpeg_is_a_passing_failure(ffmpeg: Path) -> None:
    _soon(lambda pid: os.kill(pid, signal.SIGKILL))
    with pytest.raises(errors.FfmpegFailed) as caught:
        run([str(ffmpeg), *ENDLESS], duration_s=None)
    assert (caught.value.exit_code, caught.value.kind) == (-9, "transient")
    assert "SIGKILL" in str(caught.value)


def test_a_suspended_ffmpeg_stalls_and_is_killed(ffmpeg: Path) -> None:
    began_s = time.monotonic()

    def suspend_what_works(_: Progress) -> None:
        if time.monotonic() - began_s > 0.5:
            for pid in _children():
                os.kill(pid, signal.SIGSTOP)

    with pytest.raises(errors.FfmpegStalled):
        run([str(ffmpeg), *ENDLESS], duration_s=None, stall_timeout_s=1, on_progress=suspend_what_works)
    assert time.monotonic() - began_s > 1.4
    assert _children() == set()


def test_a_suspended_ffmpeg_can_be_stopped(ffmpeg: Path) -> None:
    _soon(lambda pid: os.kill(pid, signal.SIGSTOP), 0.3)
    until_s = time.monotonic() + 0.8
    with pytest.raises(errors.EncodeStopped):
        run([str(ffmpeg), *ENDLESS], duration_s=None, stop=lambda: "now" if time.monotonic() > until_s else None)
    assert _children() == set()


def test_a_paused_ffmpeg_does_not_stall_and_goes_on(ffmpeg: Path) -> None:
    children = ChildRegistry()
    command = [str(ffmpeg), "-re", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25:duration=1.5", "-f", "null", "-"]
    began_s = time.monotonic()
    threading.Timer(0.5, children.pause).start()
    threading.Timer(2.5, children.resume).start()
    run(command, duration_s=1.5, stall_timeout_s=1, children=children)
    assert time.monotonic() - began_s > 2.5
    assert children.pids() == frozenset()


def test_a_registry_kills_what_runs(ffmpeg: Path) -> None:
    children = ChildRegistry()
    threading.Timer(0.6, children.kill_all).start()
    with pytest.raises(errors.FfmpegFailed):
        run([str(ffmpeg), *ENDLESS], duration_s=None, children=children)
    assert children.pids() == frozenset()
    assert _children() == set()


def test_an_error_in_a_callback_leaves_no_ffmpeg(ffmpeg: Path) -> None:
    def lost_lease(_: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([str(ffmpeg), *ENDLESS], duration_s=None, on_progress=lost_lease)
    assert _children() == set()


def test_a_slow_callback_does_not_block_a_talkative_ffmpeg(ffmpeg: Path) -> None:
    command = [str(ffmpeg), "-loglevel", "debug", "-f", "lavfi", "-i", "testsrc2=duration=20", "-f", "null", "-"]
    lines = 0

    def count(_: str) -> None:
        nonlocal lines
        lines += 1

    run(command, duration_s=20, on_line=count, on_progress=lambda _: time.sleep(0.5))
    assert lines > 50


def test_kill_tree_ends_those_who_ignore_sigterm_and_their_children() -> None:
    script = "trap '' TERM; sleep 60 & echo $!; while :; do sleep 60; done"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        running.kill_tree(process.pid, grace_s=0.3)
        assert process.wait(5) == -signal.SIGKILL
    deadline_s = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    running.kill_tree(process.pid)


PARENT = """
import sys
from media_pipelines.media import ffmpeg
if sys.argv[1] == "without setpriv":
    ffmpeg._setpriv = lambda: ()
ffmpeg.run(sys.argv[2:], duration_s=None)
"""


@pytest.mark.parametrize("way", ["with setpriv", "without setpriv"])
def test_ffmpeg_dies_with_a_parent_killed_by_sigkill(ffmpeg: Path, way: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, way, str(ffmpeg), *ENDLESS]) as parent:
        deadline_s = time.monotonic() + 10
        while not (started := _children()):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert {os.getpgid(pid) for pid in started} == {os.getpgid(parent.pid)}
        time.sleep(0.3)
        parent.kill()
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in started):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_the_runner_costs_next_to_nothing(ffmpeg: Path) -> None:
    """Its own processor time: wall time against bare ffmpeg would measure whoever else uses the machine."""
    command = [str(ffmpeg), "-re", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25:duration=3", "-f", "null", "-"]
    began_s, cpu_s = time.monotonic(), time.process_time()
    run(command, duration_s=3, on_progress=lambda _: None, on_line=lambda _: None, stop=lambda: None)
    assert time.process_time() - cpu_s < 0.02 * (time.monotonic() - began_s) + 0.02


def test_the_runner_returns_as_soon_as_ffmpeg_has_ended(ffmpeg: Path) -> None:
    def seconds(work: Callable[[], object]) -> float:
        began_s = time.monotonic()
        work()
        return time.monotonic() - began_s

    command = [str(ffmpeg), "-f", "lavfi", "-i", "color=size=16x16:duration=0.04", "-f", "null", "-"]
    bare = [command[0], "-nostdin", "-loglevel", "error", *command[1:]]
    times = [
        (seconds(lambda: subprocess.run(bare, check=True)), seconds(lambda: run(command, duration_s=0.04)))
        for _ in range(8)
    ]
    assert min(ours for _, ours in times) < min(bare for bare, _ in times) + 0.1


def _feed(parser: ProgressParser, at_s: float, text: str) -> Progress | None:
    report = None
    for line in text.split():
        report = parser.feed(line, at_s) or report
    return report


def test_missing_and_unknown_values_keep_the_last() -> None:
    parser = ProgressParser(10.0)
    first = "frame=50\nfps=25\ntotal_size=1000\nout_time_us=2000000\nspeed=2.5x\nprogress=continue"
    assert _feed(parser, 0.0, first) == Progress(50, 25.0, 2.5, 2.0, 1000, 20.0, None)
    second = "total_size=N/A\nout_time_us=N/A\nspeed=N/A\nrubbish\nprogress=continue"
    assert _feed(parser, 1.0, second) == Progress(50, 25.0, 2.5, 2.0, 1000, 20.0, None)
    assert _feed(ProgressParser(None), 0.0, "out_time_us=-9223372036854775807\nprogress=end") == Progress()


def test_the_eta_follows_the_mean_of_the_last_thirty() -> None:
    parser = ProgressParser(1000.0)
    for n in range(100):
        _feed(parser, n, f"out_time_us={n * 1_000_000}\nprogress=continue")
    slow = [_feed(parser, 100 + 4 * n, f"out_time_us={(100 + n) * 1_000_000}\nprogress=continue") for n in range(40)]
    assert slow[0] is not None
    assert slow[-1] is not None
    assert slow[0].eta_s == pytest.approx(900, rel=0.01)
    assert slow[-1].eta_s == pytest.approx((1000 - 139) * 4, rel=0.01)


def test_progress_past_the_declared_end_is_a_hundred() -> None:
    report = _feed(ProgressParser(1.0), 0.0, "out_time_us=1500000\nprogress=end")
    assert report is not None
    assert report.percent == 100


def test_an_ffmpeg_is_always_found_and_a_wrong_setting_is_told(ffmpeg: Path, tmp_path: Path) -> None:
    assert running.find_ffmpeg(str(ffmpeg)) == ffmpeg
    assert running.version(ffmpeg)[0] in "n0123456789"
    with pytest.raises(errors.FfmpegMissing, match="configured"):
        running.find_ffmpeg(str(tmp_path / "nothing"))


def test_the_packaged_ffmpeg_is_found_without_running_it() -> None:
    """One that is killed while it is looked for must not look as if it were missing."""
    look = (
        "import sys; from media_pipelines.media.ffmpeg import find_ffmpeg;"
        "sys.addaudithook(lambda event, _: event == 'subprocess.Popen' and sys.exit('it ran something'));"
        "print(find_ffmpeg(None))"
    )
    found = subprocess.run(
        [sys.executable, "-c", look], env={"PATH": ""}, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "imageio_ffmpeg" in found.stdout
    assert "ffmpeg version" in subprocess.run(
        [found.stdout.strip(), "-version"], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
