"""How jobs read on a terminal: VPO's table and statistics, and everything about one job."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from rich.cells import cell_len

from jobqueue_bridge import params, queue, vram
from jobqueue_bridge.api import wire
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.findings import Finding, Severity, findings_in
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.cli.printable import cell, local_time, pace, printable, printable_lines
from media_pipelines.cli.watching import waiting_note

# VPO's own widths, of which TYPE grows with our longer names.
_COLUMNS = {"ID": 10, "STATUS": 12, "TYPE": 10, "FILE": 42, "PROG": 6, "CREATED": 16}
_RULE_WIDTH = 95
_FILE_SPACE = 2  # at least, after the name
_FILE_MIN = 12
_TYPE_MAX = 18  # the longest of ours; other programs may write anything


def table(jobs: Sequence[queue.Job], video_paths: Mapping[UUID, str], columns: int | None = None) -> Iterator[str]:
    """VPO's list: character for character its layout where no type has a longer name than its own.

    File names are cut further where that makes a line fit into `columns`.
    """
    longest = max((cell_len(printable(job.type)) for job in jobs), default=0)
    widths = {**_COLUMNS, "TYPE": max(_COLUMNS["TYPE"], min(longest, _TYPE_MAX))}
    rule = _RULE_WIDTH + widths["TYPE"] - _COLUMNS["TYPE"]
    width = sum(widths.values()) + len(widths) - 1  # more than the rule's: it ends before the date does
    too_wide = max(0, width - columns) if columns else 0
    too_wide = min(too_wide, _COLUMNS["FILE"] - _FILE_MIN)
    widths["FILE"] -= too_wide
    yield _line(list(_COLUMNS), widths)
    yield "-" * (rule - too_wide)
    for job in jobs:
        yield _line(
            [
                str(job.id)[:8],
                job.status.value,
                job.type,
                cell(file_of(job, video_paths), widths["FILE"] - _FILE_SPACE),
                _progress(job),
                local_time(job.created_at),
            ],
            widths,
        )


def _line(texts: Sequence[str], widths: Mapping[str, int]) -> str:
    return " ".join(cell(text, width) for text, width in zip(texts, widths.values(), strict=True)).rstrip()


def _progress(job: queue.Job) -> str:
    begun = job.status in (JobStatus.RUNNING, JobStatus.COMPLETED) or job.progress
    return f"{job.progress}%" if begun else "-"


def file_of(job: queue.Job, video_paths: Mapping[UUID, str]) -> str:
    """The name of the file that the job is about, or the directory; "-" where it names none."""
    if job.video_id is not None and job.video_id in video_paths:
        return PurePosixPath(video_paths[job.video_id]).name
    given = {**_mapping(job.result), **_mapping(job.params)}
    named = (given.get(key) for key in ("inputPath", "outputPath"))
    files = [PurePosixPath(path).name for path in named if isinstance(path, str)]
    return files[0] if files else _directory(job) or "-"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _directory(job: queue.Job) -> str | None:
    """What a scan looks through; a row that another program wrote may have no usable params."""
    try:
        return getattr(params.parse(params.job_type(job.type), job.params), "directory", None)
    except InvalidJob:
        return None


def statistics(by_status: Mapping[JobStatus, int]) -> Iterator[str]:
    """VPO's statistics: what it calls queued is all that waits. Paused jobs, which it has not, if any."""
    shown = {
        "Queued": by_status[JobStatus.PENDING] + by_status[JobStatus.QUEUED],
        "Running": by_status[JobStatus.RUNNING],
        "Completed": by_status[JobStatus.COMPLETED],
        "Failed": by_status[JobStatus.FAILED],
        "Cancelled": by_status[JobStatus.CANCELLED],
    }
    if by_status[JobStatus.PAUSED]:
        shown["Paused"] = by_status[JobStatus.PAUSED]
    rule = "-" * 30
    yield "Job Queue Status"
    yield rule
    yield from (_count(name, count) for name, count in shown.items())
    yield rule
    yield _count("Total", sum(by_status.values()))


def gpus(found: Sequence[wire.GpuStats]) -> Iterator[str]:
    """A line for each, where there are several."""
    if len(found) > 1:
        yield ""
        yield from (
            f"  {cell(f'GPU {gpu.gpu}', 8)} {gpu.vram_used:>6} of {gpu.vram_available:>6} MB  {gpu.name}".rstrip()
            for gpu in found
        )


def _count(name: str, count: int) -> str:
    return f"  {name + ':':<11}{count:>5}"


