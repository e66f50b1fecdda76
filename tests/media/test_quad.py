"""Four videos as one picture, with real ffmpeg on sources that have nothing in common."""

import dataclasses
from pathlib import Path

import pytest

from media_pipelines.media import encoders, errors, quad
from media_pipelines.media.commands.pieces import shape
from media_pipelines.media.encoders import Encoder, Way
from media_pipelines.media.ffmpeg import run
from media_pipelines.media.plan import Crf, VideoPlan
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips

CELL = shape(160, 120, 25)


def _encode(ffmpeg: Path, prober: Prober, grid: quad.Grid, output: Path, x264: Encoder) -> Probe:
    run(quad.command(ffmpeg, grid, output, way=Way(x264), preset="ultrafast", crf=30), duration_s=grid.duration_s)
    return quad.verified(prober, grid, output)


def _solid(clips: Clips, colour: str, size: str, rate: str, seconds: float, *more: str) -> Path:
    name = f"{colour}-{size}-{seconds:g}.mkv"
    tone = {"red": 300, "lime": 600, "blue": 1200, "yellow": 2400}[colour]
    return clips.make(
        name, "-f", "lavfi", "-i", f"color={colour}:size={size}:rate={rate}:duration={seconds}",
        "-f", "lavfi", "-i", f"sine=frequency={tone}:sample_rate=44100:duration={seconds}",
        "-c:v", "ffv1", "-c:a", "flac", *more,
    )  # fmt: skip


@pytest.fixture
def four(clips: Clips, prober: Prober) -> list[Probe]:
    made = [
        _solid(clips, "red", "160x120", "25", 1),
        _solid(clips, "lime", "90x160", "30000/1001", 2),
        _solid(clips, "blue", "101x33", "10", 1.5, "-pix_fmt", "yuv444p10le"),
        _solid(clips, "yellow", "320x320", "60", 0.5),
    ]
    return [prober.probe(path) for path in made]


