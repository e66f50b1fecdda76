"""Animated pictures, every frame of which is decoded."""

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

from media_pipelines.media import errors, gif
from media_pipelines.media.commands import pictures
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips


def _plan(prober: Prober, clip: Path, **changes: object) -> gif.Animation:
    wanted = {"kind": "gif", "start_s": 0.0, "duration_s": 5.0, "width": 80, "fps": 10.0, "loop": 0, **changes}
    return gif.plan(prober.probe(clip), **wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["gif", "webp"])
@pytest.mark.parametrize("name", ["plain", "rotated", "anamorphic", "odd", "vp9", "rich"])
def test_every_kind_of_source_becomes_an_animation(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, kind: gif.Kind, name: str
) -> None:
    source = prober.probe(getattr(clips, name))
    output = tmp_path / f"a.partial.{kind}"
    made = gif.make(ffmpeg, source, _plan(prober, source.path, kind=kind), output)
    with Image.open(output) as image:
        assert image.format == kind.upper()
        assert image.n_frames == made.frames >= 8  # type: ignore[attr-defined]
        assert image.size[0] == 80
        assert image.size[1] == round(80 * source.height / float(source.width * source.sar))


@pytest.mark.parametrize(("kind", "loop", "stored"), [
    ("gif", 0, 0), ("gif", 1, None), ("gif", 3, 2), ("webp", 0, 0), ("webp", 1, 1), ("webp", 3, 3),
])  # fmt: skip
def test_it_plays_as_often_as_is_asked(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, kind: gif.Kind, loop: int, stored: int | None
) -> None:
    """A GIF stores how often it is repeated, a WebP how often it is shown."""
    output = tmp_path / f"a.{kind}"
    gif.make(ffmpeg, prober.probe(clips.plain), _plan(prober, clips.plain, kind=kind, loop=loop), output)
    with Image.open(output) as image:
        assert image.info.get("loop") == stored


@pytest.mark.parametrize(
    ("fps", "start_s", "duration_s", "expected"),
    [
        (25, 0.0, 1.5, "red"),
        (25, 2.1, 1.5, "blue"),
        pytest.param(1, 1.5, 1.0, "red", id="the frame that is shown then"),
        pytest.param(1, 3.5, 1.0, "blue", id="the last frame"),
    ],
)
def test_a_part_begins_where_it_is_asked_to(
    ffmpeg: Path,
    prober: Prober,
    clips: Clips,
    tmp_path: Path,
    fps: int,
    start_s: float,
    duration_s: float,
    expected: str,
) -> None:
    halves = clips.make(
        "halves.mp4", "-f", "lavfi", "-i",
        f"color=red:size=64x64:rate={fps}:duration=4,drawbox=c=blue:t=fill:enable='gte(t,2)'",
        "-c:v", "libx264", "-pix_fmt", "yuv420p",
    )  # fmt: skip
    output = tmp_path / "part.gif"
    wanted = _plan(prober, halves, start_s=start_s, duration_s=duration_s)
    gif.make(ffmpeg, prober.probe(halves), wanted, output)
    with Image.open(output) as image:
        red, _, blue = image.convert("RGB").getpixel((5, 5))  # type: ignore[misc]
    assert (red > blue) is (expected == "red")


@pytest.mark.parametrize("kind", ["gif", "webp"])
@pytest.mark.parametrize(("start_s", "duration_s"), [(0.99, 0.001), (0.99, 5.0), (0.5, 0.001)])
def test_of_the_shortest_part_the_frame_that_is_shown_then_is_left(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, kind: gif.Kind, start_s: float, duration_s: float
) -> None:
    clip = clips.picture("short.mp4", "64x64")
    wanted = _plan(prober, clip, kind=kind, start_s=start_s, duration_s=duration_s)
    assert gif.make(ffmpeg, prober.probe(clip), wanted, tmp_path / f"a.{kind}").frames == 1


def test_it_ends_with_its_source_and_beyond_it_there_is_nothing(prober: Prober, clips: Clips) -> None:
    assert _plan(prober, clips.plain, start_s=0.75).duration_s == pytest.approx(0.25, abs=0.05)
    with pytest.raises(errors.UnreadableMedia, match="nothing of it is left after 2 s"):
        _plan(prober, clips.plain, start_s=2.0)


