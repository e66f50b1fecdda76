"""The five types that look at videos, through the queue: on a generated film of half an hour, and on every file of the
folder that `MEDIA` names. Some twenty minutes: it runs only where it is asked for by name."""

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from uuid import UUID

import psutil

from bench.figures import Figure
from bench.jobs import run_ffmpeg, scanned
from jobqueue_bridge import queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import FINAL, JobStatus
from media_pipelines import run_process
from media_pipelines.media.commands.pieces import concat_list
from media_pipelines.media.ffmpeg import find_ffmpeg
from tests.truth.corpus import films
from tests.truth.render import render

_MINUTES = 30
_SIZE = (1280, 720)
_SPEED, _AGAIN = 4.0, 10.0
_SEED = 11
# Each look at the rendered films that is new to a network: mirrored or not, in another light.
_LIGHTS = ("null", "hue=h=40", "hue=s=0.4", "eq=gamma=1.5")
_LOOKS = [f"{light},{turned}" for light, turned in product(_LIGHTS, ("null", "hflip"))]
_PAUSE_S = 0.25


def measure(settings: Settings) -> list[Figure]:
    folder = settings.media_library_path / "library/videos"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_film(settings, folder / "half-an-hour.mp4")]
    given = Path(os.environ["MEDIA"]) if os.environ.get("MEDIA") else None
    for path in sorted(given.glob("*.mp4")) if given else []:
        paths.append(folder / path.name)
        shutil.copyfile(path, paths[-1])
    pairs = zip(paths, scanned(settings, paths), strict=True)
    return [figure for path, video_id in pairs for figure in _looked_at(settings, path, video_id)]


def _looked_at(settings: Settings, path: Path, video_id: UUID) -> list[Figure]:
    with engine_for(settings).connect() as connection:
        length_s = videos.get(connection, video_id).duration_seconds or 0.0
    target_s = max(2.0, round(min(60.0, length_s / 3), 1))
    clips = {"count": 3, "minLength": min(5.0, target_s / 2), "maxLength": target_s, "aspect": "9:16"}
    wanted: list[tuple[str, dict[str, object]]] = [
        ("scene_extract", {}),
        ("tag_generation", {}),
        ("highlight_generate", {"targetLength": target_s}),
        ("clip_generate", clips),
        ("digest_generate", {"targetLength": target_s}),
    ]
    ran = [_ran(settings, kind, {"videoId": str(video_id), **params}) for kind, params in wanted]
    first, second = ran[0], ran[1]
    figures = [
        Figure(
            f"{path.stem}: {kind}",
            f"{job.status}, {took_s:.1f} s, peak {peak_mb} MB",
            "completed",
            job.status == JobStatus.COMPLETED,
        )
        for (kind, _), (job, took_s, peak_mb) in zip(wanted, ran, strict=True)
    ]
    if length_s >= _MINUTES * 60 - 1:
        speed, faster = length_s / first[1], first[1] / second[1]
        figures += [
            Figure(f"{path.stem}: first job", f"{speed:.1f} × real time", f"≥ {_SPEED:g} ×", speed >= _SPEED),
            Figure(f"{path.stem}: second job", f"{faster:.0f} × faster", f"≥ {_AGAIN:g} ×", faster >= _AGAIN),
        ]
    return figures


def _ran(settings: Settings, kind: str, params: dict[str, object]) -> tuple[queue.Job, float, int]:
    """The job when it has ended, its seconds from the claim to the end, and the most memory of its run in MB."""
    engine = engine_for(settings)
    with engine.begin() as connection:
        job = queue.enqueue(connection, NewJob(kind, params), settings)
    peak = 0
    while job.status not in FINAL:
        peak = max(peak, _memory(settings, job))
        time.sleep(_PAUSE_S)
        with engine.begin() as connection:
            job = queue.get(connection, job.id)
    took_s = (job.completed_at - job.started_at).total_seconds() if job.completed_at and job.started_at else 0.0
    return job, took_s, peak // 1024**2


def _memory(settings: Settings, job: queue.Job) -> int:
    """Of the run's process and of those that it started, in bytes; 0 while there is none."""
    process_id = run_process.pid_of(settings.runs_dir, job.run_id) if job.run_id else None
    if process_id is None:
        return 0
    with suppress(psutil.Error):
        process = psutil.Process(process_id)
        return sum(int(one.memory_info().rss) for one in (process, *process.children(recursive=True)))
    return 0


# The film: one seed's corpus, seen in eight ways, one after the other.


def _film(settings: Settings, path: Path) -> Path:
    ffmpeg, folder = find_ffmpeg(settings.ffmpeg_binary or None), settings.home / "film"
    corpus = folder / "corpus.mp4"
    _join(ffmpeg, [render(film, ffmpeg, folder, _SIZE).path for film in films(_SEED)], corpus)
    seen = [folder / f"look-{number}.mp4" for number in range(len(_LOOKS))]
    for look, one in zip(_LOOKS, seen, strict=True):
        how = ("-vf", f"{look},format=yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-c:a", "copy")
        run_ffmpeg(ffmpeg, "-i", corpus, *how, one)
    _join(ffmpeg, seen, path, "-t", str(_MINUTES * 60))
    shutil.rmtree(folder)
    return path


def _join(ffmpeg: Path, parts: Sequence[Path], path: Path, *limit: str) -> None:
    listed = path.with_suffix(".ffconcat")
    listed.write_text(concat_list(parts))
    run_ffmpeg(ffmpeg, "-f", "concat", "-safe", "0", "-i", listed, *limit, "-c", "copy", path)
    listed.unlink()
