"""The videos themselves, and the scans that find them."""

from typing import Any

import dagster as dg

from media_pipelines.ops.library_report import report_on_library
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


@dg.graph(ins={"library_video": dg.GraphIn()}, out={"result": dg.GraphOut()})
def library_report_graph(library_video: object) -> Any:
    return report_on_library(library_video)


# A graph of a name of its own: Dagster refuses one that is called as the pipeline is.
library_report = dg.AssetsDefinition.from_graph(
    library_report_graph,
    keys_by_output_name={"result": dg.AssetKey("library_report")},
    keys_by_input_name={"library_video": dg.AssetKey("library_video")},
    partition_mappings={"library_video": dg.AllPartitionMapping()},
    group_name="library",
    tags_by_output_name={"result": {"dagster/kind/pandas": "", "dagster/kind/postgres": ""}},
    descriptions_by_output_name={
        "result": "What the library holds, what encoding has saved, what is there twice, how it grows and what fails."
    },
)