def test_it_is_made_smaller_until_it_fits_and_says_why(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    noisy = clips.make(
        "noisy.mp4", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2,noise=alls=40:allf=t",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
    )  # fmt: skip
    source, output, lines = prober.probe(noisy), tmp_path / "a.gif", []
    wanted = _plan(prober, noisy, width=320, fps=12.0)
    made = gif.make(ffmpeg, source, wanted, output, max_bytes=300_000, on_line=lines.append)
    assert output.stat().st_size == made.size_bytes <= 300_000
    assert made.animation.width < 320
    assert made.animation.fps < 12
    assert any("300000 are allowed: now" in line for line in lines)


def test_what_is_far_too_large_is_made_small_enough_in_a_few_tries(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    detailed = clips.make(
        "detailed.mp4", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2,noise=alls=10:allf=t",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
    )  # fmt: skip
    source, lines = prober.probe(detailed), []
    wanted = _plan(prober, detailed, width=640, fps=25.0)
    made = gif.make(ffmpeg, source, wanted, tmp_path / "a.gif", max_bytes=150_000, on_line=lines.append)
    assert 50_000 < made.size_bytes <= 150_000
    assert sum("are allowed: now" in line for line in lines) <= 3


def test_what_cannot_be_made_small_enough_is_tried_once_at_its_smallest(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    source, wanted, commands = prober.probe(clips.plain), _plan(prober, clips.plain, width=320, fps=25.0), []
    with pytest.raises(errors.OutputRejected, match="at 5 fps and 120×68, and 500 are allowed"):
        gif.make(ffmpeg, source, wanted, tmp_path / "a.gif", max_bytes=500, on_command=commands.append)
    assert len(commands) == 2


def test_a_large_one_gets_its_palette_in_a_pass_of_its_own(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gif, "_PIXELS_IN_MEMORY", 1000)
    commands: list[list[str]] = []
    output = tmp_path / ("100%03d" + "x" * 244 + ".gif")
    made = gif.make(ffmpeg, prober.probe(clips.plain), _plan(prober, clips.plain), output, on_command=commands.append)
    assert made.frames >= 8
    assert ["palettegen" in " ".join(command) for command in commands] == [True, False]
    assert list(tmp_path.iterdir()) == [output]


def test_it_seeks_before_it_reads(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    source = prober.probe(clips.long)
    command = pictures.animation(
        ffmpeg, source, tmp_path / "a.gif", start_s=50, duration_s=2, width=80, height=45, fps=5, loop=0, kind="gif"
    )
    assert command.index("-ss") < command.index("-i")
    assert command.count("-i") == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_what_is_no_whole_animation_is_rejected(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, damage: str
) -> None:
    output = tmp_path / "a.gif"
    wanted = _plan(prober, clips.plain)
    gif.make(ffmpeg, prober.probe(clips.plain), wanted, output)
    whole = output.read_bytes()
    output.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"GIF89a, said the text"}[damage])
    with pytest.raises(errors.OutputRejected):
        gif.verified(output, wanted)


def test_an_animation_of_another_length_or_size_is_rejected(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    output = tmp_path / "a.gif"
    gif.make(ffmpeg, prober.probe(clips.plain), _plan(prober, clips.plain), output)
    with pytest.raises(errors.OutputRejected, match=r"instead of 5\.00 s"):
        gif.verified(output, _plan(prober, clips.long))
    with pytest.raises(errors.OutputRejected, match="instead of 90×51"):
        gif.verified(output, _plan(prober, clips.plain, width=90))


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_video_of_one_frame_becomes_a_picture(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, kind: gif.Kind
) -> None:
    one = clips.make(
        "one.mp4", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25", "-frames:v", "1", "-c:v", "libx264",
        "-pix_fmt", "yuv420p",
    )  # fmt: skip
    assert gif.make(ffmpeg, prober.probe(one), _plan(prober, one, kind=kind), tmp_path / f"a.{kind}").frames == 1


def test_a_picture_whose_size_changes_is_shown_to_its_end(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    parts = [
        clips.make(
            f"part-{size}.ts", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration=1", "-c:v", "mpeg2video"
        )
        for size in ("64x48", "128x96")
    ]
    changing = tmp_path / "changing.ts"
    changing.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = prober.probe(parts[0])
    wanted = gif.Animation("gif", 0, 2, 64, 48, 10, 0)
    assert gif.make(ffmpeg, dataclasses.replace(source, path=changing), wanted, tmp_path / "a.gif").frames >= 18
