"""Sheets of small pictures and their index."""

import dataclasses
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from media_pipelines.media import errors, storyboard
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips


@pytest.fixture
def colours(clips: Clips, prober: Prober) -> Probe:
    """Ten seconds, each brighter than the one before, with key frames ten seconds apart."""
    return prober.probe(
        clips.make(
            "brighter.mp4", "-f", "lavfi", "-i",
            "nullsrc=size=160x90:rate=10:duration=10,geq=lum='25*floor(T)':cb=128:cr=128",
            "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "250", "-sc_threshold", "0",
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("duration_s", "interval_s", "tiles", "sheets"),
    [(0.04, 0.04, 1, 1), (1, 0.111, 9, 1), (9, 1, 9, 1), (60, 1, 60, 1), (405, 1, 405, 5), (406, 2, 203, 3),
     (7200, 18, 400, 5), (36_000, 89, 405, 5)],
)  # fmt: skip
def test_a_long_film_needs_no_more_than_five_sheets(
    plain: Probe, duration_s: float, interval_s: float, tiles: int, sheets: int
) -> None:
    plan = storyboard.layout(dataclasses.replace(plain, duration_s=duration_s))
    assert (plan.interval_s, plan.tiles, plan.sheets) == (interval_s, tiles, sheets)


def test_each_picture_is_that_of_its_time(ffmpeg: Path, colours: Probe, tmp_path: Path) -> None:
    plan = storyboard.layout(colours)
    (sheet,) = storyboard.draw(ffmpeg, colours, plan, tmp_path / "scratch.jpg")
    assert (plan.tiles, plan.columns, plan.rows, plan.tile) == (10, 9, 2, (160, 90))
    with Image.open(io.BytesIO(sheet)) as image:
        assert image.size == (9 * 160, 2 * 90)
        lights = [image.convert("L").getpixel((n % 9 * 160 + 80, n // 9 * 90 + 45)) for n in range(10)]
    assert lights == sorted(lights)
    assert len(set(lights)) >= 9
    assert list(tmp_path.iterdir()) == []


def test_where_key_frames_are_too_far_apart_all_frames_are_read(
    ffmpeg: Path, colours: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storyboard, "_KEY_FRAMES_FROM_S", 0.5)
    (sheet,) = storyboard.draw(ffmpeg, colours, storyboard.layout(colours), tmp_path / "scratch.jpg")
    with Image.open(io.BytesIO(sheet)) as image:
        assert image.convert("L").getpixel((8 * 160 + 80, 45)) > image.convert("L").getpixel((80, 45)) + 100  # type: ignore[operator]


def test_several_sheets_are_told_apart(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = prober.probe(clips.long)
    plan = dataclasses.replace(storyboard.layout(source), columns=3, rows=3)
    sheets = storyboard.draw(ffmpeg, source, plan, tmp_path / "scratch.jpg")
    assert len(sheets) == plan.sheets == 7


@pytest.mark.parametrize("name", ["plain", "rotated", "anamorphic", "odd", "vp9", "rich", "matroska"])
def test_every_kind_of_source_has_a_storyboard(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, name: str
) -> None:
    source = prober.probe(getattr(clips, name))
    plan = storyboard.layout(source)
    assert len(storyboard.draw(ffmpeg, source, plan, tmp_path / "scratch.jpg")) == 1


def test_the_index_covers_the_video_without_a_gap(plain: Probe) -> None:
    plan = storyboard.layout(dataclasses.replace(plain, duration_s=3723.4))
    names = [f"v.storyboard-{n:02d}.jpg" for n in range(1, plan.sheets + 1)]
    text = storyboard.index(plan, names)
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:10.000\nv.storyboard-01.jpg#xywh=0,0,160,90\n")
    times = re.findall(r"([\d:.]+) --> ([\d:.]+)", text)
    assert [end for _, end in times[:-1]] == [start for start, _ in times[1:]]
    assert times[-1][1] == "01:02:03.400"
    assert "v.storyboard-02.jpg#xywh=0,0,160,90" in text
    assert len(times) == plan.tiles == 373


@pytest.mark.parametrize("duration_s", [0.04, 5.0])
def test_a_video_of_one_frame_has_one_too(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, duration_s: float
) -> None:
    path = clips.make(
        f"one-frame-{duration_s}.mp4", "-f", "lavfi", "-i", f"testsrc2=size=64x64:rate={1 / duration_s}",
        "-frames:v", "1", "-c:v", "libx264", "-pix_fmt", "yuv420p",
    )  # fmt: skip
    source = prober.probe(path)
    assert len(storyboard.draw(ffmpeg, source, storyboard.layout(source), tmp_path / "scratch.jpg")) == 1


def test_without_a_duration_there_is_none(plain: Probe) -> None:
    with pytest.raises(errors.UnreadableMedia, match="duration is unknown"):
        storyboard.layout(dataclasses.replace(plain, duration_s=None))


def test_fewer_sheets_than_planned_are_rejected(ffmpeg: Path, plain: Probe, tmp_path: Path) -> None:
    plan = dataclasses.replace(storyboard.layout(plain), columns=1, rows=1)
    storyboard.draw(ffmpeg, plain, plan, tmp_path / "scratch.jpg")
    with pytest.raises(errors.OutputRejected, match="1 sheets instead of 9"):
        storyboard._require_whole(plain, plan, [b"x"])
    with pytest.raises(errors.OutputRejected, match="no image"):
        storyboard._require_whole(plain, dataclasses.replace(plan, tiles=1), [b"x"])
