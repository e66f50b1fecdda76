"""The videos themselves, and the scans that find them."""

from typing import Any

import dagster as dg

from media_pipelines.ops.move_to_library import move_video
from media_pipelines.ops.scan import scan_directory, scan_public_directory
from media_pipelines.ops.videos import VIDEO_PARTITIONS

library_video = dg.AssetSpec(
    "library_video",
    description="A video file that the library knows. Scans and jobs that make videos record it.",
    group_name="library",
    kinds={"video"},
    partitions_def=VIDEO_PARTITIONS,
)


@dg.graph_asset(group_name="library", kinds={"postgres"}, description="What the last scan of a library folder found.")
def library_scan() -> Any:
    return scan_directory()


@dg.graph_asset(group_name="library", kinds={"postgres"}, description="What the last scan of the public gallery found.")
def public_gallery_scan() -> Any:
    return scan_public_directory()


@dg.graph_asset(
    ins={"library_video": dg.AssetIn("library_video", dagster_type=dg.Nothing)},
    partitions_def=VIDEO_PARTITIONS,
    group_name="library",
    kinds={"postgres"},
    description="Where a video lies in the library, after it was moved.",
)
def place_in_library(library_video: object) -> Any:
    return move_video(library_video)
