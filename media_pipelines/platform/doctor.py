"""What `doctor` looks at: each finding is one line that says how things are and, where they fail, what to do."""

import importlib
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from jobqueue_bridge import vram
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.settings import Settings
from media_pipelines.platform import lock, preflight
from media_pipelines.platform.errors import NotUsable
from media_pipelines.platform.postgres import binaries_for, check_answers


@dataclass(frozen=True)
class Finding:
    check: str
    ok: bool
    text: str


def findings(settings: Settings) -> Iterator[Finding]:
    """One after another, as they are found: the test encodes take a moment."""
    running = lock.holder_of(settings)
    yield _allowed(
        "home", partial(preflight.require_writable, settings.home, "MEDIA_PIPELINES_HOME"), str(settings.home)
    )
    library = settings.media_library_path
    yield _allowed("library", partial(preflight.require_writable, library, "MEDIA_LIBRARY_PATH"), str(library))
    yield from _disks(settings)
    yield from _ports(settings, running)
    yield _database(settings, running)
    yield from _ffmpeg(settings)
    yield _gpu(settings)
    yield from _declared_vram(settings, running)


def _allowed(check: str, require: Callable[[], object], text: str) -> Finding:
    try:
        require()
    except NotUsable as error:
        return Finding(check, ok=False, text=str(error))
    return Finding(check, ok=True, text=text)


def _disks(settings: Settings) -> Iterator[Finding]:
    for folder in dict.fromkeys((settings.home, settings.media_library_path)):
        if folder.exists():
            free_mb = shutil.disk_usage(folder).free // 1024**2
            text = f"{free_mb:,} MB free at {folder}"
            yield _allowed("disk", partial(preflight.require_free_space, folder), text)


def _ports(settings: Settings, running: lock.Holder | None) -> Iterator[Finding]:
    for host, port, variable in preflight.listeners(settings):
        if running:
            yield Finding("port", ok=True, text=f"{port} on {host}: ours (pid {running.pid})")
        else:
            text = f"{port} on {host} is free"
            yield _allowed("port", partial(preflight.require_free_port, host, port, variable), text)


def _database(settings: Settings, running: lock.Holder | None) -> Finding:
    if settings.embedded and not running:
        binaries = "embedded Postgres, not running: `media-pipelines up` starts it"
        return _allowed("database", partial(binaries_for, settings.postgres_data), binaries)
    try:
        check_answers(settings.queue_url)
    except DatabaseUnreachable as error:
        advice = "see postgres.log" if settings.embedded else "check DATABASE_URL and that server"
        return Finding("database", ok=False, text=f"{error}: {advice}")
    return Finding("database", ok=True, text=f"{settings.queue_url.render_as_string()} answers")


def _ffmpeg(settings: Settings) -> Iterator[Finding]:
    from media_pipelines.media.encoder_flags import ENCODERS
    from media_pipelines.media.encoders import available
    from media_pipelines.media.errors import FfmpegMissing
    from media_pipelines.media.ffmpeg import find_ffmpeg, version

    try:
        ffmpeg = find_ffmpeg(settings.ffmpeg_binary)
        yield Finding("ffmpeg", ok=True, text=f"{version(ffmpeg)} at {ffmpeg}")
    except FfmpegMissing as error:
        yield Finding("ffmpeg", ok=False, text=f"{error}: set FFMPEG_BINARY, or install ffmpeg")
        return
    trials = available(ffmpeg)
    one_works = any(failure is None for _, failure in trials)
    for name, failure in trials:
        yield _encoder(name, failure, one_works=one_works)
    for codec in sorted(ENCODERS.keys() - {"h264"}):
        working = [name for name, failure in available(ffmpeg, codec) if failure is None]
        text = (
            f"{codec} by {', '.join(working)}" if working else f"nothing encodes {codec}: policies must not ask for it"
        )
        yield Finding("encoder", ok=True, text=text)


def _encoder(name: str, failure: str | None, *, one_works: bool) -> Finding:
    if failure is None:
        return Finding("encoder", ok=True, text=f"{name}: a test encode succeeded")
    if one_works:
        return Finding("encoder", ok=True, text=f"{name}: not usable here ({failure}); another one is used")
    return Finding("encoder", ok=False, text=f"{name}: {failure}: set FFMPEG_BINARY to an ffmpeg with H.264 encoders")


def _gpu(settings: Settings) -> Finding:
    pynvml = _nvml()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Finding("gpu", ok=True, text=f"no NVIDIA GPU: declared VRAM decides ({settings.total_vram_mb} MB)")
    try:
        devices = [_device(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return Finding("gpu", ok=False, text=f"the NVIDIA driver answers {error}: check it with nvidia-smi")
    finally:
        pynvml.nvmlShutdown()
    return Finding("gpu", ok=True, text=", ".join(devices) or "no NVIDIA GPU: declared VRAM decides")


def _declared_vram(settings: Settings, running: lock.Holder | None) -> Iterator[Finding]:
    """What the jobs' types declare, held against what was measured; nothing where the database does not answer."""
    if settings.embedded and not running:
        return
    try:
        with engine_for(settings).connect() as connection:
            wrong = vram.wrong_declarations(connection)
    except SQLAlchemyError:  # the line about the database says why
        return
    for line in wrong:
        yield Finding("vram", ok=True, text=line)


def _nvml() -> Any:
    """NVIDIA's own binding. The package of the same name warns on import that it only wraps it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return importlib.import_module("pynvml")


def _device(pynvml: Any, index: int) -> str:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return f"{pynvml.nvmlDeviceGetName(handle)}, {memory.free // 1024**2:,} of {memory.total // 1024**2:,} MB free"
