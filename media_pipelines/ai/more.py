"""What is only looked for when somebody asks: the words that are spoken, and the text that pictures show.

Neither decodes the film again from end to end: words read the sound alone, text the key frame of each shot.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import Analysis, ScreenText, Span, Word
from media_pipelines.ai.decoding import SPEECH_HZ, open_film
from media_pipelines.ai.pictures import Scaler
from media_pipelines.media import errors

if TYPE_CHECKING:
    from media_pipelines.ai.decoding import Samples
    from media_pipelines.ai.engines.protocols import TextReader, Transcriber
    from media_pipelines.ai.survey import Stop

# Whisper listens to 30 s at a time.
_AT_ONCE_S = 28.0
_AROUND_S = 0.2
_SAME_BREATH_S = 1.5


def words(source: Path, found: Analysis, transcriber: "Transcriber", stop: "Stop | None") -> tuple[Word, ...]:
    """Of what is speech, in order."""
    heard: list[Word] = []
    for span, mono in _pieces(source, _breaths(found)):
        _give_way(stop)
        for word in transcriber.transcribe(mono):
            start_s, end_s = word.start_s + span.start_s, min(word.end_s + span.start_s, found.duration_s)
            heard.append(Word(round(start_s, 3), round(end_s, 3), word.text, word.probability))
    return tuple(sounding(word, found.silence) for word in heard)


def sounding(word: Word, silence: Sequence[Span]) -> Word:
    """Without the silence that a transcriber counts to the first and the last word of a sentence."""
    start_s, end_s = word.start_s, word.end_s
    for pause in silence:
        if pause.start_s <= start_s < pause.end_s < end_s:
            start_s = pause.end_s
        if start_s < pause.start_s < end_s <= pause.end_s:
            end_s = pause.start_s
    return replace(word, start_s=start_s, end_s=end_s)


def texts(source: Path, found: Analysis, reader: "TextReader", stop: "Stop | None") -> tuple[ScreenText, ...]:
    """Of each shot's key frame, line by line."""
    seen: list[ScreenText] = []
    with open_film(source) as film:
        scaler = Scaler(film.rotation, film.width, film.height)
        for number, shot in enumerate(found.shots):
            _give_way(stop)
            frame = film.picture_at(shot.key_s)
            lines = reader.read(scaler.rgb(frame, reader.long_side)) if frame is not None else []
            seen += [ScreenText(number, text, round(score, 4)) for text, score in lines]
    return tuple(seen)


def _breaths(found: Analysis) -> list[Span]:
    """Speech with a little around it, neighbours together, none longer than can be listened to at once."""
    joined: list[Span] = []
    for span in found.speech:
        start_s, end_s = max(0.0, span.start_s - _AROUND_S), min(found.duration_s, span.end_s + _AROUND_S)
        last = joined[-1] if joined else None
        if last is not None and start_s - last.end_s < _SAME_BREATH_S and end_s - last.start_s <= _AT_ONCE_S:
            joined[-1] = Span(last.start_s, end_s)
            continue
        while end_s - start_s > _AT_ONCE_S:
            joined.append(Span(start_s, start_s + _AT_ONCE_S))
            start_s += _AT_ONCE_S
        joined.append(Span(max(start_s, last.end_s if last is not None else 0.0), end_s))
    return joined


def _pieces(source: Path, spans: list[Span]) -> Iterator[tuple[Span, "Samples"]]:
    """The sound of each span. The pictures are passed over without being decoded."""
    import numpy as np

    waiting = list(spans)
    with open_film(source) as film:
        mono, start_s = np.zeros(0, np.float32), 0.0
        for heard in film.sound():
            mono = np.concatenate([mono, heard.mono])
            end_s = start_s + len(mono) / SPEECH_HZ
            while waiting and waiting[0].end_s <= end_s:
                yield waiting[0], _cut(mono, start_s, waiting.pop(0))
            keep_s = min(end_s, waiting[0].start_s if waiting else end_s)
            if keep_s - start_s > 1:
                mono, start_s = mono[round((keep_s - start_s) * SPEECH_HZ) :], keep_s
        for span in waiting:
            yield span, _cut(mono, start_s, span)


def _cut(mono: "Samples", start_s: float, span: Span) -> "Samples":
    first = max(0, round((span.start_s - start_s) * SPEECH_HZ))
    return mono[first : max(first, round((span.end_s - start_s) * SPEECH_HZ))]


def _give_way(stop: "Stop | None") -> None:
    reason = stop() if stop else None
    if reason:
        raise errors.EncodeStopped(reason)
