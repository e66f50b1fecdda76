"""Parts of a source, joined: what is seen is what was asked for, and of a framed picture what moves along."""

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from media_pipelines.media import compile as compiling
from media_pipelines.media.commands.pieces import Framing
from media_pipelines.media.cuts import Item
from media_pipelines.media.encoders import Encoder, Way
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from tests.media.conftest import Clips

COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(scope="module")
def traffic_light(tmp_path_factory: pytest.TempPathFactory, ffmpeg: Path) -> Path:
    """A second each of red, green and blue; in the lower half always black on the left and white on the right."""
    path = tmp_path_factory.mktemp("parts") / "light.mp4"
    colours = ";".join(f"color={colour}:s=160x90:r=25:d=1[{colour}]" for colour in COLOURS)
    lower = "drawbox=c=black:x=0:y=45:w=80:h=45:t=fill,drawbox=c=white:x=80:y=45:w=80:h=45:t=fill"
    graph = f"{colours};{''.join(f'[{colour}]' for colour in COLOURS)}concat=n=3,{lower}[v]"
    subprocess.run(
        [ffmpeg, "-v", "error", "-filter_complex", f"{graph};sine=d=3[a]", "-map", "[v]", "-map", "[a]", path],
        check=True,
    )
    return path


def frames(ffmpeg: Path, probe: Probe) -> npt.NDArray[np.uint8]:
    command = [ffmpeg, "-v", "error", "-i", probe.path, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, probe.height, probe.width, 3)


def colour_of(picture: npt.NDArray[np.uint8]) -> str:
    mean = picture.reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


def joined(
    ffmpeg: Path, prober: Prober, x264: Encoder, folder: Path, *items: Item, size: tuple[int, int] | None = None,
    crossfade_s: float = 0,
) -> compiling.Joined:  # fmt: skip
    return compiling.join(
        ffmpeg, prober, items, folder / "out.partial.mp4", workdir=folder, choose_way=lambda: Way(x264),
        preset="ultrafast", crf=20, size=size, crossfade_s=crossfade_s,
    )  # fmt: skip


def test_parts_are_shown_in_their_order_and_no_more_of_them(
    ffmpeg: Path, prober: Prober, x264: Encoder, traffic_light: Path, tmp_path: Path
) -> None:
    source = prober.probe(traffic_light)
    parts = [Item(source, start_s=2.2, length_s=0.6), Item(source, start_s=0.2, length_s=0.4)]
    made = joined(ffmpeg, prober, x264, tmp_path, *parts)
    shown = frames(ffmpeg, made.result)
    assert [colour_of(picture[:40]) for picture in shown] == ["blue"] * 15 + ["red"] * 10
    assert made.result.duration_s == pytest.approx(1.0, abs=0.1)
    assert made.starts_s == pytest.approx((0, 0.6))


def test_a_part_that_is_faded_still_begins_where_it_should(
    ffmpeg: Path, prober: Prober, x264: Encoder, traffic_light: Path, tmp_path: Path
) -> None:
    source = prober.probe(traffic_light)
    parts = [Item(source, start_s=1.1, length_s=0.8), Item(source, start_s=2.1, length_s=0.8)]
    made = joined(ffmpeg, prober, x264, tmp_path, *parts, crossfade_s=0.2)
    seen = [colour_of(picture[:40]) for picture in frames(ffmpeg, made.result)]
    assert (seen[0], seen[-1], len(seen)) == ("lime", "blue", 35)
    assert "red" not in seen


def test_only_titled_parts_open_chapters(
    ffmpeg: Path, prober: Prober, x264: Encoder, traffic_light: Path, tmp_path: Path
) -> None:
    source = prober.probe(traffic_light)
    parts = [Item(source, title, start_s=n, length_s=0.5) for n, title in enumerate(("One", None, "Two"))]
    assert joined(ffmpeg, prober, x264, tmp_path, *parts).result.chapters == 2


def test_a_framed_part_shows_what_is_inside_the_frame_as_it_moves(
    ffmpeg: Path, prober: Prober, x264: Encoder, traffic_light: Path, tmp_path: Path
) -> None:
    """The lower right corner first, then over to the left, and in the end a jump back."""
    source = prober.probe(traffic_light)
    points = ((1.0, 0.75, 0.75), (1.4, 0.75, 0.75), (1.8, 0.25, 0.75), (2.6, 0.25, 0.75), (2.6, 0.75, 0.75))
    part = Item(source, start_s=1.0, length_s=2.0, framing=Framing(0.4, 0.4, points))
    made = joined(ffmpeg, prober, x264, tmp_path, part, size=(64, 36))
    assert (made.result.width, made.result.height) == (64, 36)
    light = [float(picture.mean()) for picture in frames(ffmpeg, made.result)]
    assert light[5] > 240
    assert light[30] < 15
    assert light[-3] > 240


def test_a_whole_source_of_another_size_is_scaled(
    ffmpeg: Path, prober: Prober, x264: Encoder, clips: Clips, tmp_path: Path
) -> None:
    made = joined(ffmpeg, prober, x264, tmp_path, Item(prober.probe(clips.plain)), size=(80, 46))
    assert (made.result.width, made.result.height) == (80, 46)
