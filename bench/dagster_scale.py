"""Dagster on a large library: 10,000 videos and then 100,000, each a partition. How long ticks take, what the UI asks
for and how long that takes to answer, and how long a person waits for its pages. Some minutes: only where it is asked
for by name."""

import json
import statistics
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
import sqlalchemy as sa
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.ref import InstanceRef
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from playwright.sync_api import Browser, Page

from bench.browser import chromium, opened
from bench.figures import Figure
from bench.jobs import insert, wait_until_finished
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings

_SIZES = (10_000, 100_000)
_PARTITIONS_AT_ONCE = 1_000
# One video in so many has been validated: a materialization costs milliseconds.
_VALIDATED_OF = 10
_IDLE_S, _JOBS = 60.0, 60
_ASKED_TIMES, _OPENED_TIMES = 7, 3
_WORTH_A_LINE_S = 0.02
_USABLE_S = 10.0
_ASSET = "video_metadata"

_ROWS = sa.text(
    """
    INSERT INTO videos (path, filename, title, directory_type, size_bytes, duration_seconds, width, height, video_codec,
                        is_valid, fingerprint)
    SELECT 'library/scale/' || i || '.mp4', i || '.mp4', 'Video ' || i, 'scale', 1000000 + i, 60, 1280, 720, 'h264',
           true, md5(i::text)
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS i
    RETURNING id
    """
)


def measure(settings: Settings) -> list[Figure]:
    figures: list[Figure] = []
    ref = InstanceRef.from_dir(str(settings.dagster_home))
    with dg.DagsterInstance.from_ref(ref) as instance, chromium() as browser:
        there = 0
        for size in _SIZES:
            figures += _grown(settings, instance, there, size)
            there = size
            figures += _ticks(settings, instance, size)
            figures += _pages(settings, browser, size)
    return figures


# A library of that size


def _grown(settings: Settings, instance: dg.DagsterInstance, there: int, size: int) -> list[Figure]:
    """Rows, partitions, and for a part of them a materialization as a run would leave it."""
    with engine_for(settings).begin() as connection:
        keys = [str(key) for key in connection.scalars(_ROWS, {"first": there, "last": size - 1})]
    began_s = time.monotonic()
    for start in range(0, len(keys), _PARTITIONS_AT_ONCE):
        instance.add_dynamic_partitions("videos", keys[start : start + _PARTITIONS_AT_ONCE])
    added_s = time.monotonic() - began_s
    validated = keys[::_VALIDATED_OF]
    began_s = time.monotonic()
    for key in validated:
        instance.report_runless_asset_event(dg.AssetMaterialization(_ASSET, partition=key, metadata={"size_mb": 1.0}))
    reported_s = time.monotonic() - began_s
    with engine_for(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))
    return [
        Figure(f"{size:,} videos: {len(keys):,} partitions added", f"{added_s:.1f} s"),
        Figure(
            f"{size:,} videos: a materialization recorded without a run",
            f"{1000 * reported_s / len(validated):.1f} ms ({len(validated):,} of them)",
        ),
    ]


# What the daemon does all the time


def _ticks(settings: Settings, instance: dg.DagsterInstance, size: int) -> list[Figure]:
    idle_since_s = time.time()
    time.sleep(_IDLE_S)
    busy_since_s = time.time()
    ids = [insert(settings, f"library/scale-jobs/{size}-{number}") for number in range(_JOBS)]
    wait_until_finished(settings, ids)
    idle = _took(instance, idle_since_s, busy_since_s)
    busy = _took(instance, busy_since_s, time.time())
    figures = []
    for name in sorted(idle.keys() | busy.keys()):
        for what, took in (("idle", idle.get(name)), (f"while {_JOBS} jobs run", busy.get(name))):
            if took:
                figures.append(Figure(f"{size:,} videos: tick of {name}, {what} ({len(took)})", _spread(took)))
    return figures


def _took(instance: dg.DagsterInstance, after_s: float, before_s: float) -> dict[str, list[float]]:
    """Seconds of each sensor's ticks that began in that time, by Dagster's own records."""
    took: dict[str, list[float]] = {}
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, after=after_s, before=before_s)
        ended = [tick for tick in ticks if tick.status != TickStatus.STARTED]
        broken = [tick.error for tick in ended if tick.status == TickStatus.FAILURE]
        assert not broken, broken[0]
        if ended:
            took[state.instigator_name] = [_seconds(tick) for tick in ended]
    return took


def _seconds(tick: InstigatorTick) -> float:
    end_s = tick.tick_data.end_timestamp
    assert end_s is not None
    return end_s - tick.timestamp


def _spread(seconds: Sequence[float]) -> str:
    return f"median {statistics.median(seconds):.3f} s, at most {max(seconds):.3f} s"


# What a person waits for


@dataclass(frozen=True)
class _View:
    """A page of the Dagster UI. `shown`: what stands there once it can be used; `then`: what is done on it."""

    name: str
    path: str
    shown: str
    then: tuple[str, Callable[[Page], None]] | None = None


def _views(size: int) -> list[_View]:
    return [
        _View("global lineage", "/asset-groups", "Materialize all"),
        _View(
            "partitions of an asset",
            f"/assets/{_ASSET}?view=partitions",
            f"{size:,} Partitions Selected",
            (
                "the dialog to materialize one",
                lambda page: page.get_by_role("button", name="Materialize").first.click(),
            ),
        ),
        _View("events of an asset", f"/assets/{_ASSET}?view=events", "Metadata"),
        _View("catalog", "/assets", "clips"),  # the first; only the rows that fit are drawn
        _View("runs", "/runs", "scan"),
    ]


def _pages(settings: Settings, browser: Browser, size: int) -> list[Figure]:
    address = f"http://127.0.0.1:{settings.dagster_port}"
    figures: list[Figure] = []
    bodies: dict[str, str] = {}
    for view in _views(size):
        visits = [
            opened(browser, address + view.path, view.shown, view.then and view.then[1]) for _ in range(_OPENED_TIMES)
        ]
        figures.append(_waited(f"{size:,} videos: page of {view.name}", [shown_s for shown_s, _, _ in visits]))
        if view.then:
            done = [done_s for _, done_s, _ in visits if done_s is not None]
            figures.append(_waited(f"{size:,} videos: {view.then[0]}", done))
        bodies = {**visits[0][2].bodies, **bodies}
    return [*figures, *_operations(address, bodies, size)]


def _waited(what: str, seconds: Sequence[float]) -> Figure:
    return Figure(what, _spread(seconds), f"≤ {_USABLE_S:g} s", max(seconds) <= _USABLE_S)


def _operations(address: str, bodies: Mapping[str, str], size: int) -> list[Figure]:
    """Each as the UI sent it, by itself and several times in a row; the slow ones."""
    took = {name: [_asked(address, body) for _ in range(_ASKED_TIMES)] for name, body in bodies.items()}
    slowest = sorted(took, key=lambda name: -statistics.median(took[name]))
    return [
        Figure(f"{size:,} videos: GraphQL {name}", _spread(took[name]))
        for name in slowest
        if statistics.median(took[name]) >= _WORTH_A_LINE_S
    ]


def _asked(address: str, body: str) -> float:
    request = urllib.request.Request(f"{address}/graphql", body.encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began_s = time.perf_counter()
    with opener.open(request, timeout=120) as answer:
        content = answer.read()
    took_s = time.perf_counter() - began_s
    assert "errors" not in json.loads(content), content[:500]
    return took_s
