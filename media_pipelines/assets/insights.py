"""What is made of what a video shows and says. One analysis of its content serves them all."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import dagster as dg

from jobqueue_bridge.tables import video_shots, video_tags
from jobqueue_bridge.vocabulary import JobType
from media_pipelines.assets.about import OF_THE_VIDEO, about, product
from media_pipelines.ops.analysis import ANALYSIS, analyse_video, find_video
from media_pipelines.ops.clip_generate import choose_clips, cut_clips, publish_clips
from media_pipelines.ops.digest_generate import choose_pieces, join_pieces, publish_digest
from media_pipelines.ops.highlight_generate import choose_moments, join_moments, publish_highlights
from media_pipelines.ops.scene_extract import group_shots, publish_scenes, write_scene_files
from media_pipelines.ops.tag_generation import add_up_tags, store_tags
from media_pipelines.ops.videos import VIDEO_PARTITIONS

_ANALYSING = (
    JobType.SCENE_EXTRACT,
    JobType.TAG_GENERATION,
    JobType.HIGHLIGHT_GENERATE,
    JobType.CLIP_GENERATE,
    JobType.DIGEST_GENERATE,
)

video_analysis = dg.AssetSpec(
    ANALYSIS,
    deps=["library_video"],
    partitions_def=VIDEO_PARTITIONS,
    **about(
        "insights",
        "All that one pass over a video finds out: shots, motion, loudness, speech, faces, tags. Whichever job looks "
        "at a video first makes it, the others read it; none has to be asked for.",
        made_by=_ANALYSING,
        lies="in `analyses/` of the platform's home, a file for each content, so that copies share one.",
        otherwise="Nothing is to be done: the next job that needs it makes it. Its metadata, and `media-pipelines "
        "models`, say which engines looked and why no better ones.",
        kinds={"file"},
    ),
)

_OF_ITS_ANALYSIS: Mapping[str, Any] = MappingProxyType(
    {**OF_THE_VIDEO, "ins": {**OF_THE_VIDEO["ins"], ANALYSIS: dg.AssetIn(ANALYSIS, dagster_type=dg.Nothing)}}
)


def _analysed(library_video: object, video_analysis: object) -> Any:
    """The steps with which all of them begin."""
    return analyse_video(find_video(library_video=library_video, video_analysis=video_analysis))


@product(
    "insights",
    "The shots and scenes of a video, its cuts, dissolves and fades, as rows, lists and pictures; where a job asks "
    "for it, each scene as a file.",
    made_by=[JobType.SCENE_EXTRACT],
    lies="in the table `video_shots`, and in `scenes/`: EDL, OTIO, CSV or JSON, a picture of each scene.",
    otherwise="Create a `scene_extract` job.",
    kinds={"postgres", "table", "file"},
    table=video_shots,
    of=_OF_ITS_ANALYSIS,
)
def scenes(library_video: object, video_analysis: object) -> Any:
    return publish_scenes(write_scene_files(group_shots(_analysed(library_video, video_analysis))))


@product(
    "insights",
    "What a video shows: tags with score, count, spans and model.",
    made_by=[JobType.TAG_GENERATION],
    lies="in the table `video_tags`; unless the job was told otherwise, their names on the video's own row, too.",
    otherwise="Create a `tag_generation` job. None that the model is sure enough of is a result, too.",
    kinds={"postgres", "table"},
    table=video_tags,
    of=_OF_ITS_ANALYSIS,
)
def tags(library_video: object, video_analysis: object) -> Any:
    return store_tags(add_up_tags(_analysed(library_video, video_analysis)))


@product(
    "insights",
    "The moments of a video in which most happens, ranked with their reasons, and a reel of the best.",
    made_by=[JobType.HIGHLIGHT_GENERATE],
    lies="in `highlights/<name>.highlights.mp4`; the ranking is in the job's result.",
    otherwise="Create a `highlight_generate` job.",
    kinds={"file"},
    of=_OF_ITS_ANALYSIS,
)
def highlights(library_video: object, video_analysis: object) -> Any:
    return publish_highlights(join_moments(choose_moments(_analysed(library_video, video_analysis))))


@product(
    "insights",
    "A short film of a long one: every scene as far as there is time, nothing twice, with chapters.",
    made_by=[JobType.DIGEST_GENERATE],
    lies="in `digests/<name>.digest.mp4`, its poster below `thumbnails/`.",
    otherwise="Create a `digest_generate` job.",
    kinds={"file"},
    of=_OF_ITS_ANALYSIS,
)
def digest(library_video: object, video_analysis: object) -> Any:
    return publish_digest(join_pieces(choose_pieces(_analysed(library_video, video_analysis))))


@product(
    "insights",
    "Clips of a video, each a film of its own, cut at shots and pauses, in any shape.",
    made_by=[JobType.CLIP_GENERATE],
    lies="in `clips/`, a file for each.",
    otherwise="Create a `clip_generate` job; it says so where no stretch of the video is long enough.",
    kinds={"file"},
    of=_OF_ITS_ANALYSIS,
)
def clips(library_video: object, video_analysis: object) -> Any:
    return publish_clips(cut_clips(choose_clips(_analysed(library_video, video_analysis))))
