"""The units and cron lines that are shipped: systemd accepts them, and what they call exists."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main

from jobqueue_bridge.settings import Settings
from media_pipelines.cli.main import build

CONTRIB = Path(__file__).parents[2] / "contrib"
UNITS = sorted(CONTRIB.glob("systemd/*"))
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]


def calls() -> list[list[str]]:
    """Every call of our command, as words."""
    units = [line for unit in SERVICES for line in re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)]
    crontab = [line.split(maxsplit=5)[5] for line in (CONTRIB / "crontab").read_text().splitlines() if "* *" in line]
    return [shlex.split(line.partition(" >> ")[0]) for line in (*units, *crontab)]


@pytest.mark.parametrize("words", calls(), ids=" ".join)
def test_what_is_called_is_there_and_takes_its_options(words: list[str]) -> None:
    assert words[0].endswith("/media-pipelines")
    command = typer.main.get_command(build([]))
    rest = words[1:]
    while names := getattr(command, "commands", None):
        command = names[rest.pop(0)]
    context = command.make_context(command.name, rest)
    assert context.command is command


def section(unit: Path, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return dict(parser[name])


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_stop_reaches_the_command_alone_and_leaves_it_the_time_that_it_takes(service: Path) -> None:
    options = section(service, "Service")
    assert (options["KillMode"], options["KillSignal"]) == ("mixed", "SIGTERM")
    patience_s = Settings.model_fields["shutdown_timeout_seconds"].default
    assert int(options["TimeoutStopSec"]) >= patience_s + 240


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = (
            unit.read_text().replace("/usr/local/bin/media-pipelines", "/bin/true").replace("User=media", "User=root")
        )
        (tmp_path / unit.name).write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    complaints = [line for line in verified.stderr.splitlines() if "media-pipelines" in line]
    assert complaints == []
