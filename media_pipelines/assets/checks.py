"""The checks as Dagster lists them, each of which can be executed by hand.

What a job has made is verified by the job, which reports what it found (`media_pipelines/ops/checks.py`); by hand the
file is only looked at, and no heavy work passes by the queue. How the library is as a whole is asked of the database:
by every scan, by the sensor `library_checks`, or by hand.
"""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter

from jobqueue_bridge import queue as jobs
from jobqueue_bridge import videos
from jobqueue_bridge.findings import Finding, Severity
from media_pipelines.library_checks import ASSET, QUESTIONS, findings
from media_pipelines.ops.checks import CHECKS, SEVERITIES, Check
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_BY_HAND = " Executed by hand, it repeats what the job found, and looks whether the file is still there."
_LOOKED_BACK = 10


def _of_product(asset: str, check: Check) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=check.name, description=check.description + _BY_HAND)
    def still_there(context: dg.AssetCheckExecutionContext, library: Library) -> dg.AssetCheckResult:
        found = _newest_evaluation(context, dg.AssetCheckKey(dg.AssetKey(asset), check.name))
        if found is None:
            return _result(Finding(check.name, False, Severity.WARN, "No job has answered it yet"), {})
        gone = found.passed and _is_gone(context, found, library)
        return dg.AssetCheckResult(
            passed=found.passed and not gone,
            severity=dg.AssetCheckSeverity.ERROR if gone else found.severity,
            description=f"{gone} is gone" if gone else found.description,
            metadata=found.metadata,
        )

    return still_there


def _newest_evaluation(context: dg.AssetCheckExecutionContext, key: dg.AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    """Of the partition, where one is asked for. What is planned, as the evaluation to come, says nothing yet."""
    asked = PartitionKeyFilter(key=context.partition_key) if context.has_partition_key else None
    history = context.instance.event_log_storage.get_asset_check_execution_history(
        key, limit=_LOOKED_BACK, partition_filter=asked
    )
    found: list[object] = [record.evaluation for record in history]
    return next((one for one in found if isinstance(one, dg.AssetCheckEvaluation)), None)


def _is_gone(context: dg.AssetCheckExecutionContext, found: dg.AssetCheckEvaluation, library: Library) -> str | None:
    """The path of what was made, if there is no file any more; what is made of several files names none."""
    partition = found.metadata.get("partition")
    asked = dg.AssetRecordsFilter(
        asset_key=found.asset_key, asset_partitions=[str(partition.value)] if partition else None
    )
    records = context.instance.fetch_materializations(asked, limit=1).records
    made = records[0].asset_materialization if records else None
    path = made.metadata.get("path") if made else None
    return str(path.value) if path and not library.path(str(path.value)).is_file() else None


def _of_library(name: str, question: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=ASSET, name=name, description=question)
    def asked(queue: Queue) -> dg.AssetCheckResult:
        with queue.begin() as connection:
            found = findings(videos.health(connection), jobs.last_scan_at(connection), datetime.now(UTC))
        return _result(next(one for one in found if one.name == name), {})

    return asked


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
)
