"""What Prometheus is told: one look at the database for each scrape, no state in this process.

Names and labels of the first four are the specification's. Counters count since the database was made, whichever
process asks, and are not touched by what is archived.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from jobqueue_bridge import counters, dispatching, lifecycle, nvml, stats, windows
from jobqueue_bridge.counters import BOUNDS_S, Counter, Kind
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs, utcnow, vram_learned
from jobqueue_bridge.vocabulary import FINAL, JobStatus, Outcome, ResourceCategory

_KIND = ("type", "resourceCategory")
_CREATED = ("created", *(status.value for status in JobStatus if status in FINAL))


@dataclass(frozen=True)
class Look:
    """Everything that one scrape shows."""

    settings: Settings
    tallies: Mapping[stats.Kind, int]
    counted: Mapping[Kind, Counter]
    ready: Mapping[str, tuple[int, float]]
    """By category: how many could start now, and how long the oldest has waited, in seconds."""
    vram_used_mb: Mapping[int | None, int]
    """By GPU; None: of jobs that say of none, which count on the first."""
    learned: Iterable[tuple[str, str, str, int]]
    is_paused: bool
    live: Mapping[int, nvml.Memory]
    """Of the GPUs that can be read."""


def look(connection: sa.Connection, settings: Settings, live: Mapping[int, nvml.Memory]) -> Look:
    switch = lifecycle.switch(connection)
    learned = sa.select(vram_learned.c.type, vram_learned.c.codec, vram_learned.c.resolution, vram_learned.c.max_mb)
    is_paused = switch.paused_at is not None
    return Look(
        settings,
        stats.by_kind(connection),
        counters.read(connection),
        {} if is_paused else _ready(connection, settings),
        stats.vram_used_mb(connection),
        [(row.type, row.codec, row.resolution, row.max_mb) for row in connection.execute(learned)],
        is_paused,
        live,
    )


def _ready(connection: sa.Connection, settings: Settings) -> dict[str, tuple[int, float]]:
    now, hours = datetime.now(UTC), settings.windows_by_category
    closed = [each for each in hours if windows.opened_at(hours[each], now, settings.zone) is None]
    oldest_s = sa.func.extract("epoch", utcnow() - sa.func.min(jobs.c.created_at))
    rows = connection.execute(
        sa.select(jobs.c.resource_category, sa.func.count(), oldest_s)
        .where(dispatching.is_ready(), jobs.c.resource_category.not_in([category.value for category in closed]))
        .group_by(jobs.c.resource_category)
    )
    return {category: (n, max(0.0, float(age_s or 0))) for category, n, age_s in rows}


# Each metric: what it is called, and its samples of a look.


def _jobs_total(seen: Look) -> Metric:
    metric = CounterMetricFamily(
        "media_jobs",
        "Jobs that were created, and that ended so, since the database was made",
        labels=("type", "status"),
    )
    sums: dict[tuple[str, str], int] = {}
    for kind, counter in seen.counted.items():
        if kind.event in _CREATED:
            sums[kind.type, kind.event] = sums.get((kind.type, kind.event), 0) + counter.n
    for labels, n in sorted(sums.items()):
        metric.add_metric(labels, n)
    return metric


def _pending(seen: Look) -> Metric:
    pending = sum(n for (status, _, _), n in seen.tallies.items() if status == JobStatus.PENDING)
    return GaugeMetricFamily("media_jobs_pending", "Jobs that wait for their turn", value=pending)


def _running(seen: Look) -> Metric:
    metric = GaugeMetricFamily("media_jobs_running", "Jobs that run", labels=("resourceCategory",))
    for category in ResourceCategory:
        metric.add_metric(
            (category.value,),
            sum(n for (status, _, of), n in seen.tallies.items() if (status, of) == (JobStatus.RUNNING, category)),
        )
    return metric


def _vram_used(seen: Look) -> Metric:
    used_mb = sum(seen.vram_used_mb.values())
    return GaugeMetricFamily("media_vram_used_mb", "GPU memory that running jobs reserve, MB", value=used_mb)


def _vram_total(seen: Look) -> Metric:
    return GaugeMetricFamily("media_vram_total_mb", "The GPU memory budget, MB", value=seen.settings.total_vram_mb)


def _gpu_used(seen: Look) -> Metric:
    metric = GaugeMetricFamily("media_gpu_vram_used_mb", "As media_vram_used_mb, of each GPU", labels=("gpu",))
    first = seen.settings.devices[0].index
    for device in seen.settings.devices:
        nameless = seen.vram_used_mb.get(None, 0) if device.index == first else 0
        metric.add_metric((str(device.index),), seen.vram_used_mb.get(device.index, 0) + nameless)
    return metric


def _gpu_total(seen: Look) -> Metric:
    metric = GaugeMetricFamily("media_gpu_vram_total_mb", "The budget of each GPU, MB", labels=("gpu",))
    for device in seen.settings.devices:
        metric.add_metric((str(device.index),), device.vram_mb)
    return metric


def _live(kind: str, says: str, read: Callable[[nvml.Memory], int]) -> Callable[[Look], Metric]:
    def metric_of(seen: Look) -> Metric:
        metric = GaugeMetricFamily(f"media_gpu_memory_{kind}_mb", says, labels=("gpu",))
        for index, memory in seen.live.items():
            metric.add_metric((str(index),), read(memory))
        return metric

    return metric_of


def _vram_learned(seen: Look) -> Metric:
    metric = GaugeMetricFamily(
        "media_vram_learned_mb",
        "The most GPU memory that a completed job of a kind was seen to use, MB",
        labels=("type", "codec", "resolution"),
    )
    for *labels, most_mb in seen.learned:
        metric.add_metric(labels, most_mb)
    return metric


def _by_status(seen: Look) -> Metric:
    metric = GaugeMetricFamily("media_queue_jobs", "Rows of the queue", labels=("status", *_KIND))
    for labels, n in sorted(seen.tallies.items()):
        metric.add_metric(labels, n)
    return metric


def _slots(seen: Look) -> Metric:
    metric = GaugeMetricFamily("media_slots", "Jobs that may run at once", labels=("resourceCategory",))
    for category, slots in seen.settings.slots.items():
        metric.add_metric((category.value,), slots)
    return metric


def _ready_jobs(seen: Look) -> Metric:
    metric = GaugeMetricFamily(
        "media_jobs_ready",
        "Pending jobs that could start now: none while the queue is paused or their window is closed",
        labels=("resourceCategory",),
    )
    for category in sorted({*seen.settings.slots, *seen.ready}):
        metric.add_metric((str(category),), seen.ready.get(category, (0, 0.0))[0])
    return metric


def _oldest(seen: Look) -> Metric:
    metric = GaugeMetricFamily(
        "media_queue_oldest_wait_seconds", "Age of the oldest job that could start now", labels=("resourceCategory",)
    )
    for category in sorted({*seen.settings.slots, *seen.ready}):
        metric.add_metric((str(category),), seen.ready.get(category, (0, 0.0))[1])
    return metric


def _paused(seen: Look) -> Metric:
    return GaugeMetricFamily("media_queue_paused", "1 while the queue is paused", value=seen.is_paused)


def _wait(seen: Look) -> Metric:
    return _histogram(
        "media_job_wait_seconds",
        "From when a job came, failed or was handed back, or from its time to retry, to its start",
        (((kind.type, kind.resource_category), each) for kind, each in seen.counted.items() if kind.event == "wait"),
        _KIND,
    )


def _run(seen: Look) -> Metric:
    return _histogram(
        "media_job_run_seconds",
        "How long attempts took, by how they ended",
        (
            ((kind.type, kind.resource_category, kind.event.removeprefix("run ")), each)
            for kind, each in seen.counted.items()
            if kind.event.startswith("run ")
        ),
        (*_KIND, "outcome"),
    )


def _histogram(
    name: str, says: str, counted: Iterable[tuple[tuple[str, ...], Counter]], labels: tuple[str, ...]
) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(name, says, labels=labels)
    for values, counter in sorted(counted):
        so_far, buckets = 0, []
        for bound, n in zip((*map(str, BOUNDS_S), "+Inf"), counter.buckets, strict=True):
            so_far += n
            buckets.append((bound, so_far))
        metric.add_metric(values, buckets, sum_value=counter.total)
    return metric


def _counter(event: str, name: str, says: str, *, of_totals: bool = False) -> Callable[[Look], Metric]:
    def metric_of(seen: Look) -> Metric:
        metric = CounterMetricFamily(name, says, labels=_KIND)
        for kind, counter in seen.counted.items():
            if kind.event == event:
                metric.add_metric((kind.type, kind.resource_category), counter.total if of_totals else counter.n)
        return metric

    return metric_of


def _saved(seen: Look) -> Metric:
    """A gauge: a rendition may be larger than its source."""
    metric = GaugeMetricFamily(
        "media_bytes_saved", "Size of the sources less that of what was made of them", labels=_KIND
    )
    sums: dict[tuple[str, str], float] = {}
    for kind, counter in seen.counted.items():
        sign = {"bytes in": 1, "bytes out": -1}.get(kind.event)
        if sign:
            labels = (kind.type, kind.resource_category)
            sums[labels] = sums.get(labels, 0) + sign * counter.total
    for labels, saved in sums.items():
        metric.add_metric(labels, saved)
    return metric


def _disk(name: str, says: str, read: Callable[[Path], int]) -> Callable[[Look], Metric]:
    def metric_of(seen: Look) -> Metric:
        metric = GaugeMetricFamily(name, says, labels=("place",))
        places = {"library": seen.settings.media_library_path, "home": seen.settings.home}
        for place, path in places.items():
            if path.is_dir():
                metric.add_metric((place,), read(path))
        return metric

    return metric_of


def _info(seen: Look) -> Metric:
    del seen
    return InfoMetricFamily("media_pipelines", "What runs here", value={"version": version("media-pipelines")})


_METRICS: tuple[Callable[[Look], Metric], ...] = (
    _jobs_total, _pending, _running, _vram_used, _vram_total, _gpu_used, _gpu_total,
    _live("total", "Memory that a GPU has, as its driver says, MB", lambda memory: memory.total_mb),
    _live("used", "Memory of a GPU that is in use, by whichever program, MB", lambda memory: memory.used_mb),
    _live("free", "Memory of a GPU that is free, MB", lambda memory: memory.free_mb),
    _vram_learned, _by_status, _slots, _ready_jobs, _oldest, _paused, _wait, _run,
    _counter("retried", "media_job_retries", "Attempts that failed and are made again, using up a retry"),
    _counter("snoozed", "media_job_snoozes", "Attempts that found no memory or session free, and used up no retry"),
    _counter(f"run {Outcome.LOST.value}", "media_job_rescues", "Attempts whose run died or fell silent"),
    _counter("bytes in", "media_bytes_in", "Size of the sources of completed jobs", of_totals=True),
    _counter("bytes out", "media_bytes_out", "Size of what completed jobs made of them", of_totals=True),
    _saved,
    _disk("media_disk_free_bytes", "Free on the disk that holds a place", lambda path: shutil.disk_usage(path).free),
    _disk("media_disk_size_bytes", "Size of the disk that holds a place", lambda path: shutil.disk_usage(path).total),
    _info,
)  # fmt: skip


class QueueMetrics(Collector):
    """Raises SQLAlchemyError where the database is away: a scrape that fails says so by itself (`up` is 0)."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings

    def collect(self) -> Iterator[Metric]:
        live = nvml.memory(self._settings.devices)
        with self._engine.connect() as connection:
            seen = look(connection, self._settings, live)
        yield from (metric_of(seen) for metric_of in _METRICS)
