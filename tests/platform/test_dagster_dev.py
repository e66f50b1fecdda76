"""Dagster's own commands on a checkout: `dg check`, `dg list`, `dg dev`, `dagster dev`. Real ones, on ports, homes and
databases of their own; nothing else runs beside them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.definitions import defs
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.platform import lock, postgres
from media_pipelines.platform.lock import DAEMON_LOCK
from media_pipelines.platform.programs import cluster_of
from tests.platform.conftest import ROOT, Shell, eventually, free_port

pytestmark = pytest.mark.timeout(240)

ASSETS = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
JOBS = {job.name for job in defs.jobs or ()}
SENSORS = {sensor.name for sensor in defs.sensors or ()}
SCHEDULES = {schedule.name for schedule in defs.schedules or ()}

_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError {
  __typename
  ... on PythonError { message }
  ... on RepositoryLocation { repositories {
    assetNodes { assetKey { path } } jobs { name } sensors { name } schedules { name } } } } } } } }"""
_DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
_RUNS = "{ runsOrError { ... on Runs { results { jobName status } } } }"


class Dev:
    """One of the commands, running."""

    def __init__(self, home: Path, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.shell = Shell(home)
        self.settings = load_settings(home=home)
        self._process, self._port = process, port

    def ask(self, query: str) -> Any:
        """The webserver's answer; None while it does not answer."""
        assert self._process.poll() is None, "it has ended"
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())["data"]
        return None

    def location(self) -> dict[str, Any]:
        """What has loaded; waits for it."""
        while True:
            answer = self.ask(_LOCATIONS) or {"workspaceOrError": {"locationEntries": []}}
            entries = answer["workspaceOrError"]["locationEntries"]
            if entries and entries[0]["loadStatus"] == "LOADED":
                (entry,) = entries
                found: dict[str, Any] = entry["locationOrLoadError"]
                return found
            time.sleep(0.5)

    def unhealthy(self) -> list[str]:
        answer = self.ask(_DAEMONS)
        statuses = answer["instance"]["daemonHealth"]["allDaemonStatuses"]
        assert statuses
        return [one["daemonType"] for one in statuses if one["required"] and not one["healthy"]]

    def run(self, kind: str, **params: str) -> dict[str, Any]:
        """Create a job on another command line, and wait until it has ended."""
        created = self.shell("jobs", "create", kind, "--params", json.dumps(params), "--json")
        assert created.returncode == 0, created.stderr
        return self.ended(json.loads(created.stdout)["id"])

    def ended(self, job_id: str) -> dict[str, Any]:
        deadline_s = time.monotonic() + 120
        while True:
            shown = self.shell("jobs", "show", job_id, "--json")
            assert shown.returncode == 0, shown.stderr
            job: dict[str, Any] = json.loads(shown.stdout)
            if job["status"] in ("completed", "failed", "cancelled"):
                return job
            assert time.monotonic() < deadline_s, job
            time.sleep(1)


@contextmanager
def started(command: list[str], folder: Path, **variables: str) -> Iterator[Dev]:
    home, dagster_home, port = folder / "home", folder / "dagster", free_port()
    dagster_home.mkdir(exist_ok=True)
    (home / "media/library/videos").mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIA_", "DAGSTER_"))}
    environment |= {"MEDIA_PIPELINES_HOME": str(home), "DAGSTER_HOME": str(dagster_home), **variables}
    with (folder / "dev.log").open("ab") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name(command[0]), *command[1:], "-p", str(port)],
            env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    dev = Dev(home, process, port)
    try:
        yield dev
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert eventually(lambda: not dev.shell.processes()), dev.shell.processes()


def clip(path: Path) -> None:
    picture = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1", "-preset", "ultrafast")
    subprocess.run([find_ffmpeg(None), "-v", "error", *picture, path], check=True)


def shows_everything(dev: Dev) -> None:
    location = dev.location()
    assert location["__typename"] == "RepositoryLocation", location
    (repository,) = location["repositories"]
    assert {"/".join(node["assetKey"]["path"]) for node in repository["assetNodes"]} == ASSETS
    assert {job["name"] for job in repository["jobs"]} >= JOBS
    assert {sensor["name"] for sensor in repository["sensors"]} >= SENSORS
    assert {schedule["name"] for schedule in repository["schedules"]} == SCHEDULES


def works_through_the_queue(dev: Dev) -> None:
    clip(dev.settings.media_library_path / "library/videos/one.mp4")
    scanned = dev.run("scan")
    assert (scanned["status"], scanned["result"]["new"]) == ("completed", 1), scanned
    (video,) = json.loads(dev.shell("videos", "list", "--json").stdout)
    assert dev.run("validate", videoId=video["id"])["status"] == "completed"
    runs = dev.ask(_RUNS)["runsOrError"]["results"]
    assert {(run["jobName"], run["status"]) for run in runs} == {("scan", "SUCCESS"), ("validate", "SUCCESS")}


