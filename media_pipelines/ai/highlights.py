"""The moments of a video that stand out, ranked, with their reasons; and a reel of them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from media_pipelines.ai.analysis import Analysis, Shot
from media_pipelines.ai.interest import Interest
from media_pipelines.ai.pauses import pauses
from media_pipelines.ai.segments import Segment, fitted, total_s

# Where a moment falls below this share of its peak, it is over.
_OVER_BELOW = 0.5
_PHASH_BITS = 8
_ONE_MOMENT_S = 1.0


def moments(analysis: Analysis, found: Interest, *, min_s: float = 2.0, max_s: float = 8.0) -> list[Segment]:
    """Of every shot its best stretch, and of a long one several that do not overlap: best first. A shot that is shorter
    than `min_s` is taken whole."""
    ranked = [moment for n, shot in enumerate(analysis.shots) for moment in _of_shot(n, shot, found, min_s, max_s)]
    return sorted(ranked, key=lambda moment: (-moment.score, moment.start_s))


def reel(
    analysis: Analysis,
    found: Interest,
    ranked: Sequence[Segment],
    target_s: float,
    *,
    min_s: float = 2.0,
    crossfade_s: float = 0.0,
) -> list[Segment]:
    """The best moments in the order of the video, as many as fill the target, stretched where they leave a rest; of the
    same picture only the best."""
    chosen: list[Segment] = []
    for moment in ranked:
        if total_s(chosen, crossfade_s) >= target_s:
            break
        if not any(alike(analysis, moment, other) for other in chosen):
            chosen.append(moment)
    if total_s(chosen, crossfade_s) > target_s:
        chosen = _last_one_shortened(chosen, target_s, crossfade_s, min_s)
    ordered = _kept_apart(sorted(chosen, key=lambda moment: moment.start_s))
    return fitted(
        ordered, target_s, found, pauses(analysis), shortest_s=min(min_s, target_s), crossfade_s=crossfade_s
    )  # fmt: skip


def alike(analysis: Analysis, one: Segment, other: Segment) -> bool:
    """Whether two stretches of different shots show the same picture, and not one moment across a cut."""
    apart_s = max(one.start_s, other.start_s) - min(one.end_s, other.end_s)
    if one.shot == other.shot or apart_s < _ONE_MOMENT_S:
        return False
    return (int(analysis.phashes[one.shot]) ^ int(analysis.phashes[other.shot])).bit_count() <= _PHASH_BITS


def _kept_apart(ordered: Sequence[Segment]) -> list[Segment]:
    """Of two moments of one shot none is stretched beyond the middle between them."""
    found = list(ordered)
    for n, (one, other) in enumerate(pairwise(ordered)):
        if one.shot == other.shot:
            middle_s = (one.end_s + other.start_s) / 2
            found[n] = replace(found[n], high_s=middle_s)
            found[n + 1] = replace(found[n + 1], low_s=middle_s)
    return found


def _last_one_shortened(chosen: list[Segment], target_s: float, crossfade_s: float, min_s: float) -> list[Segment]:
    """The last one is the least; it fills what the others leave, or goes where that is too little to be seen."""
    last, others = chosen[-1], chosen[:-1]
    left_s = target_s - total_s(others, crossfade_s) + (crossfade_s if others else 0)
    if others and left_s < min(min_s, last.length_s):
        return others
    middle_s = (last.start_s + last.end_s) / 2
    return [*others, replace(last, start_s=middle_s - left_s / 2, end_s=middle_s + left_s / 2)]


def _of_shot(number: int, shot: Shot, found: Interest, min_s: float, max_s: float) -> Iterator[Segment]:
    waiting = [(shot.start_s, shot.end_s)]
    while waiting:
        start_s, end_s = waiting.pop()
        is_rest = (start_s, end_s) != (shot.start_s, shot.end_s)
        if is_rest and end_s - start_s < min_s:
            continue
        moment = _best(number, shot, start_s, end_s, found, min_s, max_s)
        yield moment
        waiting += [(start_s, moment.start_s), (moment.end_s, end_s)]


def _best(
    number: int, shot: Shot, start_s: float, end_s: float, found: Interest, min_s: float, max_s: float
) -> Segment:
    length_s = min(max_s, end_s - start_s)
    first_s = found.best_start_s(start_s, end_s, length_s)
    first_s, last_s = _trimmed(found, first_s, first_s + length_s, min_s)
    if end_s - start_s <= max_s and last_s - first_s > 0.7 * (end_s - start_s):
        first_s, last_s = start_s, end_s
    score = found.mean(first_s, last_s)
    return Segment(first_s, last_s, number, shot.start_s, shot.end_s, score, found.reasons(first_s, last_s))


def _trimmed(found: Interest, start_s: float, end_s: float, min_s: float) -> tuple[float, float]:
    """Without what comes before and after the moment itself."""
    import numpy as np

    here = found.slice_of(start_s, end_s)
    curve = found.total[here]
    if end_s - start_s <= min_s or not len(curve) or curve.max() <= 0:
        return start_s, end_s
    above = np.flatnonzero(curve >= _OVER_BELOW * curve.max())
    first_s = start_s + float(above[0]) * found.step_s
    last_s = min(end_s, start_s + float(above[-1] + 1) * found.step_s)
    missing_s = min_s - (last_s - first_s)
    if missing_s > 0:
        first_s = min(max(start_s, first_s - missing_s / 2), end_s - min_s)
        last_s = first_s + min_s
    return first_s, last_s
