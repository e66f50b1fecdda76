"""A run whose database stands still: once its lease is over, its children are killed and it does nothing more."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import psutil
import sqlalchemy as sa

from jobqueue_bridge.settings import Settings

_RUN = """
import subprocess, sys
from uuid import UUID
from jobqueue_bridge import queue
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import load_settings
from media_pipelines.resources.attempt import claim

settings = load_settings()
with engine_for(settings).begin() as connection:
    job = queue.get(connection, UUID(sys.argv[1]))
attempt = claim(settings, job, run_id="a run", host="a host")
encode = subprocess.Popen(["sleep", "300"])
print("works", flush=True)
encode.wait()
print(attempt.stop_reason(), flush=True)
"""


@contextmanager
def frozen(settings: Settings) -> Iterator[None]:
    """The server and its backends, as on a host whose storage hangs: nobody is refused, nobody is answered."""
    server = psutil.Process(int((settings.postgres_data / "postmaster.pid").read_text().split()[0]))
    processes = [server, *server.children()]
    try:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_an_attempt_kills_its_children_while_its_database_is_frozen(
    settings: Settings, database: sa.Engine, add_job: Callable[..., UUID]
) -> None:
    job = add_job(status="queued", attempt=1)
    environment = {**os.environ, "MEDIA_LEASE_SECONDS": "2"}
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, str(job)], env=environment, stdout=subprocess.PIPE, text=True
    ) as run:  # fmt: skip
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == "works\n"
            with frozen(settings):
                assert "no beat reached the database" in run.communicate(timeout=60)[0]
        finally:
            run.kill()
