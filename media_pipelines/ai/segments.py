"""Stretches of a video that were chosen, and fitting them to a wanted length without cutting into speech. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from media_pipelines.ai.interest import Interest
from media_pipelines.ai.pauses import Pauses

# A piece that begins this near to its shot begins with it.
_NEAR_A_CUT_S = 0.4
# How far an edge moves to a pause.
_TO_A_PAUSE_S = 1.0
_CLOSE_ENOUGH = 0.01
_MUST_BE_WITHIN = 0.04
_ROUNDS = 12


@dataclass(frozen=True)
class Segment:
    """A stretch of one shot. `low_s` and `high_s` are how far it may be stretched; `reasons` say why it was chosen, the
    strongest first, each from 0 to 1."""

    start_s: float
    end_s: float
    shot: int
    low_s: float
    high_s: float
    score: float = 0.0
    reasons: Mapping[str, float] = field(default_factory=dict)

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def room_s(self) -> float:
        return self.high_s - self.low_s


def total_s(segments: Sequence[Segment], crossfade_s: float = 0.0) -> float:
    """How long they last when joined."""
    fades = max(0, len(segments) - 1) * crossfade_s
    return max(0.0, math.fsum(segment.length_s for segment in segments) - fades)


def fitted(
    segments: Sequence[Segment],
    target_s: float,
    found: Interest,
    pauses: Pauses,
    *,
    shortest_s: float,
    crossfade_s: float = 0.0,
) -> list[Segment]:
    """Stretched or shortened in proportion until they last `target_s` when joined, each around its best moment, their
    edges at the edges of shots or in pauses. Into speech is cut only where the length cannot be reached otherwise.

    Together they are shorter where there is no more to show.
    """
    if not segments:
        return []
    wanted_s = target_s + crossfade_s * (len(segments) - 1)
    placed = [
        _placed(segment, length_s, found, pauses)
        for segment, length_s in zip(segments, _shares(segments, wanted_s, shortest_s), strict=True)
    ]
    placed = _balanced(placed, wanted_s, pauses, shortest_s, into_speech=False)
    if abs(_sum_s(placed) - wanted_s) > _MUST_BE_WITHIN * wanted_s:
        placed = _balanced(placed, wanted_s, pauses, shortest_s, into_speech=True)
    return [replace(one, start_s=round(one.start_s, 3), end_s=round(one.end_s, 3)) for one in placed]


def _sum_s(segments: Sequence[Segment]) -> float:
    return math.fsum(segment.length_s for segment in segments)


def _shares(segments: Sequence[Segment], wanted_s: float, shortest_s: float) -> list[float]:
    """Lengths in proportion to the present ones, none shorter than allowed or longer than there is room."""
    most = [segment.room_s for segment in segments]
    least = [min(shortest_s, room_s) for room_s in most]
    weights = [max(segment.length_s, 0.01) for segment in segments]
    low, high = 0.0, max(room_s / weight for room_s, weight in zip(most, weights, strict=True)) + 1
    for _ in range(50):
        factor = (low + high) / 2
        lengths = [min(max(weight * factor, a), b) for weight, a, b in zip(weights, least, most, strict=True)]
        low, high = (factor, high) if math.fsum(lengths) < wanted_s else (low, factor)
    return lengths


def _placed(segment: Segment, length_s: float, found: Interest, pauses: Pauses) -> Segment:
    """Its best stretch of that length that begins in a pause; at the edge of the shot where it is near."""
    start_s = found.best_start_s(segment.low_s, segment.high_s, length_s)
    if start_s - segment.low_s < _NEAR_A_CUT_S:
        start_s = segment.low_s
    elif segment.high_s - (start_s + length_s) < _NEAR_A_CUT_S:
        start_s = max(segment.low_s, segment.high_s - length_s)
    free_s = pauses.nearest(start_s, segment.low_s, max(segment.low_s, segment.high_s - length_s))
    start_s = start_s if free_s is None else free_s
    return _moved(segment, start_s, start_s + length_s, pauses)


def _moved(segment: Segment, start_s: float, end_s: float, pauses: Pauses) -> Segment:
    """The edges go to pauses nearby; half of it stays between them."""
    middle_s, reach_s = (start_s + end_s) / 2, min(_TO_A_PAUSE_S, (end_s - start_s) / 4)
    start_s = pauses.snapped(start_s, max(segment.low_s, start_s - _TO_A_PAUSE_S), min(middle_s, start_s + reach_s))
    end_s = pauses.snapped(end_s, max(middle_s, end_s - reach_s), min(segment.high_s, end_s + _TO_A_PAUSE_S))
    return replace(segment, start_s=start_s, end_s=end_s)


def _balanced(
    segments: list[Segment], wanted_s: float, pauses: Pauses, shortest_s: float, *, into_speech: bool
) -> list[Segment]:
    """What snapping added or took away is taken from, or given to, the others."""
    found = list(segments)
    for _ in range(_ROUNDS):
        missing_s = wanted_s - _sum_s(found)
        if abs(missing_s) <= _CLOSE_ENOUGH * wanted_s:
            break
        before_s = _sum_s(found)
        for n in sorted(range(len(found)), key=lambda n: -_slack_s(found[n], missing_s, shortest_s)):
            missing_s = wanted_s - _sum_s(found)
            if abs(missing_s) <= _CLOSE_ENOUGH * wanted_s:
                break
            found[n] = _stretched(found[n], missing_s, pauses, shortest_s, into_speech=into_speech)
        if abs(_sum_s(found) - before_s) < 1e-3:
            break
    return found


def _slack_s(segment: Segment, missing_s: float, shortest_s: float) -> float:
    return segment.room_s - segment.length_s if missing_s > 0 else segment.length_s - shortest_s


def _stretched(segment: Segment, by_s: float, pauses: Pauses, shortest_s: float, *, into_speech: bool) -> Segment:
    """As much longer or shorter as it can be, first at its end, then at its start; never further away from what is
    wanted than it was."""
    least_s = min(shortest_s, segment.room_s)
    end_s = min(max(segment.end_s + by_s, segment.start_s + least_s), segment.high_s)
    end_s = _towards(segment.end_s, end_s, pauses, into_speech=into_speech)
    by_s -= end_s - segment.end_s
    start_s = max(min(segment.start_s - by_s, end_s - least_s), segment.low_s)
    start_s = _towards(segment.start_s, start_s, pauses, into_speech=into_speech)
    return replace(segment, start_s=start_s, end_s=end_s)


def _towards(now_s: float, wanted_s: float, pauses: Pauses, *, into_speech: bool) -> float:
    if into_speech:
        return wanted_s
    free = pauses.nearest(wanted_s, min(now_s, wanted_s), max(now_s, wanted_s))
    return now_s if free is None else free
