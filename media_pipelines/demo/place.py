"""The throw-away platform: its folder, its ports, its start and its end. It shares nothing with any other platform."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import yaml

from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.demo.errors import DemoError
from media_pipelines.platform.lock import holder_of
from media_pipelines.platform.supervisor import sockets_dir

COMMAND = (sys.executable, "-m", "media_pipelines.cli.main")

# What would lead the demo to another platform's database, library or keys.
_OF_OTHERS = (
    "DATABASE_URL",
    "MEDIA_LIBRARY_PATH",
    "MEDIA_JWT_SECRET",
    "MEDIA_JWT_PUBLIC_KEY",
    "MEDIA_JWT_JWKS_FILE",
    "DAGSTER_HOME",
)
# Below the ports that the kernel gives to outgoing connections.
_PORTS = range(20_000, 32_000)
_CHECKOUT = Path(__file__).parents[2]
_UNHURRIED: dict[str, float] = {"inbox_stable_seconds": 2, "retry_base_seconds": 2}


def prepare() -> Settings:
    """Make the folder and let this process, and all that it starts, know no other platform. Raises InvalidSettings."""
    for variable in _OF_OTHERS:
        os.environ.pop(variable, None)
    home = _new_home()
    os.environ["MEDIA_PIPELINES_HOME"] = str(home)
    # In the file and not in the environment, so that MEDIA_PIPELINES_HOME alone leads back to a demo that was kept.
    ports = dict(zip(("api_port", "dagster_port"), _free_ports(), strict=True))
    (home / "config.yaml").write_text(yaml.safe_dump({**ports, **_UNHURRIED}))
    return load_settings()


def _new_home() -> Path:
    """In the checkout, or among temporary files where the package was installed without one."""
    if not (_CHECKOUT / "pyproject.toml").is_file():
        return Path(tempfile.mkdtemp(prefix="media-pipelines-demo-"))
    (_CHECKOUT / ".state").mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="demo-", dir=_CHECKOUT / ".state"))


def _free_ports() -> list[int]:
    """Two ports on which nobody listens. Random, so that two demos that start at once hardly choose the same."""
    free = (port for port in random.sample(_PORTS, len(_PORTS)) if _is_free(port))
    return list(islice(free, 2))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def start() -> None:
    """`media-pipelines up --detach`, which shows its own steps. Raises DemoError once it has said why not."""
    process = subprocess.Popen(
        [*COMMAND, "up", "--detach"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # its session is its own: a terminal's Ctrl-C reached only us
        process.wait()
        raise
    if code != 0:
        raise DemoError("The platform did not start")


def stop(settings: Settings) -> None:
    """Nothing interrupts that. Raises DemoError where it does not stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if holder_of(settings) is not None:
        subprocess.run([*COMMAND, "down"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    if holder_of(settings) is not None:
        raise DemoError(f"The platform does not stop; its folder stays: {settings.home}")


def remove(settings: Settings) -> None:
    """Stop the platform and delete its folder. Raises DemoError where it does not stop."""
    stop(settings)
    for folder in (settings.home, settings.postgres_socket_dir, sockets_dir(settings)):
        shutil.rmtree(folder, ignore_errors=True)
    _remove_if_empty(settings.home.parent)


def _remove_if_empty(folder: Path) -> None:
    if folder.name == ".state" and not any(folder.iterdir()):
        folder.rmdir()
