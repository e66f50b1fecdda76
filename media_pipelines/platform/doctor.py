"""What `doctor` looks at: each finding is one line that says how things are and, where they fail, what to do."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from jobqueue_bridge import nvml, vram
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.devices import Device
from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.settings import Settings
from media_pipelines import nvidia
from media_pipelines.platform import lock, preflight
from media_pipelines.platform.errors import NotUsable
from media_pipelines.platform.postgres import binaries_for, check_answers

if TYPE_CHECKING:
    from jobqueue_bridge.condition import OldestTransaction, Rows, Waiting

# A queue slows down from some ten thousand dead rows on; a fifth is where Postgres itself begins to clear away.
_DEAD_AT_MOST, _DEAD_SHARE = 10_000, 0.2
_TRANSACTION_AT_MOST_S = 600
_STUCK_AFTER_S = 86_400
_TABLES_AT_MOST_BYTES = 20e9


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
    database = _database(settings, running)
    yield database
    if database.ok and (running or not settings.embedded):
        yield from _queue(settings)
    if running and database.ok:
        yield _ticks(settings)
    yield from _ffmpeg(settings)
    yield from _gpus(settings)
    yield from _declared_vram(settings, running)
    yield _analysis(settings)


def _ticks(settings: Settings) -> Finding:
    from media_pipelines.platform import ticks

    failing = ticks.failing(settings)
    said = "; ".join(failing) or "the latest tick of every sensor and schedule went well"
    return Finding("ticks", ok=not failing, text=said)


def _analysis(settings: Settings) -> Finding:
    """Which engines would serve, without loading them."""
    from media_pipelines.ai import inventory
    from media_pipelines.ai.engines.choosing import wishes
    from media_pipelines.ai.errors import BadReference

    try:
        roles = list(inventory.served(wishes(settings), load=False))
    except BadReference as error:
        return Finding("analysis", ok=False, text=f"MEDIA_AI_ENGINES: {error}")
    if damaged := [one for one in inventory.carried() if one.damaged]:
        what = "; ".join(f"{one.name}: {one.problem}" for one in damaged)
        return Finding("analysis", ok=False, text=f"{what}: install {damaged[0].distribution} again")
    others = [f"{one.role} by {one.serves}" for one in roles if one.serves != one.wanted]
    if others:
        text = f"{', '.join(others)}: what is set is not installed (make setup-ai, or see media-pipelines models)"
        return Finding("analysis", ok=True, text=text)
    return Finding("analysis", ok=True, text="every engine that is set is there")


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


def _queue(settings: Settings) -> Iterator[Finding]:
    """How the tables are that everything waits for: dead rows slow a queue down, not waiting ones."""
    import sqlalchemy as sa

    from jobqueue_bridge.condition import look

    try:
        with engine_for(settings).connect() as connection:
            found = look(connection)
    except sa.exc.ProgrammingError:
        yield Finding("queue", ok=True, text="its tables are not there yet: `media-pipelines up` makes them")
        return
    yield from map(_dead_rows, found.rows.items())
    yield _oldest_transaction(found.transaction)
    yield _queue_age(found.waiting)
    yield _size("the queue's tables", found.queue_bytes, "MEDIA_RETENTION_DAYS")
    yield _size("the archive", found.archive_bytes, "MEDIA_ARCHIVE_MONTHS")
    yield _size("Dagster's tables", found.dagster_bytes, "MEDIA_RETENTION_DAYS")


def _dead_rows(named: tuple[str, "Rows"]) -> Finding:
    name, rows = named
    text = f"{name}: {rows.live:,} rows, {rows.dead:,} dead"
    if rows.dead <= _DEAD_AT_MOST + rows.live * _DEAD_SHARE:
        return Finding("queue", ok=True, text=text)
    return Finding("queue", ok=False, text=f"{text}: autovacuum does not keep up; run VACUUM {name}")


def _oldest_transaction(oldest: "OldestTransaction | None") -> Finding:
    if oldest is None:
        return Finding("queue", ok=True, text="no transaction is open")
    text = f"oldest open transaction: {oldest.age_s:,.0f} s, of {oldest.program} (pid {oldest.pid})"
    if oldest.age_s <= _TRANSACTION_AT_MOST_S:
        return Finding("queue", ok=True, text=text)
    advice = f"dead rows cannot be cleared away until it ends; SELECT pg_terminate_backend({oldest.pid}) ends it"
    return Finding("queue", ok=False, text=f"{text}: {advice}")


def _queue_age(waiting: "Waiting") -> Finding:
    if waiting.oldest_ready_s is None:
        return Finding("queue", ok=True, text="no job waits that could start")
    hours = waiting.oldest_ready_s / 3600
    text = f"the oldest job that could start waits for {hours:,.1f} h; {waiting.active} are at work"
    idle_s = waiting.last_start_s
    is_stuck = waiting.oldest_ready_s > _STUCK_AFTER_S and not waiting.active
    if is_stuck and (idle_s is None or idle_s > _STUCK_AFTER_S):
        return Finding("queue", ok=False, text=f"{text}, and none has started for a day: see its Waits in `jobs show`")
    return Finding("queue", ok=True, text=text)


def _size(what: str, size_bytes: int, variable: str) -> Finding:
    text = f"{what}: {size_bytes / 1e6:,.0f} MB"
    if size_bytes <= _TABLES_AT_MOST_BYTES:
        return Finding("queue", ok=True, text=text)
    return Finding("queue", ok=False, text=f"{text}: lower {variable}, or clean up with `media-pipelines jobs cleanup`")


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
    for device in settings.gpus:
        yield _encoder_on(device, lambda: available(ffmpeg, only="nvenc"))
    for codec in sorted(ENCODERS.keys() - {"h264"}):
        working = [name for name, failure in available(ffmpeg, codec) if failure is None]
        text = (
            f"{codec} by {', '.join(working)}" if working else f"nothing encodes {codec}: policies must not ask for it"
        )
        yield Finding("encoder", ok=True, text=text)


def _encoder_on(device: Device, try_out: Callable[[], list[tuple[str, str | None]]]) -> Finding:
    """Cards of one host differ: some have no encoder at all. An encode that does not work there is done in software."""
    told = nvidia.Told(device)
    try:
        ((name, failure),) = try_out()
    finally:
        told.take_back()
    said = "a test encode succeeded" if failure is None else f"not usable there ({failure}); another one is used"
    return Finding("encoder", ok=True, text=f"{name} on {device}: {said}")


def _encoder(name: str, failure: str | None, *, one_works: bool) -> Finding:
    if failure is None:
        return Finding("encoder", ok=True, text=f"{name}: a test encode succeeded")
    if one_works:
        return Finding("encoder", ok=True, text=f"{name}: not usable here ({failure}); another one is used")
    return Finding("encoder", ok=False, text=f"{name}: {failure}: set FFMPEG_BINARY to an ffmpeg with H.264 encoders")


def _gpus(settings: Settings) -> Iterator[Finding]:
    """Where the settings name the GPUs, a line for each; else one for those that there are."""
    pynvml = nvml.library()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        declared = ", ".join(f"{device} {device.vram_mb} MB" for device in settings.gpus)
        text = f"no NVIDIA GPU: declared VRAM decides ({declared or f'{settings.total_vram_mb} MB'})"
        yield Finding("gpu", ok=True, text=text)
        return
    try:
        if settings.gpus:
            yield from (_named_gpu(pynvml, device) for device in settings.gpus)
        else:
            found = [_device(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
            yield Finding("gpu", ok=True, text=", ".join(found) or "no NVIDIA GPU: declared VRAM decides")
    except pynvml.NVMLError as error:
        yield Finding("gpu", ok=False, text=f"the NVIDIA driver answers {error}: check it with nvidia-smi")
    finally:
        pynvml.nvmlShutdown()


def _named_gpu(pynvml: Any, device: Device) -> Finding:
    """Whether there is such a GPU, with as much memory as its budget says."""
    asked = device.uuid or f"index {device.index}"
    try:
        handle = nvml.handle_of(pynvml, device)
        memory, name = pynvml.nvmlDeviceGetMemoryInfo(handle), pynvml.nvmlDeviceGetName(handle)
    except pynvml.NVMLError as error:
        text = f"{device}: the NVIDIA driver finds none of {asked} ({error}): see nvidia-smi -L, set MEDIA_GPU_VRAM_MB"
        return Finding("gpu", ok=False, text=text)
    free_mb, total_mb = memory.free // 1024**2, memory.total // 1024**2
    text = f"{device}: {name}, {free_mb:,} of {total_mb:,} MB free, budget {device.vram_mb:,} MB"
    if device.vram_mb > total_mb:
        return Finding("gpu", ok=False, text=f"{text}: more than it has, lower it in MEDIA_GPU_VRAM_MB")
    return Finding("gpu", ok=True, text=text)


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


def _device(pynvml: Any, index: int) -> str:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return f"{pynvml.nvmlDeviceGetName(handle)}, {memory.free // 1024**2:,} of {memory.total // 1024**2:,} MB free"
