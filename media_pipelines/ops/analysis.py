"""The steps that all jobs which look at a video's content have in common: find it, and analyse it once."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from jobqueue_bridge import params
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.videos import Video
from media_pipelines.ai.analyse import analyse
from media_pipelines.ai.analysis import Analysis, Engine, path_of
from media_pipelines.ai.engines.choosing import Engines, wishes
from media_pipelines.ai.survey import PIECE_S
from media_pipelines.media.blame import blaming_sources
from media_pipelines.media.fingerprint import fingerprint
from media_pipelines.media.probe import Probe
from media_pipelines.ops.materialized import made
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.progress import Reporter
from media_pipelines.ops.videos import source_video, table
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

# The asset that is what an analysis has found out, whichever job made it.
ANALYSIS = "video_analysis"
# Of the progress bar.
ANALYSED_PERCENT = 60.0


@dataclass(frozen=True)
class Found:
    """The video of a job, and its file."""

    video: Video
    source: Probe


@dataclass(frozen=True)
class Analysed:
    """All that is known of a video's content. `known`: an earlier job had found it out."""

    video: Video
    source: Probe
    analysis: Analysis
    known: bool

    @property
    def since_percent(self) -> float:
        """Where the rest of the work begins on the progress bar."""
        return 2.0 if self.known else ANALYSED_PERCENT


@dg.op(
    ins={"library_video": dg.In(dg.Nothing), ANALYSIS: dg.In(dg.Nothing)},
    description="Claim the job, find the video and probe it.",
)
def find_video(context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg) -> Found:
    with job.step(context) as attempt:
        video = source_video(queue, attempt.job.video_id)
        attempt.log(f"Input: {video.path}")
        with ffmpeg.prober() as prober:
            return Found(video, prober.probe(library.path(video.path)))


@dg.op(
    tags=GOES_ON,
    description="Find out all about the video's content in one pass, or read what an earlier job has found out. "
    "A pass that was cut off goes on where it ended.",
)
def analyse_video(context: dg.OpExecutionContext, found: Found, job: JobRow, queue: Queue, ffmpeg: Ffmpeg) -> Analysed:
    with job.step(context) as attempt:
        path, key = found.source.path, fingerprint(found.source.path)
        before = _written_at(path_of(folder(queue), key))
        if left := len(list((folder(queue) / f"{key}.parts").glob("[0-9]*.npz"))):
            attempt.log(f"Analysis: goes on after {left * PIECE_S:.0f} s, which an earlier attempt has analysed")
        with ffmpeg.prober() as prober, blaming_sources(prober, [found.source]):
            analysis = analyse(
                path,
                engines=_engines(attempt, queue.settings),
                folder=folder(queue),
                on_progress=Reporter(attempt, ANALYSED_PERCENT).ffmpeg,
                stop=lambda: attempt.check(),
                content_key=key,
            )
        known = before is not None and before == _written_at(path_of(folder(queue), key))
        _tell(context, attempt, found.video, analysis, path_of(folder(queue), key), known=known)
        attempt.decided(f"Analysis: {'an earlier job made it' if known else 'made'}, {len(analysis.shots)} shots")
        for one in analysis.engines:
            attempt.log(f"  {one.role}: {one.reference} on {one.device}{f' ({one.reason})' if one.reason else ''}")
        return Analysed(found.video, found.source, analysis, known)


def _tell(
    context: dg.OpExecutionContext, attempt: Attempt, video: Video, analysis: Analysis, path: Path, *, known: bool
) -> None:
    """Dagster, of the analysis in the video's partition: made now, or found as an earlier job has left it."""
    event = dg.AssetObservation if known else dg.AssetMaterialization
    shown = {"dagster/uri": path.as_uri(), "shots": len(analysis.shots), "engines": engines_table(analysis)}
    context.log_event(event(ANALYSIS, partition=str(video.id), metadata=made(attempt, **shown)))


def _engines(attempt: Attempt, settings: Settings) -> Engines:
    """Those of the settings; an open-vocabulary tagger looks for the job's own words, if it has any."""
    wanted = params.parse(params.job_type(attempt.job.type), attempt.job.params)
    own = wanted.labels if isinstance(wanted, params.TagGeneration) else None
    chosen = wishes(settings)
    return Engines(replace(chosen, labels=tuple(own)) if own else chosen)


def _written_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def folder(queue: Queue) -> Path:
    """Where analyses are kept, one file for each content."""
    return queue.settings.home / "analyses"


def engines_of(analysis: Analysis) -> list[dict[str, Any]]:
    """For the job's result: which model did what, where, and why no better one."""
    return [_engine(one) for one in analysis.engines]


def _engine(one: Engine) -> dict[str, Any]:
    return {
        "role": one.role,
        "model": one.model_id,
        "reference": one.reference,
        "device": one.device,
        "sha256": one.sha256,
        "licence": one.licence,
        "vramPeakMb": one.vram_peak_mb,
        "reason": one.reason,
    }


def engines_table(analysis: Analysis) -> dg.MarkdownMetadataValue:
    rows = [(one.role, one.reference, one.device, one.licence, one.reason or "preferred") for one in analysis.engines]
    return table(["part", "engine", "device", "licence", "why"], rows)
