"""Words and text on screen, which are looked for only when somebody asks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from media_pipelines.ai import more
from media_pipelines.ai.analyse import analyse
from media_pipelines.ai.analysis import Span, Word
from media_pipelines.ai.decoding import SPEECH_HZ
from media_pipelines.ai.engines.choosing import Engines


class Listener:
    """Notes how much it is given, and hears one word in each piece."""

    def __init__(self) -> None:
        self.lengths_s: list[float] = []

    def transcribe(self, mono: np.ndarray) -> list[Word]:
        self.lengths_s.append(round(len(mono) / SPEECH_HZ, 2))
        return [Word(0.5, 0.7, "word", 0.9)]


@pytest.mark.parametrize(
    ("word", "heard"),
    [
        ((4.8, 5.4), (5.0, 5.4)),
        ((8.0, 8.7), (8.0, 8.3)),
        ((5.5, 6.0), (5.5, 6.0)),
        ((4.9, 8.5), (5.0, 8.3)),
    ],
)
def test_a_word_is_where_something_is_heard(word: tuple[float, float], heard: tuple[float, float]) -> None:
    silence = (Span(4.0, 5.0), Span(8.3, 9.0))

    found = more.sounding(Word(*word, "word", 0.9), silence)

    assert (found.start_s, found.end_s) == heard


def test_only_speech_is_listened_to_in_pieces_that_a_transcriber_takes(
    long_film: Path, classical: Engines, tmp_path: Path
) -> None:
    found = analyse(long_film, engines=classical, folder=tmp_path)
    spoken = replace(found, speech=(Span(2.0, 3.0), Span(3.5, 5.0), Span(12.0, 14.0)), silence=())
    listener = Listener()

    words = more.words(long_film, spoken, listener, None)  # type: ignore[arg-type]

    assert listener.lengths_s == pytest.approx([3.4, 2.4], abs=0.02)
    assert [word.start_s for word in words] == pytest.approx([2.3, 12.3], abs=0.01)


def test_a_long_speech_is_taken_in_pieces(long_film: Path, classical: Engines, tmp_path: Path) -> None:
    found = replace(analyse(long_film, engines=classical, folder=tmp_path), duration_s=70.0, speech=(Span(0.0, 70.0),))

    spans = more._breaths(found)

    assert [(span.start_s, span.end_s) for span in spans] == [(0.0, 28.0), (28.0, 56.0), (56.0, 70.0)]


def test_who_asks_for_words_where_nobody_hears_them_gets_the_rest_and_the_reason(
    three_shots: Path, classical: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(classical._wishes.references, "transcript", "path:/nowhere")  # type: ignore[arg-type]
    monkeypatch.setattr("media_pipelines.ai.engines.weights.Weight.path", _missing)

    found = analyse(three_shots, engines=classical, folder=tmp_path, transcript=True)

    engine = found.engine("transcript")
    assert engine is not None
    assert engine.reference == "none"
    assert engine.reason is not None
    assert "there is no such file or folder; " in engine.reason
    assert len(found.shots) == 3


def _missing(weight: object) -> Path:
    from media_pipelines.ai.errors import EngineUnavailable

    raise EngineUnavailable("packaged:x", "the package is not installed")
