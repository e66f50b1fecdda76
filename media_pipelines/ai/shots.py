"""From what a detector says of each frame to shots: where they begin, and by what kind of change. Pure."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import Shot, Transition

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from media_pipelines.ai.analysis import Floats

    Times = npt.NDArray[np.float64]

_SURE = 0.5
# A change of fewer looks than this is a cut; a longer one too where one step makes most of the difference.
_GRADUAL_LOOKS, _GRADUAL_S = 3, 0.2
_ONE_STEP = 0.5
_DARK = 16 / 255
_DARK_BETWEEN_S = 3.0
_AROUND_S = 0.25
# How far beyond what the detector sees a fade may reach; as dark as the darkest, as bright as the brightest.
_FADE_S, _AS_DARK, _AS_BRIGHT = 1.0, 0.01, 0.95
# Networks see edges where a film begins and ends, in the first and the last two looks.
_EDGE_LOOKS = 2
_SHORTEST_SHOT_S = 0.15


@dataclass(frozen=True)
class Frames:
    """Of each frame: when, its mean absolute difference from the one before, its brightness (0 to 1). Of every
    `stride`th frame: whether the shot changes there, and whether it is part of a change."""

    at_s: "Times"
    difference: "Floats"
    brightness: "Floats"
    change: "Floats"
    part: "Floats"
    stride: int


@dataclass(frozen=True)
class Change:
    """From the last frame of one shot to the first of the next."""

    from_s: float
    to_s: float
    kind: Transition
    sureness: float
    darkest_s: float = 0.0

    @property
    def middle_s(self) -> float:
        if self.kind == "fade":
            return self.darkest_s
        return self.to_s if self.kind == "cut" else (self.from_s + self.to_s) / 2

    @property
    def length_s(self) -> float:
        return 0.0 if self.kind == "cut" else self.to_s - self.from_s


def shots(frames: Frames, end_s: float) -> tuple[Shot, ...]:
    """In order, from the first frame to the end, each where the one before ends. `key_s` is the middle."""
    changes = _changes(frames)
    starts = [(float(frames.at_s[0]), "start", 0.0)] if len(frames.at_s) else []
    marks: list[tuple[float, Transition, float]] = [*starts]  # type: ignore[list-item]
    marks += [(change.middle_s, change.kind, change.length_s) for change in changes]
    ends = [start_s for start_s, _, _ in marks[1:]] + [end_s]
    return tuple(
        Shot(round(start_s, 4), round(stop_s, 4), kind, round((start_s + stop_s) / 2, 4), round(length_s, 4))
        for (start_s, kind, length_s), stop_s in zip(marks, ends, strict=True)
    )


def _changes(frames: Frames) -> list[Change]:
    found: list[Change] = []
    last, edge = len(frames.at_s) - 1, _EDGE_LOOKS * frames.stride + 1
    for first_look, last_look in _runs(frames.change > _SURE):
        change = _change(frames, first_look, last_look)
        at = int((frames.at_s < change.to_s).sum())
        if edge <= at <= last - edge + 1:
            found.append(change)
    return _widened(frames, _without_echoes(_through_black(frames, found)))


def _change(frames: Frames, first_look: int, last_look: int) -> Change:
    import numpy as np

    part = frames.part > _SURE
    start, end = first_look, last_look
    while start > 0 and part[start - 1]:
        start -= 1
    while end < len(part) - 1 and part[end + 1]:
        end += 1
    last = len(frames.at_s) - 1
    low, high = max(1, (first_look - 1) * frames.stride + 1), min(last, (last_look + 1) * frames.stride)
    sharpest = low + int(np.argmax(frames.difference[low : high + 1]))
    sureness = float(frames.change[first_look : last_look + 1].max())
    from_frame, to_frame = max(0, start * frames.stride), min(last, end * frames.stride + 1)
    from_s, to_s = float(frames.at_s[from_frame]), float(frames.at_s[to_frame])
    if _is_dark(frames, from_s - _AROUND_S, to_s + _AROUND_S):
        return Change(from_s, to_s, "fade", sureness, (from_s + to_s) / 2)
    extent = frames.difference[max(1, from_frame) : to_frame + 1]
    one_step = float(frames.difference[sharpest]) > _ONE_STEP * float(extent.sum())
    if end - start < _GRADUAL_LOOKS or to_s - from_s < _GRADUAL_S or one_step:
        return Change(float(frames.at_s[sharpest - 1]), float(frames.at_s[sharpest]), "cut", sureness)
    return Change(from_s, to_s, "dissolve", sureness)


def _widened(frames: Frames, changes: list[Change]) -> list[Change]:
    """Fades as long as they are, as far as their neighbours leave room."""
    wide = [_fade(frames, one) if one.kind == "fade" else one for one in changes]
    ends_s = [float("-inf"), *(one.to_s for one in changes)]
    starts_s = [*(one.from_s for one in changes[1:]), float("inf")]
    return [
        replace(one, from_s=max(one.from_s, before_s), to_s=min(one.to_s, after_s))
        for one, before_s, after_s in zip(wide, ends_s, starts_s, strict=False)
    ]


def _fade(frames: Frames, change: Change) -> Change:
    """It begins where the picture is last as bright as before, and ends where it is first as bright as after."""
    import numpy as np

    from_s, to_s = change.from_s, change.to_s
    near = np.flatnonzero((frames.at_s >= from_s - _FADE_S) & (frames.at_s <= to_s + _FADE_S))
    at_s, bright = frames.at_s[near], frames.brightness[near]
    core = (at_s >= from_s - _AROUND_S) & (at_s <= to_s + _AROUND_S)
    dark = np.flatnonzero(core & (bright <= bright[core].min() + _AS_DARK))
    first, last = int(dark[0]), int(dark[-1])
    before = np.flatnonzero(bright[:first] >= _AS_BRIGHT * bright[: first + 1].max())
    after = np.flatnonzero(bright[last:] >= _AS_BRIGHT * bright[last:].max())
    begins_s = float(at_s[before[-1]]) if len(before) else float(at_s[0])
    ends_s = float(at_s[last + after[0]]) if len(after) else float(at_s[-1])
    darkest_s = float(at_s[first] + at_s[last]) / 2
    return Change(min(begins_s, darkest_s), max(ends_s, darkest_s), "fade", change.sureness, darkest_s)


def _through_black(frames: Frames, changes: list[Change]) -> list[Change]:
    """Out into black and in from it again is one change."""
    joined: list[Change] = []
    for change in changes:
        before = joined[-1] if joined else None
        if (
            before is not None
            and change.from_s - before.to_s <= _DARK_BETWEEN_S
            and "fade" in (before.kind, change.kind)
            and _stays_dark(frames, before.middle_s, change.middle_s)
        ):
            sureness = max(before.sureness, change.sureness)
            middle_s = (before.from_s + change.to_s) / 2
            joined[-1] = Change(before.from_s, change.to_s, "fade", sureness, middle_s)
        else:
            joined.append(change)
    return joined


def _without_echoes(changes: list[Change]) -> list[Change]:
    """Of two that no shot fits between, the surer."""
    kept: list[Change] = []
    for change in changes:
        if kept and change.from_s - kept[-1].to_s < _SHORTEST_SHOT_S:
            first = kept[-1]
            surer = max(first, change, key=lambda one: one.sureness)
            gradual: Transition = next((one.kind for one in (first, change) if one.kind != "cut"), "cut")
            both = replace(surer, from_s=first.from_s, to_s=change.to_s, kind=gradual)
            kept[-1] = surer if gradual == "cut" else both
        else:
            kept.append(change)
    return kept


def _is_dark(frames: Frames, from_s: float, to_s: float) -> bool:
    """At some moment, and not all the time before and after."""
    inside = frames.brightness[(frames.at_s >= from_s) & (frames.at_s <= to_s)]
    around = frames.brightness[(frames.at_s >= from_s - 1) & (frames.at_s <= to_s + 1)]
    return bool(len(inside) and inside.min() < _DARK and around.max() > 2 * _DARK)


def _stays_dark(frames: Frames, from_s: float, to_s: float) -> bool:
    inside = frames.brightness[(frames.at_s >= from_s) & (frames.at_s <= to_s)]
    return not len(inside) or bool((inside < 2 * _DARK).mean() > 0.5)


def _runs(held: "npt.NDArray[np.bool_]") -> list[tuple[int, int]]:
    """First and last of each run of true values."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate(([0], held.astype(np.int8), [0]))))
    return [(int(start), int(end) - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]
