"""(a) From INSERT to the op's first line, for single arrivals and for a steady one a second."""

import random
import statistics
import time
from uuid import UUID

import sqlalchemy as sa

from bench.figures import Figure, percentile
from bench.jobs import insert, wait_until_finished
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings

_SINGLE_ARRIVALS = 20
_STEADY_ARRIVALS = 40
_MEDIAN_S, _P95_S = 1.0, 2.0

_WAITS = sa.text(
    "SELECT extract(epoch FROM (SELECT min(at) FROM job_logs WHERE job_id = jobs.id) "
    "- (created_at AT TIME ZONE 'utc')) FROM jobs WHERE id = ANY(:ids)"
)


def measure(settings: Settings) -> list[Figure]:
    chance = random.Random(1)
    return [
        *_figures(settings, "single arrivals", [chance.uniform(3, 6) for _ in range(_SINGLE_ARRIVALS)]),
        *_figures(settings, "one a second", [1.0] * _STEADY_ARRIVALS),
    ]


def _figures(settings: Settings, name: str, pauses_s: list[float]) -> list[Figure]:
    ids: list[UUID] = []
    for pause_s in pauses_s:
        ids.append(insert(settings, f"library/bench/{name}/{len(ids)}"))
        time.sleep(pause_s)
    wait_until_finished(settings, ids)
    with engine_for(settings).begin() as connection:
        waits = [float(wait) for wait in connection.scalars(_WAITS, {"ids": ids})]
    median, p95 = statistics.median(waits), percentile(waits, 95)
    what = f"INSERT → first line, {name} ({len(waits)})"
    return [
        Figure(f"{what}, median", f"{median:.2f} s", f"< {_MEDIAN_S} s", median < _MEDIAN_S),
        Figure(f"{what}, 95th percentile", f"{p95:.2f} s", f"< {_P95_S} s", p95 < _P95_S),
    ]
