"""What is made of several videos. A compilation's partition is the id of the job that made it."""

from typing import Any

import dagster as dg

from media_pipelines.ops.compile_mega import choose_many, join_many, publish_mega
from media_pipelines.ops.compile_quad import choose_cells, encode_grid, publish_grid
from media_pipelines.ops.compile_random import choose_sources, join_sources, publish_compilation
from media_pipelines.ops.videos import COMPILATION_PARTITIONS

# Which of them it is made of is chosen when the job runs.
_OF_VIDEOS = {
    "library_video": dg.AssetIn("library_video", dagster_type=dg.Nothing, partition_mapping=dg.AllPartitionMapping())
}


@dg.graph_asset(
    ins=_OF_VIDEOS,
    partitions_def=COMPILATION_PARTITIONS,
    group_name="compilations",
    kinds={"ffmpeg", "h264"},
    description="Randomly chosen videos of the library, joined. Its cut list names them.",
)
def random_compilation(library_video: object) -> Any:
    return publish_compilation(join_sources(choose_sources(library_video)))


@dg.graph_asset(
    ins=_OF_VIDEOS,
    partitions_def=COMPILATION_PARTITIONS,
    group_name="compilations",
    kinds={"ffmpeg", "h264"},
    description="Four videos at a time, as a grid of two by two.",
)
def quad_compilation(library_video: object) -> Any:
    return publish_grid(encode_grid(choose_cells(library_video)))


@dg.graph_asset(
    ins=_OF_VIDEOS,
    partitions_def=COMPILATION_PARTITIONS,
    group_name="compilations",
    kinds={"ffmpeg", "h264"},
    description="Many videos as one, equally loud, with a chapter for each.",
)
def mega_compilation(library_video: object) -> Any:
    return publish_mega(join_many(choose_many(library_video)))
