"""The checks as Dagster lists them, each of which can be executed by hand.

What a job has made is verified by the job, which reports what it found (`media_pipelines/ops/checks.py`); by hand the
file is only looked at, and no heavy work passes by the queue. How the library is as a whole is asked of the database:
by every scan, by the sensor `library_checks`, or by hand.
"""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from jobqueue_bridge import queue as jobs
from jobqueue_bridge import videos
from jobqueue_bridge.findings import Finding, Severity
from media_pipelines.library_checks import FRESHNESS, FRESHNESS_QUESTION, QUESTIONS, findings, freshness
from media_pipelines.ops.checks import CHECKS, SEVERITIES, Check
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_BY_HAND = " Executed by hand, it looks whether the newest result, or that of the partition, still has its file."


def _of_product(asset: str, check: Check) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=check.name, description=check.description + _BY_HAND)
    def still_there(context: dg.AssetCheckExecutionContext, library: Library) -> dg.AssetCheckResult:
        return _result(*_looked_at(context, asset, check.name, library))

    return still_there


def _looked_at(
    context: dg.AssetCheckExecutionContext, asset: str, name: str, library: Library
) -> tuple[Finding, dict[str, Any]]:
    made = _newest(context, asset)
    if made is None:
        return Finding(name, False, Severity.WARN, "Nothing was made yet"), {}
    shown = {"partition": made.partition} if made.partition else {}
    path = made.metadata.get("path")
    if path is None:
        return Finding(name, True, Severity.ERROR, "What was made is no single file; its job has verified it"), shown
    there = library.path(str(path.value)).is_file()
    said = f"{path.value} is {'there' if there else 'gone'}"
    return Finding(name, there, Severity.ERROR, said), shown


def _newest(context: dg.AssetCheckExecutionContext, asset: str) -> dg.AssetMaterialization | None:
    partitions = [context.partition_key] if context.has_partition_key else None
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=partitions), limit=1
    ).records
    return records[0].asset_materialization if records else None


def _of_library(name: str, question: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset="library_video", name=name, description=question)
    def asked(queue: Queue) -> dg.AssetCheckResult:
        with queue.begin() as connection:
            found = findings(videos.health(connection))
        return _result(next(one for one in found if one.name == name), {})

    return asked


@dg.asset_check(asset="library_scan", name=FRESHNESS, description=FRESHNESS_QUESTION)
def scanned(queue: Queue) -> dg.AssetCheckResult:
    with queue.begin() as connection:
        at = jobs.last_scan_at(connection)
    return _result(freshness(at, datetime.now(UTC)), {"scanned": dg.MetadataValue.timestamp(at)} if at else {})


def _result(finding: Finding, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=finding.passed,
        severity=SEVERITIES[finding.severity],
        description=finding.description,
        metadata=metadata,
    )


ALL_CHECKS = (
    *(_of_product(asset, check) for asset, checks in CHECKS.items() for check in checks),
    *(_of_library(name, question) for name, question in QUESTIONS.items()),
    scanned,
)
