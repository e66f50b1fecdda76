"""How loud a film is over time: momentary loudness after ITU-R BS.1770, from sound that comes in pieces.

The K-weighting is applied to the power spectrum of each step rather than to the samples: of 100 ms the mean square is
the same but for what leaks at the edges, and no sample has to wait for the one before it.
"""

import functools
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import SILENT_LUFS, STEP_S, Span
from media_pipelines.ai.decoding import LOUDNESS_HZ

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from media_pipelines.ai.analysis import Floats
    from media_pipelines.ai.decoding import Samples

    Weights = npt.NDArray[np.float64]

BLOCK = round(STEP_S * LOUDNESS_HZ)
# Momentary loudness looks at 400 ms (EBU Tech 3341).
_STEPS_PER_WINDOW = 4
_OFFSET_DB = -0.691
_LEAST_POWER = 10 ** ((SILENT_LUFS - _OFFSET_DB) / 10)
# Below both it is silence: absolutely, and beside the film's usual loudness.
_QUIET_LUFS = -50.0
_QUIETER_BY_DB = 30.0
_SILENCE_AT_LEAST_S = 0.3
# BS.1770-4, tables 1 and 2, for 48 kHz: (b0, b1, b2), (a0, a1, a2).
_SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))


def powers(stereo: "Samples") -> "Floats":
    """The weighted mean square of each whole step of (2, n) samples at 48 kHz, channels added."""
    import numpy as np

    steps = stereo.shape[1] // BLOCK
    if not steps:
        return np.zeros(0, np.float32)
    spectrum = np.fft.rfft(stereo[:, : steps * BLOCK].reshape(2, steps, BLOCK).astype(np.float64), axis=2)
    energy = (np.abs(spectrum) ** 2 * _weights()).sum(axis=(0, 2))
    found: Floats = (energy * 2 / BLOCK**2).astype(np.float32)
    return found


def momentary(per_step: "Floats") -> "Floats":
    """LUFS over the 400 ms around each step, at least -70."""
    import numpy as np

    if not len(per_step):
        return np.zeros(0, np.float32)
    before = _STEPS_PER_WINDOW // 2
    padded = np.pad(per_step.astype(np.float64), (before, _STEPS_PER_WINDOW - 1 - before), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _STEPS_PER_WINDOW)
    mean = windows.mean(axis=1)
    loud = _OFFSET_DB + 10 * np.log10(np.maximum(mean, _LEAST_POWER))
    found: Floats = np.maximum(loud, SILENT_LUFS).astype(np.float32)
    return found


def silences(per_step: "Floats", duration_s: float) -> tuple[Span, ...]:
    """Where next to nothing is heard, from the power of each step by itself, so that short pauses count."""
    import numpy as np

    if not len(per_step):
        return ()
    loud = _OFFSET_DB + 10 * np.log10(np.maximum(per_step.astype(np.float64), _LEAST_POWER))
    sounding = loud[loud > _QUIET_LUFS]
    limit = max(_QUIET_LUFS, float(np.median(sounding)) - _QUIETER_BY_DB) if len(sounding) else _QUIET_LUFS
    return spans(loud < limit, STEP_S, duration_s, at_least_s=_SILENCE_AT_LEAST_S)


def spans(
    held: "npt.NDArray[np.bool_]",
    step_s: float,
    duration_s: float,
    *,
    at_least_s: float = 0.0,
    gap_s: float = 0.0,
    scores: "Floats | None" = None,
) -> tuple[Span, ...]:
    """Runs of true steps, those a gap apart joined, short ones left out; the score is the mean of the run's scores."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate(([0], held.astype(np.int8), [0]))))
    runs: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and (start - runs[-1][1]) * step_s <= gap_s:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    found = []
    for start, end in runs:
        end_s = min(end * step_s, duration_s)
        if end_s - start * step_s >= at_least_s:
            score = 1.0 if scores is None else float(np.mean(scores[start:end]))
            found.append(Span(round(start * step_s, 3), round(end_s, 3), round(score, 4)))
    return tuple(found)


@functools.cache
def _weights() -> "Weights":
    """|H|² of both filters at each frequency of a block; half at 0 Hz and at the end, which stand for one bin."""
    import numpy as np

    z = np.exp(-2j * np.pi * np.fft.rfftfreq(BLOCK))
    gain: Weights = np.ones(len(z))
    for top, bottom in (_SHELF, _HIGH_PASS):
        response = np.polyval(top[::-1], z) / np.polyval(bottom[::-1], z)
        gain = gain * np.abs(response) ** 2
    gain[[0, -1]] /= 2
    return gain
