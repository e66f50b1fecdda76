import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from media_pipelines.media import errors, thumbnail, verify
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips

BLACK_START = "testsrc2=size=160x90:rate=25:duration=2,drawbox=t=fill:color=black:enable='lt(t,1.2)'"

NEARLY_BLACK = "color=black:size=160x90:duration=1,drawbox=t=fill:color=0x0a0a0a:enable='gt(t,0.6)'"


def _take(ffmpeg: Path, prober: Prober, clip: Path, output: Path, **more: float) -> thumbnail.Thumbnail:
    return thumbnail.take(ffmpeg, prober.probe(clip), output, **more)  # type: ignore[arg-type]


def _light(path: Path) -> float:
    with Image.open(path) as image:
        return float(ImageStat.Stat(image.convert("L")).mean[0])


def test_it_is_taken_at_a_quarter_with_the_width_asked_for(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    taken = _take(ffmpeg, prober, clips.plain, tmp_path / "t.jpg", width=320)
    assert taken.at_s == pytest.approx(0.25, abs=0.02)
    assert (taken.width, taken.height) == (320, 180)
    assert verify.verify_image(taken.path) == (320, 180)


@pytest.mark.parametrize(
    ("name", "size"),
    [("rotated", (90, 160)), ("anamorphic", (90, 51)), ("odd", (90, 69)), ("vp9", (90, 68)), ("rich", (90, 51))],
)
def test_it_has_the_shape_that_is_shown(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    taken = _take(ffmpeg, prober, getattr(clips, name), tmp_path / "t.jpg", width=90)
    assert (taken.width, taken.height) == size


@pytest.mark.parametrize("at_s", [0.0, 0.5, 0.99, 1.0, 5.0, 1e6])
def test_any_time_gives_a_picture_never_beyond_the_end(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path, at_s: float
) -> None:
    taken = _take(ffmpeg, prober, clips.plain, tmp_path / "t.jpg", at_s=at_s, width=80)
    assert taken.at_s <= min(at_s, 1.0)
    assert taken.at_s > min(at_s, 1.0) - 0.1


def test_a_black_frame_is_passed_over(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    clip = clips.make("black-start.mp4", "-f", "lavfi", "-i", BLACK_START, "-c:v", "libx264", "-pix_fmt", "yuv420p")
    taken = _take(ffmpeg, prober, clip, tmp_path / "t.jpg", width=80)
    assert taken.at_s > 1.2
    assert _light(taken.path) > 50


def test_of_a_black_video_the_least_black_is_taken(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    clip = clips.make(
        "black.mp4", "-f", "lavfi", "-i", NEARLY_BLACK,
        "-c:v", "libx264", "-pix_fmt", "yuv420p",
    )  # fmt: skip
    taken = _take(ffmpeg, prober, clip, tmp_path / "t.jpg", width=80)
    assert taken.at_s > 0.6
    assert 0 < _light(taken.path) < 20


def test_a_video_without_a_frame_left_says_so(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    source = prober.probe(clips.plain)
    broken = tmp_path / "broken.mp4"
    shutil.copy(clips.plain, broken)
    data = bytearray(broken.read_bytes())
    media, index = data.find(b"mdat") + 4, data.find(b"moov") - 4
    data[media:index] = bytes(index - media)
    broken.write_bytes(data)
    import dataclasses

    with pytest.raises(errors.NoUsableFrame):
        thumbnail.take(ffmpeg, dataclasses.replace(source, path=broken), tmp_path / "t.jpg")
    assert not (tmp_path / "t.jpg").exists()


def test_a_stop_is_obeyed(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    clip = clips.long
    with pytest.raises(errors.EncodeStopped):
        thumbnail.take(ffmpeg, prober.probe(clip), tmp_path / "t.jpg", stop=lambda: "cancelled")


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 cut short"])
def test_what_is_no_whole_image_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.jpg"
    path.write_bytes(content)
    with pytest.raises(errors.OutputRejected):
        verify.verify_image(path)


def test_half_an_image_is_rejected(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    taken = _take(ffmpeg, prober, clips.plain, tmp_path / "t.jpg", width=320)
    taken.path.write_bytes(taken.path.read_bytes()[:2000])
    with pytest.raises(errors.OutputRejected):
        verify.verify_image(taken.path)


def test_a_frame_of_one_flat_colour_is_passed_over(ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path) -> None:
    slate = "testsrc2=size=160x90:rate=25:duration=2,drawbox=t=fill:color=0x3060a0:enable='lt(t,1.2)'"
    clip = clips.make("slate.mp4", "-f", "lavfi", "-i", slate, "-c:v", "libx264", "-pix_fmt", "yuv420p")
    assert _take(ffmpeg, prober, clip, tmp_path / "t.jpg", width=80).at_s > 1.2


def test_of_a_flat_video_a_frame_is_taken_all_the_same(
    ffmpeg: Path, prober: Prober, clips: Clips, tmp_path: Path
) -> None:
    clip = clips.make("white.mp4", "-f", "lavfi", "-i", "color=white:size=64x64:duration=1", "-c:v", "libx264")
    assert _light(_take(ffmpeg, prober, clip, tmp_path / "t.jpg", width=64).path) > 200
