"""Clips: short stretches of a video that stand for themselves, cut at shots and pauses. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from media_pipelines.ai.analysis import Analysis
from media_pipelines.ai.digest import is_duplicate
from media_pipelines.ai.interest import Interest
from media_pipelines.ai.pauses import Pauses, pauses
from media_pipelines.ai.scenes import Scene
from media_pipelines.ai.segments import Segment

# What an edge is worth beside the interest of the clip, which is from 0 to 1.
_AT_A_SHOT = 0.15
_IN_A_PAUSE = 0.05
_IN_ONE_SCENE = 0.10
# Within a shot an edge may be at each of these steps, in a pause.
_EVERY_S = 1.0
_MOST_SPANS = 400


@dataclass(frozen=True)
class Edge:
    """Where a clip may begin or end. `worth` is what speaks for it; negative where somebody speaks."""

    at_s: float
    worth: float


def clips(
    analysis: Analysis, found: Interest, scenes: Sequence[Scene], *, count: int, min_s: float, max_s: float
) -> list[Segment]:
    """The best ones that do not overlap and do not begin with the same picture, best first; fewer where the video has
    no more. One that is too short for `min_s` is itself a clip."""
    if analysis.duration_s <= min_s:
        return [_segment(analysis, found, 0.0, analysis.duration_s, analysis.duration_s)]
    edges = _edges(analysis, pauses(analysis))
    candidates = sorted(_candidates(edges, found, scenes, min_s, max_s), key=lambda one: -one[0])
    chosen: list[Segment] = []
    for _, start_s, end_s in candidates:
        if len(chosen) == count:
            break
        clip = _segment(analysis, found, start_s, end_s, analysis.duration_s)
        if all(_apart(analysis, clip, other) for other in chosen):
            chosen.append(clip)
    return chosen


def _apart(analysis: Analysis, one: Segment, other: Segment) -> bool:
    overlap = one.start_s < other.end_s and other.start_s < one.end_s
    return not overlap and not is_duplicate(analysis, one.shot, other.shot)


def _edges(analysis: Analysis, where: Pauses) -> list[Edge]:
    """The edges of shots, and in long shots moments in pauses. Into speech only where a shot has nothing else."""
    found = {0.0: _AT_A_SHOT, analysis.duration_s: _AT_A_SHOT}
    for shot in analysis.shots:
        for at_s in (shot.start_s, shot.end_s):
            found[at_s] = _AT_A_SHOT if where.is_free(at_s) else -_AT_A_SHOT
        for at_s, worth in _inside(shot.start_s, shot.end_s, where):
            found.setdefault(at_s, worth)
    return [Edge(at_s, worth) for at_s, worth in sorted(found.items()) if 0 <= at_s <= analysis.duration_s]


def _inside(start_s: float, end_s: float, where: Pauses) -> Iterator[tuple[float, float]]:
    for n in range(1, int((end_s - start_s) / _EVERY_S)):
        wanted_s = start_s + n * _EVERY_S
        free_s = where.nearest(wanted_s, wanted_s - _EVERY_S / 2, wanted_s + _EVERY_S / 2)
        if free_s is not None:
            yield free_s, _IN_A_PAUSE
        elif n % 5 == 0:
            yield where.quietest(wanted_s, wanted_s - _EVERY_S, wanted_s + _EVERY_S), -_AT_A_SHOT


def _candidates(
    edges: Sequence[Edge], found: Interest, scenes: Sequence[Scene], min_s: float, max_s: float
) -> Iterator[tuple[float, float, float]]:
    """Worth, start and end of each stretch between two edges that is as long as is wanted."""
    import numpy as np

    at_s = np.array([edge.at_s for edge in edges])
    worth = np.array([edge.worth for edge in edges])
    sums = np.cumsum(np.concatenate([[0.0], found.total.astype(np.float64)]))
    steps = np.clip(np.rint(at_s / found.step_s).astype(np.intp), 0, len(found.total))
    ends = np.array([scene.end_s for scene in scenes])
    for n, edge in enumerate(edges):
        first = int(np.searchsorted(at_s, edge.at_s + min_s - 1e-6))
        last = min(int(np.searchsorted(at_s, edge.at_s + max_s + 1e-6)), first + _MOST_SPANS)
        if first >= last:
            continue
        spans = slice(first, last)
        means = (sums[steps[spans]] - sums[steps[n]]) / np.maximum(1, steps[spans] - steps[n])
        scene_ends_s = ends[min(int(np.searchsorted(ends, edge.at_s, side="right")), len(ends) - 1)]
        one_scene = np.where(at_s[spans] <= scene_ends_s + 1e-6, _IN_ONE_SCENE, 0.0)
        total = means + worth[n] + worth[spans] + one_scene
        best = int(np.argmax(total))
        yield float(total[best]), edge.at_s, float(at_s[first + best])


def _segment(analysis: Analysis, found: Interest, start_s: float, end_s: float, duration_s: float) -> Segment:
    middle_s = (start_s + end_s) / 2
    shot = next((n for n, shot in enumerate(analysis.shots) if middle_s < shot.end_s), max(0, len(analysis.shots) - 1))
    return Segment(start_s, end_s, shot, 0.0, duration_s, found.mean(start_s, end_s), found.reasons(start_s, end_s))
