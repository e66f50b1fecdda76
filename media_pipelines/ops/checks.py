"""Checks of what jobs make. An op that verifies tells here what came of it: the job's result and Dagster keep it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import dagster as dg

from jobqueue_bridge.findings import Finding, Severity
from media_pipelines.media.errors import MediaError, OutputRejected
from media_pipelines.ops.materialized import job_link
from media_pipelines.resources.attempt import Attempt

SEVERITIES: Mapping[Severity, dg.AssetCheckSeverity] = MappingProxyType(
    {Severity.ERROR: dg.AssetCheckSeverity.ERROR, Severity.WARN: dg.AssetCheckSeverity.WARN}
)


@dataclass(frozen=True)
class Check:
    """A question that the job which makes something answers about it."""

    name: str
    description: str


def _verified(how: str) -> Check:
    return Check("verified", f"The file was read back before it got its name: {how}.")


_FILM = _verified("it opens, frames decode to its end, it lasts as long as planned, and its streams are there")
_SMALLER = Check("smaller", "The rendition is smaller than its source; a larger one is no failure, and worth a look.")
_SOUND = Check("sound", "The file opens, and frames spread over it decode.")
_PICTURE = _verified("the picture decodes completely; of a storyboard, every sheet")
_ANIMATION = _verified("every frame decodes, and together they last as long as planned")

# By asset. What is not here, ops cannot report: it would have no page in Dagster.
CHECKS: Mapping[str, tuple[Check, ...]] = MappingProxyType(
    {
        "video_metadata": (_SOUND,),
        "thumbnail": (_PICTURE,),
        "gif": (_ANIMATION,),
        "streaming_rendition": (_FILM, _SMALLER),
        **dict.fromkeys(
            (
                "compliant_video", "random_compilation", "quad_compilation", "mega_compilation",
                "scenes", "highlights", "digest", "clips",
            ),
            (_FILM,),
        ),
    }
)  # fmt: skip


def report(context: dg.OpExecutionContext, attempt: Attempt, finding: Finding) -> None:
    """Raises KeyError for a check that is not among CHECKS."""
    asset = asset_of(context)
    if finding.name not in {check.name for check in CHECKS[asset]}:
        raise KeyError(f"{asset} has no check {finding.name}")
    attempt.note_finding(finding)
    partition = context.partition_key if context.has_partition_key else None
    log_evaluation(context, evaluation(asset, finding, partition=partition, job=job_link(attempt)))


def log_evaluation(context: dg.OpExecutionContext, found: dg.AssetCheckEvaluation) -> None:
    context.log_event(found)  # type: ignore[arg-type] # it takes evaluations, too, and does not say so


def asset_of(context: dg.OpExecutionContext) -> str:
    """The asset whose graph the op is part of; the graph has its name."""
    return context.op_handle.path[0]


def evaluation(
    asset: str, finding: Finding, *, partition: str | None = None, **metadata: Any
) -> dg.AssetCheckEvaluation:
    """As Dagster keeps it. The partition stands in the metadata, too, where the UI shows it."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=finding.name,
        passed=finding.passed,
        severity=SEVERITIES[finding.severity],
        description=finding.description,
        partition=partition,
        metadata=metadata if partition is None else {"partition": partition, **metadata},
    )


@contextmanager
def verifying(context: dg.OpExecutionContext, attempt: Attempt) -> Iterator[None]:
    """The check `verified`: it passes where the block ends, and does not where the block finds that an output is not
    what was asked for. Any other error says nothing about the output."""
    try:
        yield
    except OutputRejected as error:
        report(context, attempt, Finding("verified", False, Severity.ERROR, "; ".join(error.problems)))
        raise
    passed = next(check.description for check in CHECKS[asset_of(context)] if check.name == "verified")
    report(context, attempt, Finding("verified", True, Severity.ERROR, passed))


@contextmanager
def sounding(context: dg.OpExecutionContext, attempt: Attempt) -> Iterator[None]:
    """The check `sound` of a video itself; only what is wrong with the file for good counts against it."""
    try:
        yield
    except MediaError as error:
        if error.kind == "permanent":
            report(context, attempt, Finding("sound", False, Severity.ERROR, str(error)))
        raise
    report(context, attempt, Finding("sound", True, Severity.ERROR, _SOUND.description))
