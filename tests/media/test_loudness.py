"""Measured and levelled loudness, with real tones."""

from pathlib import Path

import pytest

from media_pipelines.media import compile as compiling
from media_pipelines.media import loudness
from media_pipelines.media.cuts import Item
from media_pipelines.media.encoders import Encoder, Way
from media_pipelines.media.loudness import Loudness
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips


def _tone(clips: Clips, name: str, volume: str) -> Path:
    return clips.make(
        f"{name}.mkv", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=4",
        "-f", "lavfi", "-i", f"sine=frequency=1000:sample_rate=48000:duration=4,volume={volume}",
        "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "flac",
    )  # fmt: skip


def test_a_tone_is_as_loud_as_it_is(ffmpeg: Path, prober: Prober, clips: Clips) -> None:
    """A mono sine of lavfi has an amplitude of 1/8, −18 dBFS; in stereo each side has half of its power."""
    measured = loudness.measure(ffmpeg, prober.probe(_tone(clips, "plain-tone", "0dB")))
    assert measured is not None
    quieter = loudness.measure(ffmpeg, prober.probe(_tone(clips, "quiet-tone", "-10dB")))
    assert quieter is not None
    assert measured.integrated - quieter.integrated == pytest.approx(10, abs=0.3)
    assert measured.true_peak == pytest.approx(-21, abs=0.5)


def test_silence_and_no_sound_are_left_alone(ffmpeg: Path, prober: Prober, clips: Clips) -> None:
    assert loudness.measure(ffmpeg, prober.probe(clips.silent)) is None
    nothing = clips.make(
        "nothing.mkv", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=1", "-f", "lavfi", "-i",
        "anullsrc=d=1", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "flac", "-shortest",
    )  # fmt: skip
    assert loudness.measure(ffmpeg, prober.probe(nothing)) is None
    assert loudness.levelling(None, -16) == ""


def test_loud_and_quiet_sources_become_equally_loud(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder
) -> None:
    sources = [prober.probe(_tone(clips, name, volume)) for name, volume in (("loud", "14dB"), ("low", "-8dB"))]
    items = [Item(source, levelling=loudness.levelling(loudness.measure(ffmpeg, source), -16)) for source in sources]
    assert all(item.levelling for item in items)
    joined = compiling.join(
        ffmpeg, prober, items, tmp_path / "joined.mp4", workdir=tmp_path, choose_way=lambda: Way(x264),
        preset="ultrafast", crf=30,
    )  # fmt: skip
    for start_s in (0, 4):
        part = clips.make(
            f"part-{start_s}.mkv", "-ss", str(start_s), "-t", "4", "-i", str(joined.result.path), "-c:a", "flac"
        )
        measured = loudness.measure(ffmpeg, prober.probe(part))
        assert measured is not None
        assert measured.integrated == pytest.approx(-16, abs=1)


def test_peaks_are_limited_and_not_pumped_where_the_gain_would_clip() -> None:
    filters = loudness.levelling(Loudness(-30.0, -3.0, 12.0, -40.0), -16)
    assert filters.startswith("volume=14.00dB,alimiter=limit=0.84")
    assert loudness.levelling(Loudness(-30.0, -20.0, 12.0, -40.0), -16).startswith("loudnorm=I=-16.00:")
    assert "linear=true" in loudness.levelling(Loudness(-30.0, -20.0, 12.0, -40.0), -16)


def test_noise_is_not_made_loud_beyond_measure() -> None:
    assert "I=-45.00" in loudness.levelling(Loudness(-65.0, -50.0, 1.0, -70.0), -16)


def test_what_is_loud_as_wanted_is_left_as_it_is() -> None:
    assert loudness.levelling(Loudness(-16.2, -3.0, 5.0, -26.0), -16) == ""


@pytest.mark.parametrize("text", ["", "no figures", "{", "} {", '{"input_i": "-16"}', "{not json}"])
def test_what_is_no_measurement_is_none(text: str) -> None:
    assert loudness.parse(text) is None


def test_infinite_loudness_is_none() -> None:
    text = '[x] {"input_i": "-inf", "input_tp": "-inf", "input_lra": "0.00", "input_thresh": "-70.00"}'
    assert loudness.parse(text) is None
