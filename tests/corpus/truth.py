"""What is known about a file of the corpus before anybody has looked at it."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tests.corpus.studio import Studio


@dataclass(frozen=True)
class Sound:
    """A video that must pass. `shown` is the picture as a player orients it, before the pixel aspect `sar`;
    `seconds` the longer of picture and sound; `audio` and `subtitles` count what an MP4 can keep."""

    shown: tuple[int, int] = (64, 48)
    seconds: float = 1.0
    audio: int = 0
    subtitles: int = 0
    sar: Fraction = Fraction(1)


@dataclass(frozen=True)
class Broken:
    """Fails for good; the error holds this word. `viewable`: it begins well, so that a picture of it can be had, and
    what is made of it may be refused for being too short."""

    word: str
    viewable: bool = False


@dataclass(frozen=True)
class Skipped:
    """A scan says so in its log, in these words, and makes no row."""

    word: str


@dataclass(frozen=True)
class Unseen:
    """Not taken for a video by its name: a scan passes over it in silence."""


@dataclass(frozen=True)
class Damaged:
    """Nobody can say: a player may show it or refuse it. Whatever happens happens in good order."""


Truth = Sound | Broken | Skipped | Unseen | Damaged


@dataclass(frozen=True)
class Entry:
    name: str
    kind: str
    make: Callable[[Studio, Path], None]
    truth: Truth
