"""A library of thousands of real files in seconds: some films that ffmpeg makes, and copies of them, no two alike.

A copy ends with a box that players pass over and that holds its number, so that contents and fingerprints differ.
"""

import itertools
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from media_pipelines.media.errors import FfmpegFailed
from tests.truth.photos import photo

_YUV = ("-pix_fmt", "yuv420p")
_H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "30", *_YUV)
_HEVC = (
    "-c:v",
    "libx265",
    "-preset",
    "veryfast",
    "-crf",
    "34",
    "-x265-params",
    "log-level=error",
    "-tag:v",
    "hvc1",
    *_YUV,
)
_AV1 = ("-c:v", "libsvtav1", "-preset", "10", "-crf", "45", *_YUV)
_MPEG4 = ("-c:v", "mpeg4", "-q:v", "8")
_WASTEFUL = ("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "4M", *_YUV)
_TONES_HZ = itertools.cycle((196, 220, 262, 294, 330, 392))


@dataclass(frozen=True)
class Kind:
    """What copies are made of: a slow look at a photo. `share`: of a hundred videos."""

    name: str
    folder: str
    photo: str
    size: tuple[int, int]
    seconds: int
    share: int
    video: tuple[str, ...] = _H264
    fps: int = 10
    noise: int = 0
    """As a cheap camera has it, which costs bits."""


CAMCORDER = "library/camcorder"
KINDS = (
    Kind("espresso", "library/videos", "coffee", (640, 360), 8, 30),
    Kind("tabby", "library/videos", "chelsea", (1280, 720), 6, 19),
    Kind("lift-off", "library/series", "rocket", (1280, 720), 12, 15, _HEVC),
    Kind("deep-field", "library/series", "hubble_deep_field", (1920, 1080), 5, 10),
    Kind("portrait", "library/phone", "astronaut", (360, 640), 7, 10),
    Kind("coins", "library/archive", "coins", (480, 360), 10, 10, _MPEG4),
    Kind("retina", "library/public", "retina", (640, 640), 5, 5, _AV1),
    Kind("gravel-road", CAMCORDER, "gravel", (640, 360), 3, 1, _WASTEFUL, fps=25, noise=24),
)


def free_box(number: int) -> bytes:
    """A box of ISO 14496-12 that nobody has to read: size, type, any bytes."""
    content = f"copy {number:08}".encode()
    return (8 + len(content)).to_bytes(4, "big") + b"free" + content


@dataclass(frozen=True)
class Library:
    """Which copies of what it is to hold."""

    originals: Mapping[Kind, bytes]
    numbers: Mapping[Kind, range]

    def write(self, root: Path, chosen: Callable[[Kind], bool] = lambda _: True) -> int:
        """Below the library's root, each under a name that nobody looks at until it is whole. How many there are."""
        kinds = [kind for kind in self.numbers if chosen(kind)]
        for kind in kinds:
            folder = root / kind.folder
            folder.mkdir(parents=True, exist_ok=True)
            for number in self.numbers[kind]:
                unseen = folder / f".{kind.name}-{number:04}.partial"
                unseen.write_bytes(self.originals[kind] + free_box(number))
                unseen.rename(folder / f"{kind.name}-{number:04}.mp4")
        return sum(len(self.numbers[kind]) for kind in kinds)


def library(ffmpeg: Path, scratch: Path, count: int) -> Library:
    """Of so many videos. A kind that this ffmpeg cannot encode is left out, and the first one takes its share."""
    originals = dict(_originals(ffmpeg, scratch))
    return Library(originals, _numbers(list(originals), count))


def _originals(ffmpeg: Path, scratch: Path) -> Iterator[tuple[Kind, bytes]]:
    scratch.mkdir(parents=True, exist_ok=True)
    for number, kind in enumerate(KINDS):
        try:
            yield kind, make_original(ffmpeg, kind, scratch).read_bytes()
        except FfmpegFailed:
            if not number:
                raise


def _numbers(kinds: Sequence[Kind], count: int) -> dict[Kind, range]:
    """Of each kind its share, and all numbers are different."""
    counts = {kind: max(1, count * kind.share // 100) for kind in kinds}
    counts[kinds[0]] += count - sum(counts.values())
    ends = itertools.accumulate(counts.values())
    return {kind: range(end - counts[kind] + 1, end + 1) for kind, end in zip(counts, ends, strict=True)}


def make_original(ffmpeg: Path, kind: Kind, folder: Path) -> Path:
    """Raises FfmpegFailed."""
    picture, path = folder / f"{kind.name}.png", folder / f"{kind.name}.mp4"
    photo(kind.photo).save(picture)
    width, height = kind.size
    filters = [f"scale={width}:{height}:force_original_aspect_ratio=increase", f"crop={width}:{height}"]
    filters += [f"noise=alls={kind.noise}:allf=t"] if kind.noise else []
    command = [
        str(ffmpeg), "-nostdin", "-v", "error", "-y",
        "-loop", "1", "-framerate", str(kind.fps), "-i", f"file:{picture}",
        "-f", "lavfi", "-i", f"sine=frequency={next(_TONES_HZ)}:beep_factor=2:sample_rate=48000",
        "-vf", ",".join(filters), *kind.video,
        "-c:a", "aac", "-b:a", "48k", "-t", str(kind.seconds), f"file:{path}",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if result.returncode != 0:
        raise FfmpegFailed(command, result.returncode, result.stderr.decode(errors="replace").splitlines())
    return path
