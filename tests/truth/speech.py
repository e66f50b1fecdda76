"""Speech from espeak-ng, as its package brings it: a shared library and its data, nothing installed."""

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_RETRIEVAL, _UTF8 = 1, 1
_WORD, _LIST_ENDS = 1, 0
_WORDS_A_MINUTE = 165
_SILENT_BELOW = 0.01


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Utterance:
    """Mono samples from -1 to 1, without silence around them, and when each word begins, in seconds."""

    samples: npt.NDArray[np.float32]
    rate_hz: int
    words: tuple[tuple[float, str], ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz


@functools.cache
def _library() -> tuple[Any, int]:
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate_hz = library.espeak_Initialize(_RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), 0)
    assert rate_hz > 0, "espeak-ng found no data"
    return library, rate_hz


@functools.cache
def say(text: str, voice: str = "en") -> Utterance:
    library, rate_hz = _library()
    heard: list[npt.NDArray[np.int16]] = []
    words: list[tuple[float, str]] = []

    def take(samples: Any, count: int, events: Any) -> int:
        if samples and count:
            heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        n = 0
        while events[n].type != _LIST_ENDS:
            if events[n].type == _WORD:
                start = events[n].text_position - 1
                words.append((events[n].audio_position / 1000, text[start : start + events[n].length]))
            n += 1
        return 0

    kept_alive = _Callback(take)
    library.espeak_SetSynthCallback(kept_alive)
    assert library.espeak_SetVoiceByName(voice.encode()) == 0
    library.espeak_SetParameter(1, _WORDS_A_MINUTE, 0)
    encoded = text.encode()
    assert library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None) == 0
    library.espeak_Synchronize()
    return _trimmed(np.divide(np.concatenate(heard), 32768, dtype=np.float32), rate_hz, words)


def _trimmed(samples: npt.NDArray[np.float32], rate_hz: int, words: list[tuple[float, str]]) -> Utterance:
    loud = np.flatnonzero(np.abs(samples) > _SILENT_BELOW)
    first, last = int(loud[0]), int(loud[-1]) + 1
    return Utterance(samples[first:last], rate_hz, tuple((max(0.0, at - first / rate_hz), word) for at, word in words))
