"""The pieces that a compilation is cut into, with its title cards and cross-fades. Pure."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from media_pipelines.media.commands.pieces import Framing, Part, Shape
from media_pipelines.media.probe import Probe


@dataclass(frozen=True)
class Item:
    """One source of a compilation, or from `start_s` on `length_s` seconds of it. `card` is a picture shown before it
    for `card_s` seconds, `title` the name of its chapter, `levelling` filters for its sound, `framing` what of its
    picture is seen."""

    source: Probe
    title: str | None = None
    card: Path | None = None
    card_s: float = 0.0
    levelling: str = ""
    start_s: float = 0.0
    length_s: float | None = None
    framing: Framing | None = None

    @property
    def is_whole(self) -> bool:
        return not self.start_s and self.length_s is None and self.framing is None

    @property
    def duration_s(self) -> float | None:
        """None where the source does not say how long it is."""
        if self.length_s is not None:
            return self.length_s
        return None if self.source.duration_s is None else self.source.duration_s - self.start_s


@dataclass(frozen=True)
class Cut:
    """One piece of a compilation: a part, or two of which the first fades into the second. `item` is what is seen at
    its end; `opens`: whether that item begins here; `whole`: whether it is all of a source."""

    parts: tuple[Part, ...]
    item: int
    opens: bool
    whole: bool

    @property
    def length_s(self) -> float | None:
        return self.parts[0].length_s


def cut_up(items: Sequence[Item], common: Shape, crossfade_s: float = 0.0) -> list[Cut]:
    """The pieces in their order. Every length is a whole number of frames, so that picture and sound of each piece
    end together.

    A cross-fade takes at most half of what stands on each side of it; one of less than two frames becomes a cut.
    """
    shots = [shot for n, item in enumerate(items) for shot in _shots(n, item, common)]
    fades = [_fade_frames(one, other, common, crossfade_s) for (_, one, _), (_, other, _) in itertools.pairwise(shots)]
    found: list[Cut] = []
    for k, (n, part, opens) in enumerate(shots):
        before = fades[k - 1] if k else 0
        after = fades[k] if k < len(fades) else 0
        if before:
            tail = _stretch(shots[k - 1][1], common, from_end=before)
            found.append(Cut((tail, _stretch(part, common, to=before)), n, opens, whole=False))
        if not before and not after:
            found.append(Cut((part,), n, opens, whole=isinstance(part.source, Probe) and items[n].is_whole))
        elif _frames(part, common) > before + after:
            body = _stretch(part, common, since=before, to=_frames(part, common) - after)
            found.append(Cut((body,), n, opens and not before, whole=False))
    return found


def _shots(n: int, item: Item, common: Shape) -> list[tuple[int, Part, bool]]:
    """An item's title card, if it has one, and its source."""
    card = [(n, Part(item.card, length_s=_whole_frames(item.card_s, common)), True)] if item.card else []
    length_s = _whole_frames(item.duration_s, common) if item.duration_s else None
    part = Part(item.source, item.start_s, length_s, item.levelling, item.framing)
    return [*card, (n, part, not card)]


def _whole_frames(seconds: float, common: Shape) -> float:
    return max(1, round(seconds * common.fps)) / float(common.fps)


def _frames(part: Part, common: Shape) -> int:
    return round((part.length_s or 0) * common.fps)


def _fade_frames(one: Part, other: Part, common: Shape, crossfade_s: float) -> int:
    frames = min(round(crossfade_s * common.fps), _frames(one, common) // 2, _frames(other, common) // 2)
    return frames if frames >= 2 else 0


def _stretch(part: Part, common: Shape, *, since: int = 0, to: int = 0, from_end: int = 0) -> Part:
    """From one frame to another, or the last ones."""
    if from_end:
        since, to = _frames(part, common) - from_end, _frames(part, common)
    fps = float(common.fps)
    return replace(part, start_s=part.start_s + since / fps, length_s=(to - since) / fps)
