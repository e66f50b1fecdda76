"""A digest: a few pieces that stand for a whole video, in its order, none shown twice. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import Analysis
from media_pipelines.ai.highlights import moments
from media_pipelines.ai.interest import Interest
from media_pipelines.ai.pauses import pauses
from media_pipelines.ai.scenes import Scene, looks
from media_pipelines.ai.segments import Segment, fitted, total_s

if TYPE_CHECKING:
    from media_pipelines.ai.analysis import Floats

# A piece shorter than that tells nothing; one of the second length is what a viewer is used to.
SHORTEST_S = 1.25
_USUAL_S = 4.0
# A shot that is longer stands for several pieces.
_LONGEST_BEAT_S = 12.0
_SHORTEST_SHOT_S = 0.8
_PHASH_BITS = 8
_SAME_PICTURE = 0.985
_OF_THE_SAME_SHOT = 0.95
_HIGHLIGHTS_SHARE = 0.35
_HIGHLIGHTS_WEIGHT = 0.5
_NEW = 1.0
_MOST_BEATS = 3_000


@dataclass(frozen=True)
class Beat:
    """A part of a shot that may come into the digest. `look` is the same for what looks alike in any scene."""

    shot: int
    scene: int
    look: int
    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Digest:
    """`segments` in the order of the video; `scenes_covered` of `scenes` are seen in them; `duplicates` is how many
    parts of the video were left out because they show again what is shown."""

    segments: tuple[Segment, ...]
    scenes: int
    scenes_covered: int
    duplicates: int

    def length_s(self, crossfade_s: float = 0.0) -> float:
        return total_s(self.segments, crossfade_s)


def digest(
    analysis: Analysis,
    found: Interest,
    scenes: Sequence[Scene],
    target_s: float,
    *,
    include_highlights: bool = True,
    crossfade_s: float = 0.0,
) -> Digest:
    """As much of the video as possible in `target_s`: each piece is the one that makes the most of what is not shown
    yet resemble something that is (facility location, greedily), a scene that is not seen yet before others. With
    `include_highlights` a third of the pieces are the best moments.

    Source: Lin and Bilmes, "A class of submodular functions for document summarization", 2011.
    """
    beats = _beats(analysis, scenes)
    distinct, dropped = _distinct(analysis, beats, found)
    different = max(len({beat.scene for beat in distinct}), len({beat.look for beat in distinct}))
    wanted = _pieces(different, len(distinct), target_s)
    chosen = sorted(_chosen(analysis, distinct, found, wanted, include_highlights=include_highlights))
    while len(chosen) < len(distinct) and _room_s(distinct, chosen, crossfade_s) < target_s:
        chosen = sorted([*chosen, next(n for n in _by_length(distinct) if n not in chosen)])
    pieces = [_segment(distinct[n], found) for n in chosen]
    shortest_s = min(SHORTEST_S, target_s / max(1, len(pieces)))
    cut = fitted(pieces, target_s, found, pauses(analysis), shortest_s=shortest_s, crossfade_s=crossfade_s)
    return Digest(tuple(cut), len(scenes), len({distinct[n].scene for n in chosen}), dropped)


def _beats(analysis: Analysis, scenes: Sequence[Scene]) -> list[Beat]:
    numbers = looks(analysis)
    found = [
        beat
        for n, scene in enumerate(scenes)
        for shot in scene.shots
        for beat in _of_shot(analysis, shot, n, numbers[shot])
    ]
    if len(found) > _MOST_BEATS:
        found = sorted(sorted(found, key=lambda beat: -beat.length_s)[:_MOST_BEATS], key=lambda beat: beat.start_s)
    return found


def _of_shot(analysis: Analysis, number: int, scene: int, look: int) -> Iterator[Beat]:
    shot = analysis.shots[number]
    length_s = shot.end_s - shot.start_s
    if length_s < _SHORTEST_SHOT_S and len(analysis.shots) > 1:
        return
    parts = max(1, math.ceil(length_s / _LONGEST_BEAT_S))
    for n in range(parts):
        yield Beat(number, scene, look, shot.start_s + n * length_s / parts, shot.start_s + (n + 1) * length_s / parts)


def is_duplicate(analysis: Analysis, one: int, other: int) -> bool:
    """Whether two shots show the same picture."""
    if one == other:
        return False
    apart = (int(analysis.phashes[one]) ^ int(analysis.phashes[other])).bit_count()
    if apart <= _PHASH_BITS:
        return True
    alike = float(analysis.embeddings[one] @ analysis.embeddings[other])
    return alike >= _SAME_PICTURE and apart <= 2 * _PHASH_BITS


def _distinct(analysis: Analysis, beats: Sequence[Beat], found: Interest) -> tuple[list[Beat], int]:
    """Of several shots of the same picture the most interesting one. Returns also how many beats went."""
    import numpy as np

    order = sorted({beat.shot for beat in beats}, key=lambda shot: -_shot_interest(analysis, found, shot))
    kept: list[int] = []
    for shot in order:
        hashes = analysis.phashes[kept] ^ analysis.phashes[shot]
        apart = np.bitwise_count(hashes)
        near = np.flatnonzero(apart <= 2 * _PHASH_BITS)
        if not any(is_duplicate(analysis, shot, kept[n]) for n in near):
            kept.append(shot)
    distinct = [beat for beat in beats if beat.shot in set(kept)]
    return distinct, len(beats) - len(distinct)


def _shot_interest(analysis: Analysis, found: Interest, shot: int) -> float:
    return round(found.mean(analysis.shots[shot].start_s, analysis.shots[shot].end_s), 3)


def _pieces(different: int, distinct: int, target_s: float) -> int:
    """As many as are usual for the length, more where that shows everything that is different."""
    most = max(1, math.floor(target_s / SHORTEST_S))
    return min(distinct, max(min(different, most), max(1, round(target_s / _USUAL_S))))


def _room_s(beats: Sequence[Beat], chosen: Sequence[int], crossfade_s: float) -> float:
    return math.fsum(beats[n].length_s for n in chosen) - crossfade_s * max(0, len(chosen) - 1)


def _by_length(beats: Sequence[Beat]) -> list[int]:
    return sorted(range(len(beats)), key=lambda n: -beats[n].length_s)


def _chosen(
    analysis: Analysis, beats: Sequence[Beat], found: Interest, wanted: int, *, include_highlights: bool
) -> list[int]:
    import numpy as np

    if not beats:
        return []
    alike = _likeness(analysis, beats)
    weights = np.array([beat.length_s for beat in beats], dtype=np.float32)
    weights /= weights.sum()
    bonus = np.array([found.mean(beat.start_s, beat.end_s) for beat in beats]) * _HIGHLIGHTS_WEIGHT
    chosen = _best_moments(analysis, beats, found, round(wanted * _HIGHLIGHTS_SHARE)) if include_highlights else []
    covered = alike[chosen].max(axis=0) if chosen else np.zeros(len(beats), dtype=np.float32)
    while len(chosen) < wanted:
        gains = np.maximum(alike - covered, 0) @ weights
        gains += _new(beats, chosen)
        gains += bonus / len(beats) if include_highlights else 0.0
        gains[chosen] = -1
        best = int(np.argmax(gains))
        chosen.append(best)
        covered = np.maximum(covered, alike[best])
    return chosen


def _new(beats: Sequence[Beat], chosen: Sequence[int]) -> "Floats":
    """A scene and a look that are not seen yet come before all else."""
    import numpy as np

    seen_scenes, seen_looks = {beats[n].scene for n in chosen}, {beats[n].look for n in chosen}
    new = [(beat.scene not in seen_scenes) + (beat.look not in seen_looks) for beat in beats]
    return np.array(new, dtype=np.float32) * _NEW


def _best_moments(analysis: Analysis, beats: Sequence[Beat], found: Interest, count: int) -> list[int]:
    """The beats in which the best moments are, one of what looks alike."""
    chosen: list[int] = []
    seen: set[int] = set()
    for moment in moments(analysis, found):
        middle_s = (moment.start_s + moment.end_s) / 2
        beat = next((n for n, beat in enumerate(beats) if beat.start_s <= middle_s < beat.end_s), None)
        if len(chosen) >= count:
            break
        if beat is not None and beats[beat].look not in seen and moment.score > 0:
            chosen.append(beat)
            seen.add(beats[beat].look)
    return chosen


def _likeness(analysis: Analysis, beats: Sequence[Beat]) -> "Floats":
    """0 to 1; parts of one shot resemble each other, but do not show the same."""
    import numpy as np

    shots = np.array([beat.shot for beat in beats])
    vectors = analysis.embeddings[shots]
    alike: Floats = np.clip(vectors @ vectors.T, 0, 1).astype(np.float32)
    same = shots[:, None] == shots[None, :]
    alike[same] = np.minimum(alike[same], _OF_THE_SAME_SHOT)
    np.fill_diagonal(alike, 1.0)
    return alike


def _segment(beat: Beat, found: Interest) -> Segment:
    length_s = min(beat.length_s, _USUAL_S)
    start_s = found.best_start_s(beat.start_s, beat.end_s, length_s)
    score, reasons = found.mean(start_s, start_s + length_s), found.reasons(start_s, start_s + length_s)
    return Segment(start_s, start_s + length_s, beat.shot, beat.start_s, beat.end_s, score, reasons)
