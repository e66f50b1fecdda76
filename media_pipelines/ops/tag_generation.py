"""Say what a video shows: the tags of its shots added up, stored as rows and on the video's own."""

from dataclasses import dataclass

import dagster as dg
import sqlalchemy as sa

from jobqueue_bridge import insights, params, videos
from jobqueue_bridge.insights import TagRow
from media_pipelines.ai.tagging import VideoTag, tags
from media_pipelines.ops.analysis import Analysed, engines_of, engines_table
from media_pipelines.ops.materialized import made, video_link
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.params import typed
from media_pipelines.ops.videos import table
from media_pipelines.resources.job import JobRow


@dataclass(frozen=True)
class Tagged:
    """A video and what it shows."""

    analysed: Analysed
    tags: tuple[VideoTag, ...]


@dg.op(tags=GOES_ON, description="Add up the tags of all shots that the model is sure enough of.")
def add_up_tags(context: dg.OpExecutionContext, analysed: Analysed, job: JobRow) -> Tagged:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.TagGeneration)
        found = tags(analysed.analysis, wanted.min_score, wanted.max_tags)
        names = ", ".join(f"{tag.name} {tag.score:.2f}" for tag in found[:10])
        attempt.log(f"Tags: {names or 'none that the model is sure enough of'}")
        return Tagged(analysed, found)


@dg.op(tags=GOES_ON, description="Write the tags as rows, and by name on the video's own, beside those that are there.")
def store_tags(context: dg.OpExecutionContext, tagged: Tagged, job: JobRow) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.TagGeneration)
        video, analysis = tagged.analysed.video, tagged.analysed.analysis
        rows = [_row(tag) for tag in tagged.tags]

        def write(connection: sa.Connection) -> None:
            insights.replace_tags(connection, video.id, rows)
            if wanted.apply:
                videos.add_tags(connection, video.id, [tag.name for tag in tagged.tags])

        engine = analysis.engine("tags")
        attempt.complete(
            {
                "tags": [{"name": row.name, "score": row.score, "count": row.count, "seconds": row.seconds,
                          "spans": row.spans, "model": row.model} for row in rows],
                "applied": wanted.apply,
                "analysis": "stored" if tagged.analysed.known else "made",
                "engines": engines_of(analysis),
                **({} if engine else {"notes": [*analysis.notes, "no engine for tags is at hand"]}),
            },
            also=write,
        )  # fmt: skip
    listed = [(tag.name, f"{tag.score:.2f}", tag.count, f"{tag.seconds:.1f} s", tag.model) for tag in tagged.tags]
    return dg.Output(
        None,
        metadata=made(
            attempt,
            **{"dagster/partition_row_count": len(rows)},
            tags=table(["tag", "score", "shots", "seen for", "model"], listed),
            engines=engines_table(analysis),
            source=video.path,
            source_video=video_link(attempt.settings, video.id),
        ),
    )


def _row(tag: VideoTag) -> TagRow:
    spans = [[round(span.start_s, 3), round(span.end_s, 3), round(span.score, 3)] for span in tag.spans]
    return TagRow(tag.name, round(tag.score, 4), tag.count, round(tag.seconds, 3), spans, tag.model)
