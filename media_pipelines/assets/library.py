"""The videos themselves, and the scans that find them."""

from typing import Any

import dagster as dg

from jobqueue_bridge.tables import videos
from jobqueue_bridge.vocabulary import JobType
from media_pipelines.assets.about import OF_THE_VIDEO, about, product
from media_pipelines.ops.library_report import report_on_library
from media_pipelines.ops.move_to_library import move_video
from media_pipelines.ops.scan import scan_directory, scan_public_directory
from media_pipelines.ops.videos import VIDEO_PARTITIONS

library_video = dg.AssetSpec(
    "library_video",
    deps=["library_scan", "public_gallery_scan"],
    partitions_def=VIDEO_PARTITIONS,
    **about(
        "library",
        "A video file that the library knows, a partition each. Its events tell what became of the file: found, "
        "changed, moved, encoded anew, restored, missing, back again, forgotten. Of a large scan, each kind of event "
        "is told for the first 50 videos only; the rows know all of them.",
        made_by=[JobType.SCAN, JobType.PUBLIC_SCAN],
        lies="anywhere below the library root, `MEDIA_LIBRARY_PATH`; its row is in the table `videos`. What jobs make "
        "of videos are videos, too: below `playback/`, `compilations/`, `clips/` and others.",
        otherwise="A file whose video is missing was not there at the last scan of its folder: bring it back or let "
        "`media-pipelines videos forget` remove its row, which removes its partition, too. A file that is not known "
        "yet: scan its folder.",
        kinds={"file", "postgres"},
        table=videos,
    ),
)


@product(
    "library",
    "What the last scan of a library folder found: how many files, which are new, changed, moved, missing or broken.",
    made_by=[JobType.SCAN],
    lies="in the table `videos`, a row for each file. The files themselves are only read.",
    otherwise="Run `media-pipelines scan`. A scan that failed says in its log which folder could not be read; a "
    "disk that is away costs no row.",
    kinds={"postgres", "table"},
    table=videos,
)
def library_scan() -> Any:
    return scan_directory()


@product(
    "library",
    "What the last scan of the public gallery found, `library/public/`.",
    made_by=[JobType.PUBLIC_SCAN],
    lies="in the table `videos`, a row for each file.",
    otherwise="Create a `public_scan` job. A library without a public gallery needs none.",
    kinds={"postgres", "table"},
    table=videos,
)
def public_gallery_scan() -> Any:
    return scan_public_directory()


@product(
    "library",
    "Where a video lies, after a job moved it to another folder of the library with its subtitles and .nfo. Its "
    "row, and all that hangs on it, followed.",
    made_by=[JobType.MOVE_TO_LIBRARY],
    lies="below `library/`, where the job was told to move it; the path is in the metadata.",
    otherwise="Most videos are never moved. After a failure the file is where it was; `media-pipelines restore` "
    "undoes a move that was done.",
    kinds={"file", "postgres"},
    of=OF_THE_VIDEO,
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
).map_asset_specs(
    lambda spec: spec.merge_attributes(kinds={"postgres", "python", "report"}).replace_attributes(
        **about(
            "library",
            "What the library holds, what encoding has saved, what is there twice, how it grows and what fails.",
            made_by=[JobType.LIBRARY_REPORT],
            lies="in the table `library_reports`, the newest 400; the Jobs page shows the newest in its Report view.",
            otherwise="Run `media-pipelines report --refresh`. A schedule makes one each week, if it is on.",
            kinds={"postgres", "python", "report"},
        )
    )
)
