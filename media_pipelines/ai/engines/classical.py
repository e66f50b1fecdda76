"""What serves where no model can be had: measures of pictures and of sound. They load nothing and never fail.

Shots: the distance of neighbouring frames against that of their surroundings, as in PySceneDetect's adaptive detector;
dissolves by whether the middle of a change is the mean of its ends (a pan's is not); fades by the dark between.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import STEP_S, Engine
from media_pipelines.ai.decoding import SPEECH_HZ

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from media_pipelines.ai.analysis import Floats
    from media_pipelines.ai.decoding import Picture, Samples
    from media_pipelines.ai.engines.protocols import Box

_LICENCE = "MIT"
# Distances are mean absolute differences of channels, of 255.
_CUT_DISTANCE, _CUT_RATIO = 9.0, 3.5
_NEIGHBOURS = 4
_DISSOLVE_DISTANCE = 14.0
_DISSOLVE_S = (0.4, 0.8, 1.4)
# Of a dissolve, how far the middle may be from the mean of its ends, in parts of their distance.
_MIDDLE_OFF = 0.3
# And how much of all the steps on the way leads there: flicker and motion go to and fro.
_STRAIGHT = 0.6
# And how much faster it changes than what is before and after.
_BURST = 1.6
_DARK, _FLAT = 20.0, 6.0


class AdaptiveShots:
    look_hz = 30.0
    context = 64

    def __init__(self, reason: str | None) -> None:
        self.engine = Engine("shots", "classical:adaptive", "adaptive", None, _LICENCE, "cpu/numpy", None, reason)

    def probabilities(self, frames: "Picture", fps: float) -> tuple["Floats", "Floats"]:
        import numpy as np

        pictures = frames.astype(np.float32)
        cuts = _cuts(pictures)
        parts = np.maximum.reduce([cuts, _dissolves(pictures, fps), _fades(pictures)])
        inner = slice(self.context, len(frames) - self.context)
        return parts[inner], parts[inner]


def _cuts(pictures: "Floats") -> "Floats":
    """Above 0.5 at the first frame after a jump that stands out among its neighbours."""
    import numpy as np

    distance = np.zeros(len(pictures), np.float32)
    distance[1:] = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2, 3))
    padded = np.pad(distance, _NEIGHBOURS, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1)
    others = (windows.sum(axis=1) - distance) / (2 * _NEIGHBOURS)
    ratio = distance / np.maximum(others, 1.0)
    sure = np.minimum(distance / (2 * _CUT_DISTANCE), ratio / (2 * _CUT_RATIO))
    likely: Floats = np.minimum(sure, 1.0).astype(np.float32)
    return likely


def _dissolves(pictures: "Floats", fps: float) -> "Floats":
    import numpy as np

    likely = np.zeros(len(pictures), np.float32)
    # How far the picture has come until each frame, by all its steps.
    come = np.concatenate([[0.0], np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2, 3)).cumsum()])
    for length_s in _DISSOLVE_S:
        half = max(2, round(length_s * fps / 2))
        if len(pictures) <= 2 * half:
            continue
        before, middle, after = pictures[: -2 * half], pictures[half:-half], pictures[2 * half :]
        apart = np.abs(after - before).mean(axis=(1, 2, 3))
        off = np.abs(middle - (before + after) / 2).mean(axis=(1, 2, 3))
        linear = 1 - off / np.maximum(apart, 1e-6) / (2 * _MIDDLE_OFF)
        straight = apart / np.maximum(come[2 * half :] - come[: -2 * half], 1e-6) / (2 * _STRAIGHT)
        far = apart / (2 * _DISSOLVE_DISTANCE)
        bounded = _burst(come, half)[half:-half] / (2 * _BURST)
        found = np.clip(np.minimum.reduce([linear, far, straight, bounded]), 0, 1)
        likely[half:-half] = np.maximum(likely[half:-half], found)
    return likely


def _burst(come: "npt.NDArray[np.float64]", half: int) -> "npt.NDArray[np.float64]":
    """How much more changes around each frame than before and after that, where a film that moves goes on moving."""
    import numpy as np

    frames = np.arange(len(come))
    marks = [np.clip(frames + shift * half, 0, len(come) - 1) for shift in (-3, -1, 1, 3)]
    before, within, after = ((come[high] - come[low]) / np.maximum(high - low, 1) for low, high in pairwise(marks))
    ratio: npt.NDArray[np.float64] = within / np.maximum(np.maximum(before, after), 0.5)
    return ratio


def _fades(pictures: "Floats") -> "Floats":
    """Dark and even: the bottom of a fade, also of a long one."""
    import numpy as np

    dark = pictures.mean(axis=(1, 2, 3)) < _DARK
    even = pictures.std(axis=(1, 2, 3)) < _FLAT
    return np.where(dark & even, 0.9, 0.0).astype(np.float32)


class Looks:
    """Tags of what can be measured."""

    def __init__(self, reason: str | None) -> None:
        self.engine = Engine("tags", "classical:looks", "looks", None, _LICENCE, "cpu/numpy", None, reason)

    def tag(self, pictures: Sequence["Picture"]) -> list[list[tuple[str, float]]]:
        return [_looks(picture) for picture in pictures]


def _looks(picture: "Picture") -> list[tuple[str, float]]:
    import numpy as np

    values = picture.astype(np.float32)
    bright, spread = float(values.mean() / 255), float(values.std() / 255)
    colour = float((values.max(axis=2) - values.min(axis=2)).mean() / 255)
    red, green, blue = (float(channel) for channel in values.mean(axis=(0, 1)))
    measures = {
        "dark": 1 - bright / 0.25,
        "bright": (bright - 0.6) / 0.3,
        "high contrast": (spread - 0.25) / 0.1,
        "black and white": 1 - colour / 0.03,
        "colourful": (colour - 0.25) / 0.25,
        "reddish": (red - max(green, blue)) / 64,
        "greenish": (green - max(red, blue)) / 64,
        "bluish": (blue - max(red, green)) / 64,
    }
    found = [(name, round(min(1.0, score), 4)) for name, score in measures.items() if score > 0]
    return sorted(found, key=lambda tag: -tag[1])


class Histograms:
    """An embedding of where which colours are: a coarse histogram, and the mean colours of a 4×4 grid."""

    def __init__(self, reason: str | None) -> None:
        self.engine = Engine(
            "embedding", "classical:histogram", "colours and layout", None, _LICENCE, "cpu/numpy", None, reason
        )

    def embed(self, pictures: Sequence["Picture"]) -> "Floats":
        import numpy as np

        rows = np.stack([_colours_and_layout(picture) for picture in pictures])
        unit: Floats = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)
        return unit


def _colours_and_layout(picture: "Picture") -> "npt.NDArray[np.float64]":
    import numpy as np

    from media_pipelines.ai.pictures import resized

    top = picture.reshape(-1, 3).astype(np.int32) >> 6
    bins = (top[:, 0] << 4) + (top[:, 1] << 2) + top[:, 2]
    colours = np.sqrt(np.bincount(bins, minlength=64) / len(bins))
    layout = resized(picture, 4, 4).astype(np.float64).ravel() / 255 - 0.5
    return np.concatenate([colours, layout / 2])


class NoFaces:
    """Nothing that is measured finds a face; the result says that nobody looked."""

    long_side = 0

    def __init__(self, reason: str | None) -> None:
        self.engine = Engine("faces", "classical:none", "none", None, _LICENCE, "cpu/numpy", None, reason)

    def find(self, picture: "Picture") -> list["Box"]:
        del picture
        return []


# Of speech: how often syllables come, in Hz, and the band in which voices are.
_SYLLABLES_HZ = (2.0, 8.0)
_VOICES_HZ = (250.0, 4000.0)
_FRAME = SPEECH_HZ // 100
_AUDIBLE_DB = -50.0


class Modulation:
    """Speech by its syllables: the power of the voices' band swings a few times a second. Other sound is music."""

    context_s = 1.0

    def __init__(self, reason: str | None) -> None:
        self.engine = Engine("audio", "classical:modulation", "modulation", None, _LICENCE, "cpu/numpy", None, reason)

    def probabilities(self, mono: "Samples") -> "Floats":
        import numpy as np

        steps = int(len(mono) / SPEECH_HZ / STEP_S + 1e-6)
        found = np.zeros((steps, 2), np.float32)
        envelope = _voice_band(mono)
        per_step = round(STEP_S * 100)
        half = 50
        for step in range(steps):
            middle = step * per_step + per_step // 2
            window = envelope[max(0, middle - half) : middle + half]
            now = envelope[step * per_step : (step + 1) * per_step]
            if len(window) < half or 20 * np.log10(max(float(now.mean()), 1e-9)) < _AUDIBLE_DB:
                continue
            speech = _syllabic(window)
            found[step] = speech, 1 - speech
        return found


