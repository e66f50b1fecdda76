"""Many videos as one: choose, make equally loud, draw title cards, join with chapters, publish."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from jobqueue_bridge import params
from jobqueue_bridge.videos import Video
from media_pipelines.media import loudness, matching, title_card
from media_pipelines.media.cuts import Item
from media_pipelines.media.probe import Probe
from media_pipelines.ops.checks import verifying
from media_pipelines.ops.compilations import Compilation, adopted, choose, finish, join
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.params import typed
from media_pipelines.ops.progress import bounded
from media_pipelines.ops.videos import table
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_COUNT = 100
_MEASURED_PERCENT = 10


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Claim the job and find its videos: those that are named, in their order, or some that fit.",
)
def choose_many(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> Compilation:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.CompileMega)
        return choose(
            attempt,
            "mega",
            wanted,
            queue,
            library,
            ffmpeg,
            count=len(wanted.sources or ()) or wanted.count or _COUNT,
            named=wanted.sources,
            output_path=wanted.output_path,
        )


@dg.op(
    tags=GOES_ON,
    description="Measure loudness, draw titles, join with chapters; only what differs is encoded. Verified.",
)
def join_many(
    context: dg.OpExecutionContext, compilation: Compilation, job: JobRow, queue: Queue, ffmpeg: Ffmpeg
) -> Compilation:
    with job.step(context) as attempt:
        if compilation.output.published:
            return adopted(compilation, ffmpeg)
        wanted = typed(attempt, params.CompileMega)
        levelling = _levelling(attempt, compilation, wanted, ffmpeg)
        with verifying(context, attempt):
            return join(
                attempt,
                compilation,
                lambda workdir: _items(compilation, wanted, levelling, workdir),
                queue,
                ffmpeg,
                preset=wanted.preset,
                crf=wanted.crf,
                crossfade_s=wanted.crossfade,
                since_percent=_MEASURED_PERCENT if wanted.level_loudness else 0,
            )


def _levelling(attempt: Attempt, compilation: Compilation, wanted: params.CompileMega, ffmpeg: Ffmpeg) -> list[str]:
    """Filters for the sound of each source."""
    if not wanted.level_loudness:
        return [""] * len(compilation.chosen)
    found = []
    with bounded(attempt.log, "sources measured") as log_measured:
        for n, (video, probe) in enumerate(compilation.chosen):
            measured = loudness.measure(
                ffmpeg.program, probe, stop=attempt.stop_reason, stall_timeout_s=ffmpeg.stall_timeout_s
            )
            found.append(loudness.levelling(measured, wanted.loudness))
            heard = f"{measured.integrated:.1f} LUFS" if measured else "no sound to measure"
            log_measured(f"Loudness of {video.path}: {heard}" + ("" if found[-1] else ", left as it is"))
            attempt.progress(_MEASURED_PERCENT * (n + 1) / len(compilation.chosen), measured=n + 1)
    return found


def _items(compilation: Compilation, wanted: params.CompileMega, levelling: Sequence[str], workdir: Path) -> list[Item]:
    common = matching.plan(compilation.sources)
    items = []
    for n, ((video, probe), filters) in enumerate(zip(compilation.chosen, levelling, strict=True)):
        card = None
        if wanted.title_cards:
            card = workdir / f"title-{n:05d}.png"
            title_card.draw(title_of(video), common.width, common.height, card)
        items.append(Item(probe, title_of(video), card, wanted.title_cards, filters))
    return items


def title_of(video: Video) -> str:
    return video.title or video.filename


@dg.op(tags=GOES_ON, description="Rename the compilation to its place and write its row.")
def publish_mega(
    context: dg.OpExecutionContext,
    compilation: Compilation,
    job: JobRow,
    queue: Queue,
    library: Library,
    ffmpeg: Ffmpeg,
) -> dg.Output[None]:
    with job.step(context) as attempt:
        shown = finish(context, attempt, compilation, queue, library, ffmpeg)
    return dg.Output(None, metadata={**shown, "chapters": _chapters(compilation)})


def _chapters(compilation: Compilation) -> dg.MarkdownMetadataValue:
    rows: list[tuple[str, str, str, str]] = [
        (f"{start_s:.2f} s", title_of(video), video.path, _length(probe))
        for start_s, (video, probe) in zip(compilation.starts_s, compilation.chosen, strict=False)
    ]
    return table(["from", "chapter", "video", "lasts"], rows)


def _length(probe: Probe) -> str:
    return f"{probe.duration_s or 0:.2f} s"
