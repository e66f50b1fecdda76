"""What is made of several videos. A compilation's partition is the id of the job that made it."""

from typing import Any

from jobqueue_bridge.vocabulary import JobType
from media_pipelines.assets.about import OF_VIDEOS, product
from media_pipelines.ops.compile_mega import choose_many, join_many, publish_mega
from media_pipelines.ops.compile_quad import choose_cells, encode_grid, publish_grid
from media_pipelines.ops.compile_random import choose_sources, join_sources, publish_compilation

_LIES = "in `compilations/`, or where the job was told to put it. The metadata names its sources."
_OTHERWISE = "Create a `{}` job; one that failed says which video could not be used, or how many fit its criteria."


@product(
    "compilations",
    "Randomly chosen videos of the library, joined. Its cut list names them; the same seed chooses the same ones.",
    made_by=[JobType.COMPILE_RANDOM],
    lies=_LIES,
    otherwise=_OTHERWISE.format(JobType.COMPILE_RANDOM),
    kinds={"file"},
    of=OF_VIDEOS,
)
def random_compilation(library_video: object) -> Any:
    return publish_compilation(join_sources(choose_sources(library_video)))


@product(
    "compilations",
    "Four videos at a time, as a grid of two by two, their sound mixed.",
    made_by=[JobType.COMPILE_QUAD],
    lies=_LIES,
    otherwise=_OTHERWISE.format(JobType.COMPILE_QUAD),
    kinds={"file"},
    of=OF_VIDEOS,
)
def quad_compilation(library_video: object) -> Any:
    return publish_grid(encode_grid(choose_cells(library_video)))


@product(
    "compilations",
    "Many videos as one, equally loud, with a chapter for each.",
    made_by=[JobType.COMPILE_MEGA],
    lies=_LIES,
    otherwise=_OTHERWISE.format(JobType.COMPILE_MEGA),
    kinds={"file"},
    of=OF_VIDEOS,
)
def mega_compilation(library_video: object) -> Any:
    return publish_mega(join_many(choose_many(library_video)))
