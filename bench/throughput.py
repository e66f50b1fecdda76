"""(b) Sixty one-op jobs: runs a minute, ours and stock Dagster's, with the same limits on the same Postgres."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
import yaml

from bench.figures import Figure
from bench.jobs import insert, wait_until_finished
from bench.stock import RUNS
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings

_TIMES_FASTER = 5.0
_STOCK_SCHEMA = "dagster_stock"
_OURS = sa.text("SELECT extract(epoch FROM max(completed_at) - min(created_at)) FROM jobs WHERE id = ANY(:ids)")
_SPAN = sa.text(
    f"SELECT count(*), extract(epoch FROM max(update_timestamp) - min(create_timestamp)) "
    f"FROM {_STOCK_SCHEMA}.runs WHERE status = 'SUCCESS'"
)


def measure(settings: Settings, home: Path) -> list[Figure]:
    ours = _ours(settings)
    stock = _stock(settings, home)
    ratio = ours / stock
    return [
        Figure(f"{RUNS} one-op jobs, ours", f"{ours:.0f} runs a minute"),
        Figure(f"{RUNS} one-op jobs, stock Dagster", f"{stock:.0f} runs a minute"),
        Figure("ours ÷ stock", f"{ratio:.1f}×", f"≥ {_TIMES_FASTER:.0f}×", ratio >= _TIMES_FASTER),
    ]


def _ours(settings: Settings) -> float:
    """From the first INSERT to the last row that is final."""
    ids = [insert(settings, f"library/bench/many/{number}") for number in range(RUNS)]
    wait_until_finished(settings, ids)
    with engine_for(settings).begin() as connection:
        return 60 * RUNS / float(connection.scalars(_OURS, {"ids": ids}).one())


def _stock(settings: Settings, home: Path) -> float:
    """From the first run that was created to the last that ended, by Dagster's own table."""
    with _stock_dagster(settings, home):
        while True:
            time.sleep(0.5)
            with engine_for(settings).begin() as connection:
                if connection.scalar(sa.text(f"SELECT to_regclass('{_STOCK_SCHEMA}.runs')")) is None:
                    continue
                done, seconds = connection.execute(_SPAN).one()
            if done == RUNS:
                return 60 * RUNS / float(seconds)


@contextmanager
def _stock_dagster(settings: Settings, home: Path) -> Iterator[None]:
    """Stock launcher, loops and storage; our limits; a code server and a daemon, as `dagster dev` starts them."""
    home.mkdir()
    with engine_for(settings).begin() as connection:
        connection.execute(sa.schema.CreateSchema(_STOCK_SCHEMA, if_not_exists=True))
    url = settings.dagster_url.update_query_dict({"options": f"-csearch_path={_STOCK_SCHEMA}"})
    ours = yaml.safe_load((settings.dagster_home / "dagster.yaml").read_text())
    config = {
        "telemetry": {"enabled": False},
        "storage": {"postgres": {"postgres_url": url.render_as_string(hide_password=False)}},
        "concurrency": ours["concurrency"],
    }
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    daemon = subprocess.Popen(
        [sys.executable, "-m", "dagster._daemon", "run", "-m", "bench.stock"],
        env={**os.environ, "DAGSTER_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=(home / "daemon.log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield
    finally:
        daemon.send_signal(signal.SIGINT)
        try:
            daemon.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
