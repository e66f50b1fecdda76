"""One pipeline for each job type that can be run, under the same name."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from jobqueue_bridge.queue import Job
from jobqueue_bridge.vocabulary import NEEDS, JobType
from media_pipelines.assets.compilations import mega_compilation, quad_compilation, random_compilation
from media_pipelines.assets.insights import clips, digest, highlights, scenes, tags
from media_pipelines.assets.library import library_report, library_scan, place_in_library, public_gallery_scan
from media_pipelines.assets.renditions import compliant_video, gif, streaming_rendition, thumbnail, video_metadata
from media_pipelines.tags import CATEGORY_TAG, TYPE_TAG


@dataclass(frozen=True)
class Pipeline:
    """What a job type materializes, and of which partition."""

    asset: dg.AssetsDefinition
    definition: UnresolvedAssetJobDefinition

    @property
    def partitions(self) -> dg.DynamicPartitionsDefinition | None:
        found = self.asset.partitions_def
        assert found is None or isinstance(found, dg.DynamicPartitionsDefinition)
        return found

    def partition_key(self, job: Job) -> str | None:
        """A video's products lie in its partition; a compilation has one of its own."""
        if self.partitions is None:
            return None
        return job.partition_key or str(job.video_id or job.id)


def _pipeline(kind: JobType, asset: dg.AssetsDefinition, description: str) -> Pipeline:
    definition = dg.define_asset_job(
        kind.value,
        # checks by hand would only repeat what the ops have found
        selection=dg.AssetSelection.assets(asset).without_checks(),
        description=description,
        tags={TYPE_TAG: kind.value, CATEGORY_TAG: NEEDS[kind].category.value},
        executor_def=dg.in_process_executor,
    )
    return Pipeline(asset, definition)


PIPELINES: Mapping[JobType, Pipeline] = MappingProxyType(
    {
        JobType.SCAN: _pipeline(JobType.SCAN, library_scan, "Look through a library folder for new videos."),
        JobType.PUBLIC_SCAN: _pipeline(
            JobType.PUBLIC_SCAN, public_gallery_scan, "Look through the public gallery for new videos."
        ),
        JobType.VALIDATE: _pipeline(JobType.VALIDATE, video_metadata, "Probe a video and decode frames of it."),
        JobType.THUMBNAIL_GENERATE: _pipeline(JobType.THUMBNAIL_GENERATE, thumbnail, "Take a picture of a video."),
        JobType.REENCODE_STREAMING: _pipeline(
            JobType.REENCODE_STREAMING, streaming_rendition, "Re-encode a video for the web."
        ),
        JobType.COMPILE_RANDOM: _pipeline(
            JobType.COMPILE_RANDOM, random_compilation, "Join randomly chosen videos into one."
        ),
        JobType.COMPILE_QUAD: _pipeline(JobType.COMPILE_QUAD, quad_compilation, "Show four videos as a grid."),
        JobType.COMPILE_MEGA: _pipeline(
            JobType.COMPILE_MEGA, mega_compilation, "Join many videos into one, with chapters."
        ),
        JobType.COMPILE_GIF: _pipeline(JobType.COMPILE_GIF, gif, "Make an animated picture of a part of a video."),
        JobType.SCENE_EXTRACT: _pipeline(
            JobType.SCENE_EXTRACT, scenes, "Find shots and scenes, list them, write them as files."
        ),
        JobType.TAG_GENERATION: _pipeline(JobType.TAG_GENERATION, tags, "Say what a video shows."),
        JobType.HIGHLIGHT_GENERATE: _pipeline(
            JobType.HIGHLIGHT_GENERATE, highlights, "Rank the moments of a video, join the best to a reel."
        ),
        JobType.CLIP_GENERATE: _pipeline(JobType.CLIP_GENERATE, clips, "Cut clips out of a video."),
        JobType.DIGEST_GENERATE: _pipeline(JobType.DIGEST_GENERATE, digest, "Make a short film of a long one."),
        JobType.MOVE_TO_LIBRARY: _pipeline(
            JobType.MOVE_TO_LIBRARY, place_in_library, "Move a video to another folder of the library."
        ),
        JobType.TRANSCODE: _pipeline(JobType.TRANSCODE, compliant_video, "Bring a video into line with a policy."),
        JobType.LIBRARY_REPORT: _pipeline(
            JobType.LIBRARY_REPORT, library_report, "Report on the library and on what the queue did for it."
        ),
    }
)
