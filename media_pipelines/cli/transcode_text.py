"""How the verdicts on files under a policy read: VPO's lines for people, JSON for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never
from uuid import UUID

from jobqueue_bridge.queue import Job
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.cli.printable import clock, printable, size
from media_pipelines.media.policy import Decision, Encode, Estimate, Refuse, Skip
from media_pipelines.media.probe import Probe

_INDENT = " " * 8
_ACTIONS = {"encode": "QUEUE", "skip": "SKIP", "refuse": "FAIL"}


@dataclass(frozen=True)
class Verdict:
    """What is to become of one file; `path`: as rows name it, `name`: as it is shown; `job_id`: the job that was queued
    for it."""

    path: str
    name: str
    decision: Decision
    source: Probe | None
    job_id: UUID | None = None

    @property
    def action(self) -> str:
        match self.decision:
            case Encode():
                return "encode"
            case Skip():
                return "skip"
            case Refuse():
                return "refuse"
            case _:
                assert_never(self.decision)


def lines(verdict: Verdict) -> Iterator[str]:
    """ "[QUEUE] Movie.mkv: h264 -> hevc, 3840x2160 -> 1920x1080", and below it what else is worth knowing."""
    decision = verdict.decision
    said = ", ".join(decision.changes) if isinstance(decision, Encode) else decision.reason
    yield f"[{_ACTIONS[verdict.action]}] {printable(verdict.name)}: {printable(said)}"
    if isinstance(decision, Encode):
        yield from (f"{_INDENT}{printable(text)}" for text in _more(verdict, decision))


def _more(verdict: Verdict, decision: Encode) -> Iterator[str]:
    if decision.folder is not None:
        yield f"Destination: {decision.folder}/"
    assert verdict.source is not None
    yield _estimated(decision.estimate, verdict.source.size_bytes)
    yield from decision.streams
    if verdict.job_id is not None:
        yield f"Job {verdict.job_id}"


def _estimated(estimate: Estimate, source_bytes: int) -> str:
    """ "~1.2 GB of 4.5 GB, ~1:12:30 (a guess)"."""
    sized = "size unknown" if estimate.size_bytes is None else f"~{size(estimate.size_bytes)} of {size(source_bytes)}"
    if estimate.seconds is None:
        return f"{sized}, time unknown"
    basis = "as earlier jobs took" if estimate.measured else "a guess"
    return f"{sized}, ~{clock(estimate.seconds)} ({basis})"


def ended(verdicts: Sequence[Verdict], jobs: Mapping[UUID | None, Job]) -> Iterator[str]:
    """What came of each job that was waited for."""
    for verdict in verdicts:
        job = jobs.get(verdict.job_id)
        if job is not None:
            said = (job.result or {}).get("detail") if job.status == JobStatus.COMPLETED else job.error
            yield f"[{job.status.upper()}] {printable(verdict.name)}{f': {printable(str(said))}' if said else ''}"


def total(verdicts: Sequence[Verdict], *, dry_run: bool) -> Iterator[str]:
    """ "Total: 12 files: 7 to encode, 4 skipped, 1 failed; ~4.1 GB of 12.3 GB, ~2:30:00"."""
    counts = {action: sum(verdict.action == action for verdict in verdicts) for action in _ACTIONS}
    encoded = f"{counts['encode']} {'to encode' if dry_run else 'queued'}"
    files = "1 file" if len(verdicts) == 1 else f"{len(verdicts)} files"
    said = f"Total: {files}: {encoded}, {counts['skip']} skipped, {counts['refuse']} failed"
    estimates = [(v.decision.estimate, v.source) for v in verdicts if isinstance(v.decision, Encode)]
    if estimates:
        sized = sum(estimate.size_bytes or 0 for estimate, _ in estimates)
        before = sum(source.size_bytes for _, source in estimates if source is not None)
        seconds = sum(estimate.seconds or 0 for estimate, _ in estimates)
        said += f"; ~{size(sized)} of {size(before)}, ~{clock(seconds)} of encoding"
    yield said


def as_json_document(verdict: Verdict, job: Job | None) -> dict[str, Any]:
    decision, source = verdict.decision, verdict.source
    document: dict[str, Any] = {
        "path": verdict.path,
        "action": verdict.action,
        "reason": ", ".join(decision.changes) if isinstance(decision, Encode) else decision.reason,
        "outcome": decision.outcome if isinstance(decision, Skip) else None,
        "sizeBytes": source.size_bytes if source else None,
        "jobId": str(verdict.job_id) if verdict.job_id else None,
    }
    if isinstance(decision, Encode):
        document |= {
            "changes": list(decision.changes),
            "streams": list(decision.streams),
            "resultName": decision.name,
            "destination": decision.folder,
            "estimatedSizeBytes": decision.estimate.size_bytes,
            "estimatedSeconds": decision.estimate.seconds,
            "estimateIsMeasured": decision.estimate.measured,
        }
    if job is not None:
        document |= {"status": job.status.value, "result": job.result, "error": job.error}
    return document