def _colours(path: Path, at_s: float) -> list[str]:
    """What is in the middle of each cell at a time."""
    import av

    with av.open(str(path)) as container:
        frame = next(frame for frame in container.decode(video=0) if (frame.time or 0) >= at_s)
        image = frame.to_image().convert("RGB")
    width, height = image.size
    middles = [(width // 4, height // 4), (3 * width // 4, height // 4)]
    middles += [(x, y + height // 2) for x, y in middles]
    return [_name(image.getpixel(middle)) for middle in middles]


def _name(pixel: object) -> str:
    assert isinstance(pixel, tuple)
    bright = tuple(value > 128 for value in pixel)
    return {
        (True, False, False): "red", (False, True, False): "lime", (False, False, True): "blue",
        (True, True, False): "yellow", (False, False, False): "black",
    }[bright]  # fmt: skip


def _tones(path: Path) -> dict[int, float]:
    """How strong each of the four tones is in the first half second."""
    import av
    import numpy as np

    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])[: rate // 2]
    spectrum = np.abs(np.fft.rfft(sound)) / len(sound)
    return {tone: float(spectrum[tone // 2 - 4 : tone // 2 + 4].max()) for tone in (300, 600, 1200, 2400)}


def test_each_source_has_its_cell_and_the_longest_decides(
    ffmpeg: Path, prober: Prober, four: list[Probe], tmp_path: Path, x264: Encoder
) -> None:
    output = tmp_path / "grid.partial.mp4"
    made = _encode(ffmpeg, prober, quad.grid(four, CELL), output, x264)
    assert (made.width, made.height, made.sar, made.pix_fmt, made.video_codec) == (320, 240, 1, "yuv420p", "h264")
    assert made.fps == pytest.approx(25)
    assert made.duration_s == pytest.approx(2, abs=0.1)
    assert _colours(output, 0.2) == ["red", "lime", "blue", "yellow"]
    assert _colours(output, 1.8) == ["red", "lime", "blue", "yellow"]


def test_all_cells_are_heard_and_nothing_clips(
    ffmpeg: Path, prober: Prober, four: list[Probe], tmp_path: Path, x264: Encoder
) -> None:
    import av
    import numpy as np

    output = tmp_path / "grid.mp4"
    _encode(ffmpeg, prober, quad.grid(four, CELL, audio="mix"), output, x264)
    tones = _tones(output)
    assert min(tones.values()) > max(tones.values()) / 4
    with av.open(str(output)) as container:
        peak = max(float(np.abs(frame.to_ndarray()).max()) for frame in container.decode(audio=0))
    assert 0.05 < peak < 1.0


def test_the_shortest_ends_it_if_asked(
    ffmpeg: Path, prober: Prober, four: list[Probe], tmp_path: Path, x264: Encoder
) -> None:
    made = _encode(ffmpeg, prober, quad.grid(four, CELL, length="shortest"), tmp_path / "grid.mp4", x264)
    assert made.duration_s == pytest.approx(0.5, abs=0.06)


def test_shorter_ones_start_again_if_asked(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder
) -> None:
    blink = clips.make(
        "blink.mp4", "-f", "lavfi", "-i",
        "color=red:size=64x64:rate=25:duration=1,drawbox=c=blue:t=fill:enable='gt(t,0.5)'",
        "-c:v", "libx264", "-pix_fmt", "yuv420p",
    )  # fmt: skip
    long = _solid(clips, "lime", "64x64", "25", 3)
    sources = [prober.probe(path) for path in (blink, long, long, long)]
    output = tmp_path / "grid.mp4"
    grid = quad.grid(sources, CELL, length="loop")
    assert grid.looped == (0,)
    assert _encode(ffmpeg, prober, grid, output, x264).duration_s == pytest.approx(3, abs=0.1)
    assert [_colours(output, at_s)[0] for at_s in (0.2, 0.8, 1.2, 1.8, 2.2, 2.8)] == ["red", "blue"] * 3


@pytest.mark.parametrize(
    ("audio", "heard"), [("first", [300]), ("1", [300]), ("3", [1200]), ("mix", [300, 600, 1200, 2400])]
)
def test_the_sound_that_is_asked_for_is_heard(
    ffmpeg: Path, prober: Prober, four: list[Probe], tmp_path: Path, x264: Encoder, audio: quad.Audio, heard: list[int]
) -> None:
    output = tmp_path / "grid.mp4"
    _encode(ffmpeg, prober, quad.grid(four, CELL, audio=audio), output, x264)
    tones = _tones(output)
    assert [tone for tone in tones if tones[tone] > max(tones.values()) / 8] == heard


def test_no_sound_is_made_where_none_is_wanted_or_there(
    ffmpeg: Path, prober: Prober, clips: Clips, four: list[Probe], tmp_path: Path, x264: Encoder
) -> None:
    silent = prober.probe(clips.silent)
    assert not _encode(ffmpeg, prober, quad.grid(four, CELL, audio="none"), tmp_path / "a.mp4", x264).has_audio
    assert not _encode(ffmpeg, prober, quad.grid([silent] * 4, CELL), tmp_path / "b.mp4", x264).has_audio
    assert quad.grid([silent, *four[:3]], CELL, audio="first").heard == (1,)
    assert quad.grid([silent, *four[:3]], CELL, audio="1").heard == ()


def test_the_oddest_sources_become_one_grid(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder
) -> None:
    full_range = clips.make(
        "full-range.mp4", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=24:duration=1", "-c:v", "libx264",
        "-pix_fmt", "yuvj420p", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709",
    )  # fmt: skip
    tiny = clips.make("tiny.mkv", "-f", "lavfi", "-i", "color=red:size=3x1:duration=1", "-c:v", "ffv1")
    for names in (["rotated", "anamorphic", "odd", "rich"], ["vp9", "silent", "matroska", "plain"]):
        sources = [prober.probe(getattr(clips, name)) for name in names]
        made = _encode(ffmpeg, prober, quad.grid(sources, CELL), tmp_path / f"{names[0]}.mp4", x264)
        assert (made.width, made.height) == (320, 240)
    mixed = [prober.probe(path) for path in (full_range, tiny, clips.plain, clips.uneven("uneven-3.0.mp4", 3.0))]
    assert _encode(ffmpeg, prober, quad.grid(mixed, CELL), tmp_path / "mixed.mp4", x264).duration_s == pytest.approx(
        3, abs=0.1
    )


def test_a_rotated_source_stands_upright_in_its_cell(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder
) -> None:
    lying = clips.make(
        "lying.mp4", "-f", "lavfi", "-i", "color=red:size=160x90:duration=1", "-c:v", "libx264", "-pix_fmt", "yuv420p"
    )
    upright = clips.make("upright.mp4", "-display_rotation", "90", "-i", str(lying), "-c", "copy")
    output = tmp_path / "grid.mp4"
    _encode(ffmpeg, prober, quad.grid([prober.probe(upright)] * 4, CELL), output, x264)
    import av

    with av.open(str(output)) as container:
        image = next(container.decode(video=0)).to_image().convert("RGB")
    assert [_name(image.getpixel((x, 60))) for x in (10, 80, 150)] == ["black", "red", "black"]


def test_a_source_without_a_duration_cannot_be_looped(plain: Probe) -> None:
    endless = dataclasses.replace(plain, duration_s=None)
    assert quad.grid([plain, endless, plain, plain], CELL).duration_s is None
    with pytest.raises(errors.UnreadableMedia, match="duration is unknown"):
        quad.grid([plain, endless, plain, plain], CELL, length="loop")


def test_a_grid_of_another_size_is_rejected(
    ffmpeg: Path, prober: Prober, four: list[Probe], tmp_path: Path, x264: Encoder
) -> None:
    output = tmp_path / "grid.mp4"
    grid = quad.grid(four, CELL)
    _encode(ffmpeg, prober, grid, output, x264)
    with pytest.raises(errors.OutputRejected, match="shows 320×240 instead of 640×480"):
        quad.verified(prober, dataclasses.replace(grid, cell=shape(320, 240, 25)), output)


def test_it_takes_four(plain: Probe) -> None:
    with pytest.raises(ValueError, match="not 3"):
        quad.grid([plain] * 3, CELL)


def test_hdr_becomes_sdr_in_its_cell_and_says_so(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    hdr, plain = prober.probe(clips.hdr10), prober.probe(clips.plain)
    video = VideoPlan("h264", Crf(30), "ultrafast", 320, 240, hdr="tonemap")
    way = encoders.ways(ffmpeg, video, prefer_hardware=False)[0]
    assert way.tone_map
    output, grid = tmp_path / "grid.mp4", quad.grid([hdr, plain, plain, hdr], CELL)
    run(quad.command(ffmpeg, grid, output, way=way, preset="ultrafast", crf=30), duration_s=grid.duration_s)
    made = quad.verified(prober, grid, output)
    assert (made.hdr, made.pix_fmt) == (None, "yuv420p")
    assert (made.color.primaries, made.color.transfer, made.color.matrix) == ("bt709", "bt709", "bt709")


def test_interlaced_and_full_range_sources_share_a_grid(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, x264: Encoder
) -> None:
    woven = clips.make(
        "woven.mkv", "-f", "lavfi", "-i", "color=blue:size=160x120:rate=50:duration=1,interlace", "-c:v", "libx264",
        "-flags", "+ildct+ilme", "-pix_fmt", "yuv420p",
    )  # fmt: skip
    rgb = clips.make(
        "rgb.mkv", "-f", "lavfi", "-i", "color=red:size=64x64:duration=1", "-c:v", "ffv1", "-pix_fmt", "gbrp"
    )
    sources = [prober.probe(path) for path in (woven, rgb, woven, rgb)]
    output = tmp_path / "grid.mp4"
    _encode(ffmpeg, prober, quad.grid(sources, CELL), output, x264)
    assert _colours(output, 0.5) == ["blue", "red"] * 2
