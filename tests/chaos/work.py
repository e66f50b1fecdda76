"""The jobs of a chaos run and the clips that they work on: every type that makes or changes a file, in a mix."""

import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from jobqueue_bridge import videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobType
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.media.files import sha256

# Enough retries that kills alone hardly use them up; every fifth job has the default, and may end as failed.
_GENEROUS, _DEFAULT = 60, 3
_SIZES = ("320x180", "256x144", "180x320", "240x180")
_POLICY = {"target_video_codec": "hevc", "preset": "medium", "on_larger": "keep-result"}
# Of a hundred jobs, besides the three scans that begin.
_SHARES = {
    JobType.SCAN: 6,
    JobType.VALIDATE: 10,
    JobType.THUMBNAIL_GENERATE: 8,
    JobType.REENCODE_STREAMING: 24,
    JobType.COMPILE_GIF: 14,
    JobType.COMPILE_RANDOM: 8,
    JobType.COMPILE_QUAD: 6,
    JobType.COMPILE_MEGA: 4,
    JobType.MOVE_TO_LIBRARY: 8,
    JobType.TRANSCODE: 12,
}
FIRST_SCANS = ("library/videos", "library/films", "library/private")


@dataclass
class Footage:
    """What lies in the library before the first job, by folder; paths relative to the library."""

    sources: list[str] = field(default_factory=list)
    films: list[str] = field(default_factory=list)
    movers: list[str] = field(default_factory=list)
    unscanned: list[str] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)


def counts(jobs: int) -> dict[JobType, int]:
    """How many of each type make up `jobs`, the first scans included."""
    left = jobs - len(FIRST_SCANS)
    found = {kind: max(1, left * share // 100) for kind, share in _SHARES.items()}
    found[JobType.REENCODE_STREAMING] += left - sum(found.values())
    assert all(count > 0 for count in found.values()), f"{jobs} jobs are too few for a mix"
    return found


def make_footage(settings: Settings, rng: random.Random, wanted: dict[JobType, int]) -> Footage:
    footage = Footage()
    root, ffmpeg = settings.media_library_path, find_ffmpeg(settings.ffmpeg_binary or None)
    sources = max(4, wanted[JobType.THUMBNAIL_GENERATE], -(-wanted[JobType.VALIDATE] // 2))
    for number in range(sources):
        path = root / f"library/videos/source-{number:02}.mp4"
        _encode(ffmpeg, path, rng.choice(_SIZES), rng.choice((1, 1.5, 2, 3)), 200 + 20 * number)
        footage.sources.append(str(path.relative_to(root)))
    bases = cycle(footage.sources)
    for folder, kind, listed in (
        ("library/films", JobType.TRANSCODE, footage.films),
        ("library/private", JobType.MOVE_TO_LIBRARY, footage.movers),
        ("library/studios", JobType.SCAN, footage.unscanned),
    ):
        for number in range(wanted[kind]):
            own = f"{folder}/{number:02}" if kind is JobType.SCAN else folder
            path = root / f"{own}/{kind.value}-{number:02}.mp4"
            _copy(ffmpeg, root / next(bases), path)
            listed.append(str(path.relative_to(root)))
    originals = (*footage.films, *footage.movers, *footage.sources)
    footage.sha256 = {path: sha256(root / path) for path in originals}
    return footage


def _encode(ffmpeg: Path, path: Path, size: str, seconds: float, tone: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture, sound = f"testsrc2=s={size}:r=25:d={seconds}", f"sine=f={tone}:d={seconds}"
    _run(
        ffmpeg, "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-c:v", "libx264", "-preset", "ultrafast",
        "-pix_fmt", "yuv420p", "-c:a", "aac", "-metadata", f"title={path.stem}", path,
    )  # fmt: skip


def _copy(ffmpeg: Path, source: Path, path: Path) -> None:
    """The same pictures in another file: what is known of one content must not answer for another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _run(ffmpeg, "-i", source, "-c", "copy", "-metadata", f"title={path.stem}", path)


def _run(ffmpeg: Path, *arguments: object) -> None:
    subprocess.run([str(ffmpeg), "-v", "error", "-y", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


def first_scans() -> list[NewJob]:
    return [NewJob(JobType.SCAN.value, {"path": folder}, max_retries=_GENEROUS) for folder in FIRST_SCANS]


def requests(settings: Settings, rng: random.Random, footage: Footage, wanted: dict[JobType, int]) -> list[NewJob]:
    """Every job but the first scans, shuffled; the videos are known by now."""
    with engine_for(settings).connect() as connection:
        named = {path: videos.id_by_path(connection, path) for path in footage.sha256}
    ids = {path: str(found) for path, found in named.items() if found is not None}
    assert len(ids) == len(named), sorted(set(named) - set(ids))
    asked = [
        NewJob(
            kind.value,
            params,
            priority=rng.randint(1, 10),
            max_retries=_DEFAULT if rng.random() < 0.2 else _GENEROUS,
        )
        for kind, count in wanted.items()
        for params in islice(_params(kind, rng, footage, ids), count)
    ]
    rng.shuffle(asked)
    return asked


def _params(kind: JobType, rng: random.Random, footage: Footage, ids: dict[str, str]) -> Iterator[dict[str, Any]]:
    sources = [ids[path] for path in footage.sources]
    match kind:
        case JobType.SCAN:
            yield from ({"path": path.rpartition("/")[0]} for path in footage.unscanned)
        case JobType.VALIDATE:
            yield from ({"videoId": video, "checksum": checksum} for checksum in (False, True) for video in sources)
        case JobType.THUMBNAIL_GENERATE:
            yield from ({"videoId": video} for video in sources)
        case JobType.MOVE_TO_LIBRARY:
            yield from ({"videoId": ids[path], "directoryType": "curated"} for path in footage.movers)
        case JobType.TRANSCODE:
            yield from ({"videoId": ids[path], "policy": _POLICY} for path in footage.films)
        case _:
            for number in range(10_000):
                yield _made_of(kind, rng, sources, number)


def _made_of(kind: JobType, rng: random.Random, sources: Sequence[str], number: int) -> dict[str, Any]:
    few = {"preset": rng.choice(("medium", "slow", "veryslow"))}
    match kind:
        case JobType.REENCODE_STREAMING:
            return {"videoId": rng.choice(sources), "outputPath": f"playback/re-{number:03}.mp4", **few}
        case JobType.COMPILE_GIF:
            return {"videoId": rng.choice(sources), "duration": 1, "outputPath": f"gifs/gif-{number:03}.gif"}
        case JobType.COMPILE_RANDOM:
            named = {"outputPath": f"compilations/r-{number:03}.mp4"} if number % 2 else {}
            return {"count": 3, "directoryType": "videos", "seed": rng.randrange(1000), **named}
        case JobType.COMPILE_QUAD:
            return {"videoIds": rng.sample(sources, 4), "width": 320, "height": 180, **few}
        case JobType.COMPILE_MEGA:
            return {"videoIds": rng.sample(sources, 3), "levelLoudness": False, **few}
    raise AssertionError(kind)
