"""`make chaos` with fewer jobs: everything is killed at some moment, and everything holds."""

import signal
import subprocess
import sys

import pytest

_JOBS = ["--jobs", "14", "--kills", "6", "--stops", "1", "--freeze", "6", "--read-only", "2", "--seed", "20"]
_PATIENCE_S = 800


@pytest.mark.timeout(_PATIENCE_S + 60)
def test_nothing_is_lost_and_nothing_done_twice_while_everything_is_killed() -> None:
    command = [sys.executable, "-m", "tests.chaos", *_JOBS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as chaos:
        try:
            told, _ = chaos.communicate(timeout=_PATIENCE_S)
        except BaseException:
            chaos.send_signal(signal.SIGTERM)  # it stops its platform, too
            raise
    assert chaos.returncode == 0, told
    assert "everything held" in told
