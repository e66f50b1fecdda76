"""What an engine must do for each role. `engine` says what it is; after work, also the VRAM that it took."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from media_pipelines.ai.analysis import Engine, Word

if TYPE_CHECKING:
    from media_pipelines.ai.analysis import Floats
    from media_pipelines.ai.decoding import Picture, Samples

# x, y, width, height from 0 to 1, and a score.
Box = tuple[float, float, float, float, float]


class Working(Protocol):
    @property
    def engine(self) -> Engine: ...


class ShotDetector(Working, Protocol):
    """`look_hz`: how many frames a second it wants to see at most. `context`: how many frames before and after a frame
    it needs to judge it."""

    look_hz: float
    context: int

    def probabilities(self, frames: "Picture", fps: float) -> tuple["Floats", "Floats"]:
        """Of (n, 27, 48, 3) RGB frames, `fps` of them a second: for each but `context` at either end, whether the shot
        changes at it, and whether it is part of a change, which may take several frames."""
        ...


class ImageTagger(Working, Protocol):
    def tag(self, pictures: Sequence["Picture"]) -> list[list[tuple[str, float]]]:
        """The names that fit each picture with their scores, best first."""
        ...


class ImageEmbedder(Working, Protocol):
    def embed(self, pictures: Sequence["Picture"]) -> "Floats":
        """(n, d), each row of length 1."""
        ...


class FaceDetector(Working, Protocol):
    """`long_side`: how large a picture it wants."""

    long_side: int

    def find(self, picture: "Picture") -> list[Box]: ...


class AudioEventDetector(Working, Protocol):
    """`context_s`: how much sound before and after it needs."""

    context_s: float

    def probabilities(self, mono: "Samples") -> "Floats":
        """Of sound at 16 kHz, for each whole 100 ms: speech, music; (n, 2)."""
        ...


class Transcriber(Working, Protocol):
    def transcribe(self, mono: "Samples") -> list[Word]:
        """Of up to 30 s at 16 kHz; times count from their start."""
        ...


class TextReader(Working, Protocol):
    long_side: int

    def read(self, picture: "Picture") -> list[tuple[str, float]]:
        """Lines of text with their scores, from the top."""
        ...
