"""Loudness after BS.1770, silence, and spans."""

import numpy as np
import pytest

from media_pipelines.ai import loudness
from media_pipelines.ai.decoding import LOUDNESS_HZ


def tone(level_db: float, seconds: float, hz: float = 997.0) -> np.ndarray:
    t = np.arange(round(seconds * LOUDNESS_HZ)) / LOUDNESS_HZ
    return np.tile(10 ** (level_db / 20) * np.sin(2 * np.pi * hz * t), (2, 1)).astype(np.float32)


@pytest.mark.parametrize("level_db", [-6.0, -23.0, -33.0, -40.0])
def test_a_tone_in_both_channels_is_as_loud_as_its_peak(level_db: float) -> None:
    """The test signals 1 to 3 of EBU Tech 3341."""
    measured = loudness.momentary(loudness.powers(tone(level_db, 2)))

    assert measured[5:-5] == pytest.approx(level_db, abs=0.1)


def test_low_tones_count_for_less() -> None:
    low, high = (loudness.momentary(loudness.powers(tone(-23, 1, hz)))[5] for hz in (40.0, 4000.0))

    assert low < -27
    assert high > -21


def test_nothing_is_quieter_than_the_floor() -> None:
    assert loudness.momentary(np.zeros(10, np.float32)) == pytest.approx(-70)


def test_pieces_of_whole_steps_measure_as_the_whole_does() -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, (2, 20 * loudness.BLOCK)).astype(np.float32)
    whole = loudness.powers(sound)
    at = 7 * loudness.BLOCK

    assert np.array_equal(np.concatenate([loudness.powers(sound[:, :at]), loudness.powers(sound[:, at:])]), whole)


def test_a_pause_between_tones_is_silence() -> None:
    sound = np.concatenate([tone(-20, 1), np.zeros((2, LOUDNESS_HZ // 2), np.float32), tone(-20, 1)], axis=1)

    (pause,) = loudness.silences(loudness.powers(sound), 2.5)

    assert (pause.start_s, pause.end_s) == (1.0, 1.5)


def test_spans_close_gaps_and_leave_out_what_is_short() -> None:
    held = np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0], bool)

    (span,) = loudness.spans(held, 0.1, 1.2, at_least_s=0.3, gap_s=0.1)

    assert (span.start_s, span.end_s) == (0.0, 0.5)
