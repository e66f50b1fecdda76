"""Where a video can be cut without cutting into what somebody says. Pure."""

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import Analysis

if TYPE_CHECKING:
    from media_pipelines.ai.analysis import Floats

# A word's edges are known no better than that, and a cut right at its end is heard.
_MARGIN_S = 0.05
# A gap between two words that is shorter is no pause.
_SHORTEST_GAP_S = 0.12
_ROUNDED_S = 0.001


@dataclass(frozen=True, eq=False)
class Pauses:
    """`spoken` are disjoint stretches, in order, in which no cut should be. `loudness_db` tells where in them one would
    be heard least."""

    spoken: tuple[tuple[float, float], ...]
    loudness_db: "Floats"
    step_s: float

    def is_free(self, at_s: float) -> bool:
        return self._around(at_s) is None

    def nearest(self, at_s: float, low_s: float, high_s: float) -> float | None:
        """The free moment between two times that is nearest to a wanted one; None where somebody speaks all along."""
        spoken = self._around(at_s)
        if spoken is None and low_s <= at_s <= high_s:
            return at_s
        edges = (spoken[0], spoken[1]) if spoken else (low_s, high_s)
        found = [edge for edge in edges if low_s <= edge <= high_s and self.is_free(edge)]
        return min(found, key=lambda edge: abs(edge - at_s)) if found else None

    def quietest(self, at_s: float, low_s: float, high_s: float) -> float:
        """Between two times, where a cut into speech does least harm: the quietest step, the nearest of equals."""
        first, last = round(low_s / self.step_s), round(high_s / self.step_s)
        steps = range(max(0, first), min(len(self.loudness_db), last + 1))
        if not steps:
            return at_s
        best = min(steps, key=lambda step: (float(self.loudness_db[step]), abs(step * self.step_s - at_s)))
        return min(max(low_s, best * self.step_s), high_s)

    def snapped(self, at_s: float, low_s: float, high_s: float) -> float:
        """A pause if there is one between two times, else where it is heard least."""
        free = self.nearest(at_s, low_s, high_s)
        return self.quietest(at_s, low_s, high_s) if free is None else free

    def _around(self, at_s: float) -> tuple[float, float] | None:
        """What is being said at a time. Its own edges are free."""
        n = bisect.bisect_left(self.spoken, (at_s, -1.0)) - 1
        if n >= 0 and self.spoken[n][0] + _ROUNDED_S < at_s < self.spoken[n][1] - _ROUNDED_S:
            return self.spoken[n]
        return None


def pauses(analysis: Analysis) -> Pauses:
    """From the words where there is a transcript, else from the stretches in which somebody speaks."""
    said: Sequence[tuple[float, float]] = [(word.start_s, word.end_s) for word in analysis.words]
    gap_s = _SHORTEST_GAP_S
    if not said:
        said, gap_s = [(span.start_s, span.end_s) for span in analysis.speech], 0.0
    return Pauses(tuple(merged(said, gap_s)), analysis.loudness_db, analysis.step_s)


def merged(stretches: Iterable[tuple[float, float]], gap_s: float = 0.0) -> list[tuple[float, float]]:
    """In order and disjoint; those that are nearer than `gap_s` are one."""
    found: list[tuple[float, float]] = []
    for start_s, end_s in sorted((start_s - _MARGIN_S, end_s + _MARGIN_S) for start_s, end_s in stretches):
        if found and start_s <= found[-1][1] + gap_s:
            found[-1] = (found[-1][0], max(end_s, found[-1][1]))
        else:
            found.append((start_s, end_s))
    return found