def says_nothing_odd(folder: Path) -> None:
    """The daemons may look before a slow machine has loaded the code location."""
    told = (folder / "dev.log").read_text().split("Traceback")[1:]
    assert [one for one in told if "DagsterCodeLocationNotFoundError" not in one] == []


def forks_warm_runs(dev: Dev) -> bool:
    return (dev.settings.logs_dir / "runs.log").exists()


def test_dg_dev_works_with_our_instance_and_outlives_its_database(tmp_path: Path) -> None:
    """With our `dagster.yaml`, whose launcher forks warm runs."""
    (tmp_path / "dagster").mkdir()
    shutil.copy(ROOT / "dagster.yaml", tmp_path / "dagster/dagster.yaml")
    with started(["dg", "dev"], tmp_path) as dev:
        shows_everything(dev)
        works_through_the_queue(dev)
        assert forks_warm_runs(dev)
        assert eventually(lambda: dev.unhealthy() == []), dev.unhealthy()
        says_nothing_odd(tmp_path)
        server = postgres.server_process(cluster_of(dev.settings))
        assert server is not None
        server.send_signal(signal.SIGKILL)
        psutil.wait_procs([server], 30)
        assert dev.run("scan")["status"] == "completed"


def test_dagster_dev_works_with_nothing_but_its_own_instance(tmp_path: Path) -> None:
    with started(["dagster", "dev", "-w", "workspace.yaml"], tmp_path) as dev:
        shows_everything(dev)
        works_through_the_queue(dev)
        assert not forks_warm_runs(dev)
        assert eventually(lambda: dev.unhealthy() == []), dev.unhealthy()
    says_nothing_odd(tmp_path)


@pytest.mark.skipif(os.environ.get("MEDIA_PROOF") != "full", reason="MEDIA_PROOF=full: as with -w, by another loader")
def test_dagster_dev_of_the_module_works_as_that_of_the_workspace(tmp_path: Path) -> None:
    with started(["dagster", "dev", "-m", "media_pipelines.definitions"], tmp_path) as dev:
        shows_everything(dev)
        works_through_the_queue(dev)
        assert not forks_warm_runs(dev)
        assert eventually(lambda: dev.unhealthy() == []), dev.unhealthy()
    says_nothing_odd(tmp_path)


def as_code_server(settings: Settings, **variables: str) -> str:
    """What is said where a code server of `dagster dev` loads the definitions."""
    code = "import sys; sys.argv = ['dagster', 'api', 'grpc']; import media_pipelines.definitions; print('loaded')"
    environment = {**os.environ, "DAGSTER_IS_DEV_CLI": "1", "MEDIA_PIPELINES_HOME": str(settings.home), **variables}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return loaded.stdout.strip() or loaded.stderr.strip().splitlines()[-1]


def test_a_second_dagster_is_refused_beside_a_platform(settings: Settings, database: sa.Engine) -> None:
    """Each would take the other's runs for lost."""
    url = settings.queue_url.set(drivername="postgresql").render_as_string(hide_password=False)
    for variables in ({}, {"DATABASE_URL": url}):
        assert as_code_server(settings, **variables) == "loaded"
        with database.connect() as daemon:
            daemon.execute(sa.select(sa.func.pg_advisory_lock(DAEMON_LOCK)))
            assert "The daemon of a platform works on" in as_code_server(settings, **variables)
            daemon.execute(sa.select(sa.func.pg_advisory_unlock(DAEMON_LOCK)))


def test_a_second_dagster_says_which_platform_it_would_disturb(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    with lock.held(settings):
        said = as_code_server(settings)
    assert f"A platform runs under {tmp_path}" in said
    assert "media-pipelines down" in said


# Commands that only look


def looked(*command: str, home: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "MEDIA_PIPELINES_HOME": str(home), "VIRTUAL_ENV": sys.prefix}
    return subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:]],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_dg_finds_nothing_to_object_to(tmp_path: Path) -> None:
    checked = looked("dg", "check", "defs", home=tmp_path / "home")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All definitions loaded successfully" in checked.stdout + checked.stderr
    assert not (tmp_path / "home").exists()


def test_dg_lists_everything(tmp_path: Path) -> None:
    listed = looked("dg", "list", "defs", "--json", home=tmp_path / "home")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert {asset["asset_key"] for asset in found["assets"]} == ASSETS
    assert {job["name"] for job in found["jobs"]} >= JOBS
    assert {sensor["name"] for sensor in found["sensors"]} >= SENSORS
    assert {schedule["name"] for schedule in found["schedules"]} == SCHEDULES
    assert "streaming_rendition" in looked("dg", "list", "defs", home=tmp_path / "home").stdout
    assert not (tmp_path / "home").exists()
