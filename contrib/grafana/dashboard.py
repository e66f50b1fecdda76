"""Writes `dashboard.json`, for Grafana's "Import": `python contrib/grafana/dashboard.py`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, gauge, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Panel

TARGET = Path(__file__).with_name("dashboard.json")
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HERE = 'instance=~"$instance"'

Query = tuple[str, str]
"""PromQL, and how its series are called."""


def _targets(queries: Iterable[Query]) -> list[Builder[Dataquery]]:
    return [
        prometheus.Dataquery().ref_id(chr(ord("A") + place)).expr(expression).legend_format(name)
        for place, (expression, name) in enumerate(queries)
    ]


def _number(title: str, says: str, *queries: Query, unit: str = "short") -> Builder[Panel]:
    panel = stat.Panel().title(title).description(says).unit(unit).datasource(_SOURCE).height(4).span(4)
    return panel.targets(_targets(queries))


def _gauge(title: str, says: str, *queries: Query) -> Builder[Panel]:
    panel = gauge.Panel().title(title).description(says).unit("percentunit").min(0).max(1).datasource(_SOURCE)
    return panel.height(4).span(4).targets(_targets(queries))


def _lines(title: str, says: str, *queries: Query, unit: str = "short", stacked: bool = False) -> Builder[Panel]:
    panel = timeseries.Panel().title(title).description(says).unit(unit).min(0).datasource(_SOURCE).height(8).span(12)
    if stacked:
        panel.fill_opacity(30).stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return panel.targets(_targets(queries))


def _quantile(share: float, metric: str, by: str) -> str:
    rate = f"sum by (le, {by}) (rate({metric}_bucket{{{_HERE}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {rate})"


def _sum(metric: str, by: str = "", labels: str = "") -> str:
    wanted = ", ".join(filter(None, (_HERE, labels)))
    return f"sum by ({by}) ({metric}{{{wanted}}})" if by else f"sum({metric}{{{wanted}}})"


def _increase(metric: str, by: str, labels: str = "") -> str:
    wanted = ", ".join(filter(None, (_HERE, labels)))
    return f"sum by ({by}) (increase({metric}{{{wanted}}}[$__rate_interval]))"


def _now() -> Sequence[Builder[Panel]]:
    return (
        _number("Pending", "Jobs that wait for their turn", (_sum("media_jobs_pending"), "")),
        _number("Running", "Jobs that run", (_sum("media_jobs_running"), "")),
        _gauge(
            "GPU memory",
            "What running jobs reserve of the budget",
            (f"{_sum('media_vram_used_mb')} / {_sum('media_vram_total_mb')}", ""),
        ),
        _number(
            "Oldest wait",
            "Age of the oldest job that could start now",
            (f"max(media_queue_oldest_wait_seconds{{{_HERE}}})", ""),
            unit="s",
        ),
        _number("Bytes saved", "By all completed jobs", (_sum("media_bytes_saved"), ""), unit="bytes"),
        _gauge(
            "Disk used",
            "Of the disks of the library and of the home",
            (f"1 - media_disk_free_bytes{{{_HERE}}} / media_disk_size_bytes{{{_HERE}}}", "{{place}}"),
        ),
    )


def _course() -> Sequence[Builder[Panel]]:
    category = "{{resourceCategory}}"
    return (
        _lines("Queue", "Rows by status", (_sum("media_queue_jobs", "status"), "{{status}}"), stacked=True),
        _lines(
            "Running, of slots",
            "Per category",
            (_sum("media_jobs_running", "resourceCategory"), category),
            (_sum("media_slots", "resourceCategory"), f"slots {category}"),
        ),
        _lines(
            "Ended",
            "Jobs per interval, by how they ended",
            (_increase("media_jobs_total", "status", 'status!="created"'), "{{status}}"),
            stacked=True,
        ),
        _lines(
            "Retries, rescues, snoozes",
            "Attempts per interval that failed and are made again, whose run died, or that found no room",
            (_increase("media_job_retries_total", "type"), "retry {{type}}"),
            (_increase("media_job_rescues_total", "type"), "rescue {{type}}"),
            (_increase("media_job_snoozes_total", "type"), "snooze {{type}}"),
        ),
        _lines(
            "Wait until start",
            "Median and 95th percentile per category",
            (_quantile(0.5, "media_job_wait_seconds", "resourceCategory"), f"median {category}"),
            (_quantile(0.95, "media_job_wait_seconds", "resourceCategory"), f"p95 {category}"),
            unit="s",
        ),
        _lines(
            "Run time",
            "95th percentile of completed attempts, per type",
            (_quantile(0.95, "media_job_run_seconds", "type"), "{{type}}"),
            unit="s",
        ),
        _lines(
            "GPU memory",
            "Reserved, the budget, and the most that was seen of each kind of work",
            (_sum("media_vram_used_mb"), "reserved"),
            (_sum("media_vram_total_mb"), "budget"),
            (
                f"max by (type, codec, resolution) (media_vram_learned_mb{{{_HERE}}})",
                "{{type}} {{codec}} {{resolution}}",
            ),
            unit="decmbytes",
        ),
        _lines(
            "Each GPU as its driver sees it",
            "Memory in use by whichever program and free, what the GPU has, and what jobs reserve there",
            (_sum("media_gpu_memory_used_mb", "gpu"), "in use {{gpu}}"),
            (_sum("media_gpu_memory_free_mb", "gpu"), "free {{gpu}}"),
            (_sum("media_gpu_memory_total_mb", "gpu"), "has {{gpu}}"),
            (_sum("media_gpu_vram_used_mb", "gpu"), "reserved {{gpu}}"),
            unit="decmbytes",
        ),
        _lines(
            "Bytes read and written",
            "Per interval, by completed jobs",
            (_increase("media_bytes_in_total", "type"), "in {{type}}"),
            (_increase("media_bytes_out_total", "type"), "out {{type}}"),
            unit="bytes",
        ),
    )


def build() -> str:
    """The dashboard as JSON, always the same for the same version of this file."""
    made = (
        Dashboard("Media Pipelines")
        .uid("media-pipelines")
        .tags(["media"])
        .refresh("30s")
        .time("now-24h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Data source"))
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Instance")
            .datasource(_SOURCE)
            .query("label_values(media_jobs_pending, instance)")
            .include_all(True)
            .multi(True)
        )
    )
    for panel in (*_now(), *_course()):
        made.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


if __name__ == "__main__":
    TARGET.write_text(build(), encoding="utf-8")