CHILDREN_SHOWN = 20


@dataclass(frozen=True)
class Family:
    """The job that another waits for, if it is known still, and those that wait for that other one."""

    parent: queue.Job | None
    children: Sequence[queue.Job]


def everything(job: wire.JobDetails, row: queue.Job, family: Family) -> Iterator[str]:
    """A line for each thing known, then children, attempts, error and result; the log has a command of its own."""
    yield from (f"{name + ':':<13}{printable(text)}" for name, text in _facts(job, row, family.parent) if text)
    if family.children:
        yield "Children:"
        yield from (f"  {printable(_relative(child))}" for child in family.children[:CHILDREN_SHOWN])
        if len(family.children) > CHILDREN_SHOWN:
            yield "  …"
    if job.attempts:
        yield "Attempts:"
        yield from (f"  {printable(_attempt(attempt))}" for attempt in job.attempts)
    if checks := findings_in(job.result):
        yield "Checks:"
        yield from (f"  {printable(_check(check))}" for check in checks)
    if job.error:
        yield "Error:"
        yield from (f"  {line}" for line in printable_lines(job.error))
    if (result := _beside_checks(job.result)) is not None:
        yield "Result:"
        yield from (f"  {printable(line)}" for line in json.dumps(result, indent=2, ensure_ascii=False).split("\n"))


def _beside_checks(result: Any) -> Any:
    """None where there is nothing else."""
    if not findings_in(result):
        return result
    return {name: value for name, value in result.items() if name != "checks"} or None


def _check(check: Finding) -> str:
    verdict = "passed" if check.passed else {Severity.ERROR: "FAILED", Severity.WARN: "warns"}[check.severity]
    return f"{check.name} {verdict}: {check.description}"


def _facts(job: wire.JobDetails, row: queue.Job, parent: queue.Job | None) -> Iterator[tuple[str, str]]:
    yield "Id", str(job.id)
    yield "Type", job.type
    yield "Status", job.status.value
    yield "Progress", f"{job.progress}%  {pace(job.progress_detail)}".rstrip()
    yield "Position", f"{job.queue_position} in the queue" if job.queue_position else ""
    yield "Waits", waiting_note(row) if job.status in (JobStatus.PENDING, JobStatus.PAUSED) else ""
    yield "Priority", str(job.priority)
    on_gpu = "" if job.gpu is None else f" on GPU {job.gpu}"
    yield "Needs", f"{job.resource_category}, {job.vram_required} MB of VRAM{on_gpu}"
    yield "VRAM", _misdeclared(job) or ""
    yield "Params", json.dumps(job.params, ensure_ascii=False)
    yield "Video", str(job.video_id or "")
    yield "Origin", job.origin
    yield "Created", _second(job.created_at)
    yield "Started", _second(job.started_at)
    yield "Ended", _second(job.completed_at)
    yield "Archived", f"{_second(job.archived_at)}, of its log the end was kept" if job.archived_at else ""
    yield "Retries", f"{job.retry_count} of {job.max_retries}"
    yield "Run", " on ".join(filter(None, (job.run_id, job.host)))
    yield "Dagster", job.dagster_url or ""
    yield "Asset", job.asset_url or ""
    yield "Parent", _relative(parent) if parent else str(job.parent_id or "")


def _relative(job: queue.Job) -> str:
    return f"{job.type} {job.id} is {job.status}"


def _misdeclared(job: wire.JobDetails) -> str | None:
    """Whether the newest attempt that was measured used another amount than is declared."""
    peaks = [attempt.peak_vram_mb for attempt in job.attempts if attempt.peak_vram_mb]
    return vram.misdeclared(job.vram_required, peaks[-1]) if peaks else None


def _second(instant: Any) -> str:
    return local_time(instant, "%Y-%m-%d %H:%M:%S") if instant else ""


def _attempt(attempt: wire.Attempt) -> str:
    ended = f" to {_second(attempt.ended_at)}" if attempt.ended_at else ""
    parts = (
        f"{attempt.attempt}. {attempt.outcome or 'running'}, {_second(attempt.started_at)}{ended}",
        f"run {attempt.run_id} on {attempt.host}" if attempt.run_id else "",
        "" if attempt.gpu is None else f"VRAM of GPU {attempt.gpu}",
        attempt.encoder or "",
        f"peak {attempt.peak_vram_mb} MB of VRAM" if attempt.peak_vram_mb else "",
        attempt.error or "",
    )
    return ", ".join(filter(None, parts))
