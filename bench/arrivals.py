"""The sensors that notice files, on a library of 100,000: idle ticks, a look everywhere, and many files at once."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from bench.figures import Figure, percentile
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.migrations import migrate
from jobqueue_bridge.settings import Settings, Watching
from media_pipelines.platform.postgres import Cluster, ensure_database
from media_pipelines.sensors import arrivals, inbox, library_folders
from media_pipelines.sensors.arrivals import Ground

_DATABASE = "bench_arrivals"
_KNOWN, _FOLDERS, _COPIED = 100_000, 1_000, 5_000
_IDLE_TICKS, _PROMISED_IDLE_MS = 200, 10.0
_PROMISED_TICK_S, _PROMISED_CURSOR_BYTES = 10.0, 25_000
_MOST_SCANS = 2 * _COPIED // 500
_MODIFIED_S = 1_700_000_000


def measure(settings: Settings) -> list[Figure]:
    with _place_of_its_own(settings) as own:
        _fill(own, "library/videos", _KNOWN)
        _know_all(own)
        ticking = _Ticking(library_folders.GROUND, own)
        figures = [*_looking(ticking), *_idling(ticking), *_copying(ticking)]
        _fill(own, "inbox", _KNOWN)
        return [*figures, *_flooding(_Ticking(inbox.GROUND, own))]


class _Ticking:
    """One sensor, evaluated as the code server does it; how long each tick took."""

    def __init__(self, ground: Ground, settings: Settings) -> None:
        self.ground, self.settings = ground, settings
        self.cursor: str | None = None
        self.took_s: list[float] = []
        self.largest_cursor = 0

    def tick(self) -> str:
        began_s = time.monotonic()
        result = arrivals.evaluate(self.ground, self.settings, self.cursor)
        self.took_s.append(time.monotonic() - began_s)
        self.cursor = result.cursor
        self.largest_cursor = max(self.largest_cursor, len(self.cursor or ""))
        return str(result.skip_reason.skip_message if result.skip_reason else "")

    def look_everywhere(self) -> None:
        while "going on" in self.tick():
            pass

    def scans(self) -> tuple[int, int]:
        """How many, and of how many different files."""
        with engine_for(self.settings).connect() as connection:
            counted = connection.execute(
                sa.text(
                    "SELECT count(DISTINCT id), count(DISTINCT path) "
                    "FROM jobs, jsonb_array_elements_text(params->'paths') AS path WHERE origin = :origin"
                ),
                {"origin": self.ground.origin.value},
            ).one()
        return int(counted[0]), int(counted[1])


def _looking(ticking: _Ticking) -> list[Figure]:
    ticking.look_everywhere()
    whole_s, longest_s = sum(ticking.took_s), max(ticking.took_s)
    assert ticking.scans() == (0, 0), "all of them are known"
    return [
        Figure(f"{_KNOWN:,} files: a look everywhere, with the start of the watch", f"{whole_s:.1f} s"),
        Figure(
            f"{_KNOWN:,} files: its longest tick",
            f"{longest_s:.1f} s",
            f"< {_PROMISED_TICK_S:.0f} s",
            longest_s < _PROMISED_TICK_S,
        ),
    ]


def _idling(ticking: _Ticking) -> list[Figure]:
    """In which nothing has happened, by events."""
    ticking.took_s.clear()
    for _ in range(_IDLE_TICKS):
        assert ticking.tick().endswith("By events.")
    p50, p95 = (1_000 * percentile(ticking.took_s, percent) for percent in (50, 95))
    return [
        Figure(
            f"{_KNOWN:,} files: an idle tick, by events",
            f"p50 {p50:.2f} ms, p95 {p95:.2f} ms",
            f"p95 < {_PROMISED_IDLE_MS:.0f} ms",
            p95 < _PROMISED_IDLE_MS,
        )
    ]


def _copying(ticking: _Ticking) -> list[Figure]:
    """Into one folder, a part between every two ticks."""
    ticking.took_s.clear()
    for part in range(50):
        _fill(ticking.settings, f"library/videos/copied-{part:02}", _COPIED // 50, folders=1)
        ticking.tick()
    while ticking.scans()[1] < _COPIED:
        ticking.tick()
        time.sleep(0.1)
    scans, _ = ticking.scans()
    p95 = percentile(ticking.took_s, 95)
    return [
        Figure(f"{_COPIED:,} files copied into library/: scans", f"{scans}", f"≤ {_MOST_SCANS}", scans <= _MOST_SCANS),
        Figure(f"{_COPIED:,} files copied into library/: a tick meanwhile", f"p95 {p95:.2f} s"),
    ]


def _flooding(ticking: _Ticking) -> list[Figure]:
    while ticking.scans()[1] < _KNOWN:
        ticking.tick()
    scans, _ = ticking.scans()
    return [
        Figure(
            f"{_KNOWN:,} files in inbox/ at once: until all have a scan",
            f"{scans} scans in {len(ticking.took_s)} ticks, {sum(ticking.took_s):.0f} s, the longest "
            f"{max(ticking.took_s):.1f} s",
            f"a tick < {_PROMISED_TICK_S:.0f} s",
            max(ticking.took_s) < _PROMISED_TICK_S,
        ),
        Figure(
            f"{_KNOWN:,} files in inbox/ at once: the largest cursor",
            f"{ticking.largest_cursor:,} bytes",
            f"< {_PROMISED_CURSOR_BYTES:,}",
            ticking.largest_cursor < _PROMISED_CURSOR_BYTES,
        ),
    ]


@contextmanager
def _place_of_its_own(settings: Settings) -> Iterator[Settings]:
    """A library and a database beside the platform's, whose sensors would be first otherwise."""
    root = settings.home / "bench-arrivals"
    cluster = Cluster(settings.postgres_data, settings.postgres_socket_dir)
    ensure_database(cluster, _DATABASE)
    url = settings.queue_url.set(drivername="postgresql", database=_DATABASE).render_as_string(hide_password=False)
    own = settings.model_copy(
        update={
            "database_url": url,
            "media_library_path": root,
            "inbox_stable_seconds": 1.0,
            "watch": Watching.EVENTS,
        }
    )
    try:
        migrate(own)
        yield own
    finally:
        arrivals.forget()
        engine_for(own).dispose()
        with engine_for(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)"))
        shutil.rmtree(root, ignore_errors=True)


def _fill(own: Settings, folder: str, count: int, folders: int = _FOLDERS) -> None:
    """Empty files: nobody opens them here."""
    for number in range(count):
        path = own.media_library_path / folder / f"{number % folders:04}" / f"{number:06}.mp4"
        if number < folders:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (_MODIFIED_S, _MODIFIED_S))


def _know_all(own: Settings) -> None:
    paths = [str(path.relative_to(own.media_library_path)) for path in _files(own.media_library_path / "library")]
    with engine_for(own).begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO videos (path, filename, size_bytes, mtime) "
                "SELECT path, path, 0, to_timestamp(:modified_s) FROM unnest(cast(:paths AS text[])) AS path"
            ),
            {"paths": paths, "modified_s": _MODIFIED_S},
        )
        connection.execute(sa.text("ANALYZE videos"))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*.mp4"))
