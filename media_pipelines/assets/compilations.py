"""What is made of several videos. A compilation's partition is the id of the job that made it."""

from typing import Any

import dagster as dg

from media_pipelines.ops.compile_random import choose_sources, join_sources, publish_compilation
from media_pipelines.ops.videos import COMPILATION_PARTITIONS


@dg.graph_asset(
    partitions_def=COMPILATION_PARTITIONS,
    group_name="compilations",
    kinds={"ffmpeg", "h264"},
    description="Randomly chosen videos of the library, joined. Its cut list names them.",
)
def random_compilation() -> Any:
    return publish_compilation(join_sources(choose_sources()))
