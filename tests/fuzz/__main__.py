"""Starts a database and the API, fills them, lets Schemathesis loose on them twice, and tells what it found."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
import uvicorn

from jobqueue_bridge import tokens
from jobqueue_bridge.api.__main__ import server
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.migrations import migrate
from jobqueue_bridge.params import MODELS
from jobqueue_bridge.settings import EMBEDDED_DATABASE, Settings, load_settings
from jobqueue_bridge.tables import jobs, videos
from media_pipelines.platform.postgres import Cluster, ensure_database, running_postgres
from tests.fuzz import rows
from tests.job_params import least

_LEAST = 5_000
# Streams stay open: their own tests read them.
_OPEN_ENDED = "/events$"


@contextmanager
def served(home: Path, port: int) -> Iterator[tuple[Settings, uvicorn.Server]]:
    os.environ["MEDIA_PIPELINES_HOME"] = str(home)
    settings = load_settings(media_library_path=home / "media", api_port=port, api_writes_per_minute=0)
    settings.media_library_path.mkdir(parents=True)
    with running_postgres(settings.postgres_data, settings.postgres_socket_dir):
        ensure_database(Cluster(settings.postgres_data, settings.postgres_socket_dir), EMBEDDED_DATABASE)
        migrate(settings)
        rows.fill(engine_for(settings), settings)
        serving = server(settings)
        thread = threading.Thread(target=serving.run)
        thread.start()
        try:
            while not serving.started:
                time.sleep(0.05)
            yield settings, serving
        finally:
            serving.should_exit = True
            thread.join(20)
            engine_for(settings).dispose()


def known_rows(settings: Settings, file: Path) -> None:
    with engine_for(settings).connect() as connection:
        found = {
            "jobs": [str(job_id) for job_id in connection.scalars(sa.select(jobs.c.id))],
            "videos": [str(video_id) for video_id in connection.scalars(sa.select(videos.c.id))],
        }
    video = found["videos"][0]
    requests = [{"type": kind.value, "params": least(kind, video)} for kind in MODELS]
    file.write_text(json.dumps({**found, "requests": requests}))


def schemathesis(settings: Settings, known: Path, token: str | None, examples: int, seed: int) -> int:
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        *("--config-file", str(Path(__file__).with_name("schemathesis.toml")), "run"),
        f"http://127.0.0.1:{settings.api_port}/openapi.json",
        *("--checks", "all", "--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure"),
        *("--exclude-path-regex", _OPEN_ENDED, "--request-timeout", "30", "--suppress-health-check", "all"),
        *(["--header", f"Authorization: Bearer {token}"] if token else []),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "FUZZ_ROWS": str(known)}
    return subprocess.run(command, env=environment, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--examples", type=int, default=120, help="of each operation")
    parser.add_argument("--port", type=int, default=4237)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as place,
        served(Path(place) / "home", asked.port) as (settings, api),
    ):
        known = Path(place) / "rows.json"
        known_rows(settings, known)
        token = tokens.sign(settings, tokens.ADMIN_ROLE, timedelta(hours=6))
        print(f"With a token, on {len(json.loads(known.read_text())['jobs'])} jobs")  # noqa: T201
        with_token = schemathesis(settings, known, token, asked.examples, asked.seed)
        between = api.server_state.total_requests
        print("Without a token")  # noqa: T201
        without = schemathesis(settings, known, None, max(1, asked.examples // 2), asked.seed)
        total = api.server_state.total_requests
    print(f"{between} requests with a token, {total - between} without, {total} in all")  # noqa: T201
    return max(with_token, without, int(total < _LEAST))


if __name__ == "__main__":
    sys.exit(main())
