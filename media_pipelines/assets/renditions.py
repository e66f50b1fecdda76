"""What is made of one video."""

from typing import Any

import dagster as dg

from media_pipelines.ops.compile_gif import make_gif
from media_pipelines.ops.reencode import encode_rendition, find_source, publish_rendition, verify_rendition
from media_pipelines.ops.thumbnail import take_thumbnail
from media_pipelines.ops.transcode import encode_to_comply, examine_source, publish_result, verify_result
from media_pipelines.ops.validate import validate_video
from media_pipelines.ops.videos import VIDEO_PARTITIONS

_OF_THE_VIDEO = {"library_video": dg.AssetIn("library_video", dagster_type=dg.Nothing)}


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="videos",
    kinds={"ffmpeg"},
    description="Streams, sizes and rates of a video that was probed and of which frames were decoded.",
)
def video_metadata(library_video: object) -> Any:
    return validate_video(library_video)


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="videos",
    kinds={"ffmpeg", "jpeg"},
    description="A picture of a video.",
)
def thumbnail(library_video: object) -> Any:
    return take_thumbnail(library_video)


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="videos",
    kinds={"ffmpeg", "h264"},
    description="A video as H.264 and AAC in a fast-start MP4, verified against its source.",
)
def streaming_rendition(library_video: object) -> Any:
    return publish_rendition(verify_rendition(encode_rendition(find_source(library_video))))


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="videos",
    kinds={"ffmpeg"},
    description="A video that complies with a policy, because it did or because it was encoded anew.",
)
def compliant_video(library_video: object) -> Any:
    return publish_result(verify_result(encode_to_comply(examine_source(library_video))))


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="videos",
    kinds={"ffmpeg"},
    description="A part of a video as an animated picture, every frame of which was decoded.",
)
def gif(library_video: object) -> Any:
    return make_gif(library_video)
