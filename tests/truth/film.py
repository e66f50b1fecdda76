"""Films whose every cut, face, word and bang is known before anybody has looked at them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Transition = Literal["start", "cut", "dissolve", "fade"]
Camera = Literal["still", "move", "shake"]
FPS = 25


@dataclass(frozen=True)
class Take:
    """One shot. It lasts from the middle of the transition before it to the middle of the next one. `scene` is the
    same for takes of one photo that follow each other; `window` is the share of the photo that is seen, at the start
    and at the end, as (left, top, width)."""

    start_s: float
    end_s: float
    photo: str
    scene: int
    transition_in: Transition = "cut"
    transition_s: float = 0.0
    camera: Camera = "move"
    window: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.0, 0.0, 1.0), (0.1, 0.1, 0.8))
    mirrored: bool = False
    text: str = ""

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Stretch:
    """From one time to another; `what` is said, or played, or happens there."""

    start_s: float
    end_s: float
    what: str = ""


@dataclass(frozen=True)
class Film:
    """What is planted in one film. `planted` are its highlights, where the picture shakes and the sound is loud;
    `loud` without `planted` tells nothing."""

    name: str
    seed: int
    takes: tuple[Take, ...]
    speech: tuple[Stretch, ...] = ()
    words: tuple[Stretch, ...] = ()
    music: tuple[Stretch, ...] = ()
    planted: tuple[Stretch, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.takes[-1].end_s

    @property
    def cuts_s(self) -> list[float]:
        return [take.start_s for take in self.takes if take.transition_in == "cut"]

    @property
    def scenes(self) -> list[Stretch]:
        """What lies between one photo and the next."""
        numbers = dict.fromkeys(take.scene for take in self.takes)
        return [_spanned([take for take in self.takes if take.scene == scene]) for scene in numbers]

    @property
    def is_static(self) -> bool:
        return len(self.takes) == 1


@dataclass(frozen=True)
class Rendered:
    """A film on disk."""

    film: Film
    path: Path


def _spanned(takes: Sequence[Take]) -> Stretch:
    return Stretch(takes[0].start_s, takes[-1].end_s, takes[0].photo)
