"""What is made of what a video shows and says. One analysis of its content serves them all."""

from typing import Any

import dagster as dg

from media_pipelines.ops.analysis import analyse_video, find_video
from media_pipelines.ops.clip_generate import choose_clips, cut_clips, publish_clips
from media_pipelines.ops.digest_generate import choose_pieces, join_pieces, publish_digest
from media_pipelines.ops.highlight_generate import choose_moments, join_moments, publish_highlights
from media_pipelines.ops.scene_extract import group_shots, publish_scenes, write_scene_files
from media_pipelines.ops.tag_generation import add_up_tags, store_tags
from media_pipelines.ops.videos import VIDEO_PARTITIONS

_OF_THE_VIDEO = {"library_video": dg.AssetIn("library_video", dagster_type=dg.Nothing)}


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="insights",
    kinds={"ai"},
    description="The shots and scenes of a video, its cuts, dissolves and fades, as lists and pictures.",
)
def scenes(library_video: object) -> Any:
    return publish_scenes(write_scene_files(group_shots(analyse_video(find_video(library_video)))))


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="insights",
    kinds={"ai", "postgres"},
    description="What a video shows: tags with score, count, spans and model.",
)
def tags(library_video: object) -> Any:
    return store_tags(add_up_tags(analyse_video(find_video(library_video))))


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="insights",
    kinds={"ai", "ffmpeg", "h264"},
    description="The moments of a video in which most happens, ranked with their reasons, and a reel of the best.",
)
def highlights(library_video: object) -> Any:
    return publish_highlights(join_moments(choose_moments(analyse_video(find_video(library_video)))))


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="insights",
    kinds={"ai", "ffmpeg", "h264"},
    description="A short film of a long one: every scene as far as there is time, nothing twice, with chapters.",
)
def digest(library_video: object) -> Any:
    return publish_digest(join_pieces(choose_pieces(analyse_video(find_video(library_video)))))


@dg.graph_asset(
    ins=_OF_THE_VIDEO,
    partitions_def=VIDEO_PARTITIONS,
    group_name="insights",
    kinds={"ai", "ffmpeg", "h264"},
    description="Clips of a video, each a film of its own, cut at shots and pauses, in any shape.",
)
def clips(library_video: object) -> Any:
    return publish_clips(cut_clips(choose_clips(analyse_video(find_video(library_video)))))
