"""Pictures of videos in HDR are in SDR: white is white, not the gray that a PQ code is when nobody maps it."""

from pathlib import Path

import pytest
from PIL import Image, ImageSequence, ImageStat

from media_pipelines.media import gif, storyboard, thumbnail
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips

# White of 203 cd/m² (ITU-R BT.2408) has 58 % of the PQ codes, which an SDR screen would show as a middle gray.
WHITE = "color=black:size=160x90:rate=10:duration=2,format=yuv420p10le,geq=lum='if(gt(X,8),572,64)':cb=512:cr=512"
BT2020 = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
UNMAPPED = 150


@pytest.fixture
def white(clips: Clips, prober: Prober) -> Probe:
    x265 = ("-c:v", "libx265", "-x265-params", f"log-level=error:keyint=5:{BT2020}", "-pix_fmt", "yuv420p10le")
    probe = prober.probe(clips.make("white-pq.mkv", "-f", "lavfi", "-i", WHITE, *x265))
    assert probe.hdr == "pq"
    return probe


def _light(image: Image.Image) -> float:
    """Of the middle, without the dark edge that keeps the frame from being blank."""
    width, height = image.size
    middle = image.convert("L").crop((width // 4, height // 4, width // 4 * 3, height // 4 * 3))
    return float(ImageStat.Stat(middle).mean[0])


@pytest.mark.parametrize("width", [80, 81, 320])
def test_a_thumbnail(ffmpeg: Path, white: Probe, tmp_path: Path, width: int) -> None:
    taken = thumbnail.take(ffmpeg, white, tmp_path / "t.jpg", width=width)
    assert (taken.width, taken.height) == (width, round(width * 9 / 16))
    with Image.open(taken.path) as image:
        assert _light(image) > UNMAPPED + 30


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation(ffmpeg: Path, white: Probe, tmp_path: Path, kind: gif.Kind) -> None:
    planned = gif.plan(white, kind=kind, start_s=0, duration_s=1, width=75, fps=5, loop=0)
    made = gif.make(ffmpeg, white, planned, tmp_path / f"a.{kind}")
    assert made.animation == planned
    with Image.open(tmp_path / f"a.{kind}") as image:
        assert image.size == (75, 42)
        assert min(_light(frame) for frame in ImageSequence.Iterator(image)) > UNMAPPED + 30


def test_a_storyboard(ffmpeg: Path, white: Probe, tmp_path: Path) -> None:
    layout = storyboard.layout(white)
    (sheet,) = storyboard.draw(ffmpeg, white, layout, tmp_path / "scratch")
    (tmp_path / "sheet.jpg").write_bytes(sheet)
    with Image.open(tmp_path / "sheet.jpg") as image:
        assert _light(image.crop((0, 0, *layout.tile))) > UNMAPPED + 30
