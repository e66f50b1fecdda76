"""Scenes: runs of shots that show the same place or belong together. Pure."""

from dataclasses import dataclass

from media_pipelines.ai.analysis import Analysis

# Two shots this alike belong together. Of unrelated photographs in the corpus of films the packaged embedder says at
# most 0.48, of two details of one photograph at least 0.55; histograms are alike sooner.
_SIMILARITY = {"packaged:efficientnet-lite0": 0.52, "classical:histogram": 0.9}
_SIMILARITY_OF_OTHERS = 0.7
_SHOTS_AHEAD = 6
_SECONDS_AHEAD = 45.0


@dataclass(frozen=True)
class Scene:
    """Shots `first` to `last`, both counted from 0 and included. `key_shot` is the one that stands for it."""

    first: int
    last: int
    start_s: float
    end_s: float
    key_shot: int

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def shots(self) -> range:
        return range(self.first, self.last + 1)


def usual_similarity(analysis: Analysis) -> float:
    """From where on the embedder that was at work means the same place."""
    embedder = analysis.engine("embedding")
    return _SIMILARITY.get(embedder.reference if embedder else "", _SIMILARITY_OF_OTHERS)


def looks(analysis: Analysis, similarity: float | None = None) -> list[int]:
    """For each shot the number of what it looks like, whenever that is: shots of one number resemble its first one."""
    least = usual_similarity(analysis) if similarity is None else similarity
    leaders: list[int] = []
    numbers: list[int] = []
    for shot in range(len(analysis.shots)):
        alike = analysis.embeddings[leaders] @ analysis.embeddings[shot] if leaders else ()
        best = max(range(len(leaders)), key=lambda n: float(alike[n]), default=None)
        if best is None or float(alike[best]) < least:
            leaders.append(shot)
            best = len(leaders) - 1
        numbers.append(best)
    return numbers


def scenes(analysis: Analysis, similarity: float | None = None, min_length_s: float = 0.0) -> tuple[Scene, ...]:
    """A shot is linked to the furthest one within reach that looks like it, and all between belong to the scene: so
    that a dialogue, which goes to and fro, is one. One that is too short joins the neighbour that it is more like.

    Source: overlapping links (Hanjalic, Lagendijk, Biemond 1999).
    """
    runs = _runs(analysis, usual_similarity(analysis) if similarity is None else similarity)
    while len(runs) > 1 and (short := _first_short(analysis, runs, min_length_s)) is not None:
        _join_neighbour(analysis, runs, short)
    return tuple(_scene(analysis, first, last) for first, last in runs)


def scene_of(found: tuple[Scene, ...], shot: int) -> int:
    """The number of a shot's scene."""
    return next(n for n, scene in enumerate(found) if scene.first <= shot <= scene.last)


def _runs(analysis: Analysis, similarity: float) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    first, reach = 0, 0
    for shot in range(len(analysis.shots)):
        if shot > reach:
            runs.append((first, shot - 1))
            first, reach = shot, shot
        reach = max(reach, _furthest_alike(analysis, shot, similarity))
    return [*runs, (first, len(analysis.shots) - 1)] if analysis.shots else []


def _furthest_alike(analysis: Analysis, shot: int, similarity: float) -> int:
    ends_s = analysis.shots[shot].end_s + _SECONDS_AHEAD
    ahead = range(shot + 1, min(shot + 1 + _SHOTS_AHEAD, len(analysis.shots)))
    within = [other for other in ahead if analysis.shots[other].start_s <= ends_s]
    alike = [other for other in within if _likeness(analysis, shot, other) >= similarity]
    return max(alike, default=shot)


def _likeness(analysis: Analysis, one: int, other: int) -> float:
    return float(analysis.embeddings[one] @ analysis.embeddings[other])


def _length_s(analysis: Analysis, run: tuple[int, int]) -> float:
    return analysis.shots[run[1]].end_s - analysis.shots[run[0]].start_s


def _first_short(analysis: Analysis, runs: list[tuple[int, int]], min_length_s: float) -> int | None:
    return next((n for n, run in enumerate(runs) if _length_s(analysis, run) < min_length_s), None)


def _join_neighbour(analysis: Analysis, runs: list[tuple[int, int]], short: int) -> None:
    """In place."""
    before = _likeness(analysis, runs[short - 1][1], runs[short][0]) if short else -1.0
    after = _likeness(analysis, runs[short][1], runs[short + 1][0]) if short + 1 < len(runs) else -1.0
    left = short - 1 if before >= after and short else short
    runs[left : left + 2] = [(runs[left][0], runs[left + 1][1])]


def _scene(analysis: Analysis, first: int, last: int) -> Scene:
    """The shot that stands for it is the one most like all of it; the longer one of equals."""
    import numpy as np

    shots = analysis.shots[first : last + 1]
    here = analysis.embeddings[first : last + 1]
    likeness = here @ here.sum(axis=0) if len(here) else np.zeros(len(shots))
    best = max(range(len(shots)), key=lambda n: (round(float(likeness[n]), 4), shots[n].end_s - shots[n].start_s))
    return Scene(first, last, shots[0].start_s, shots[-1].end_s, first + best)