def _voice_band(mono: "Samples") -> "Floats":
    """The amplitude of the voices' band every 10 ms."""
    import numpy as np

    count = len(mono) // _FRAME
    spectrum = np.abs(np.fft.rfft(mono[: count * _FRAME].reshape(count, _FRAME), axis=1)) / _FRAME
    hz = np.fft.rfftfreq(_FRAME, 1 / SPEECH_HZ)
    inside = (hz >= _VOICES_HZ[0]) & (hz <= _VOICES_HZ[1])
    envelope: Floats = np.sqrt((spectrum[:, inside] ** 2).sum(axis=1)).astype(np.float32)
    return envelope


def _syllabic(window: "Floats") -> float:
    """From 0 to 1: how much of the envelope's mean swings as often as syllables do."""
    import numpy as np

    mean = float(window.mean())
    swings = np.abs(np.fft.rfft((window - mean) * np.hanning(len(window)))) * 4 / len(window)
    hz = np.fft.rfftfreq(len(window), 0.01)
    inside = (hz >= _SYLLABLES_HZ[0]) & (hz <= _SYLLABLES_HZ[1])
    depth = float(np.sqrt((swings[inside] ** 2).sum())) / max(mean, 1e-9)
    return float(np.clip((depth - 0.2) / 0.6, 0, 1))
