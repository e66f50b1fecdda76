"""Looks at the queue and at the processes while everything is being killed: what must hold at every moment."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from jobqueue_bridge.admission import units_needed
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.devices import gpu_of
from jobqueue_bridge.settings import Settings
from media_pipelines.tags import CATEGORY_TAG, JOB_TAG
from tests.chaos.victims import LiveRun, Victims, ffmpegs_of

_VRAM_TAG = "media/vram_"
_ROWS = sa.text(
    "SELECT id, status, resource_category AS category, vram_required AS vram_mb, vram_units AS units FROM jobs"
    " WHERE status IN ('queued', 'running') OR status = 'paused' AND lease_token IS NOT NULL"
)
_STATUSES = sa.text("SELECT status, count(*) FROM jobs GROUP BY status")
_UNFINISHED_RUNS = sa.text(
    "SELECT run_id FROM dagster.runs WHERE run_id = ANY(:ids)"
    " AND status IN ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')"
)
_TAGS = sa.text("SELECT run_id, key, value FROM dagster.run_tags WHERE run_id = ANY(:ids)")
AWAY = (sa.exc.DBAPIError, sa.exc.InvalidRequestError)


@dataclass
class Peaks:
    """The most that was seen at one time."""

    rows: Counter[str] = field(default_factory=Counter)
    processes: Counter[str] = field(default_factory=Counter)
    vram_mb: int = 0

    def note(self, into: Counter[str], seen: Mapping[str, int]) -> None:
        for name, count in seen.items():
            into[name] = max(into[name], count)


class Watch:
    def __init__(self, settings: Settings, victims: Victims) -> None:
        self._settings, self._victims = settings, victims
        self._slots = {category.value: count for category, count in settings.slots.items()}
        self.samples = 0
        self.misses = 0
        self.statuses: Counter[str] = Counter()
        self.peaks = Peaks()
        self.broken: Counter[str] = Counter()

    def sample(self) -> None:
        """One look; counts as missed where the database does not answer."""
        runs = self._victims.runs()
        try:
            with engine_for(self._settings).connect() as connection:
                rows = [dict(row._mapping) for row in connection.execute(_ROWS)]
                tags = self._tags(connection, runs)
                self.statuses = Counter({row[0]: row[1] for row in connection.execute(_STATUSES)})
        except AWAY:
            self.misses += 1
            return
        self.samples += 1
        self._check_rows(rows)
        self._check_processes(tags)

    def _tags(self, connection: sa.Connection, runs: list[LiveRun]) -> list[dict[str, str]]:
        """Of each run whose process works: one that Dagster takes for unfinished, or that has an ffmpeg. A process that
        has ended its run takes a moment to end itself."""
        ids = [run.run_id for run in runs]
        unfinished = set(connection.scalars(_UNFINISHED_RUNS, {"ids": ids}))
        working = [run.run_id for run in runs if run.run_id in unfinished or ffmpegs_of(run.process)]
        found: dict[str, dict[str, str]] = {run_id: {} for run_id in working}
        for run_id, key, value in connection.execute(_TAGS, {"ids": working}):
            found[run_id][key] = value
        return list(found.values())

    def _check_rows(self, rows: list[dict[str, Any]]) -> None:
        running = Counter(row["category"] for row in rows if row["status"] != "queued")
        self.peaks.note(self.peaks.rows, running)
        self._within_slots(running, "rows")
        vram_mb = sum(row["vram_mb"] or 0 for row in rows)
        self.peaks.vram_mb = max(self.peaks.vram_mb, vram_mb)
        self._require(vram_mb <= self._settings.total_vram_mb, f"{vram_mb} MB of VRAM held by active rows")
        for device in self._settings.devices:
            on_it = sum(row["vram_mb"] or 0 for row in rows if gpu_of((row["units"] or [0])[0]) == device.index)
            self._require(on_it <= device.vram_mb, f"{on_it} MB of VRAM held by active rows on {device}")
        units = [unit for row in rows for unit in row["units"] or ()]
        self._require(len(units) == len(set(units)), "a unit of VRAM held by two rows")
        short = [row for row in rows if len(row["units"] or ()) != units_needed(row["vram_mb"] or 0)]
        self._require(not short, "a row holds fewer units of VRAM than it needs")

    def _check_processes(self, tags: list[dict[str, str]]) -> None:
        working = Counter(of_run.get(CATEGORY_TAG, "?") for of_run in tags)
        self.peaks.note(self.peaks.processes, working)
        self._within_slots(working, "live runs")
        units = [key for of_run in tags for key in of_run if key.startswith(_VRAM_TAG)]
        self._require(len(units) == len(set(units)), "a unit of VRAM held by two live runs")
        twice = _more_than_once(of_run.get(JOB_TAG, "?") for of_run in tags)
        self._require(not twice, f"two live runs of one job: {', '.join(twice)}")

    def _within_slots(self, used: Mapping[str, int], whose: str) -> None:
        for category, count in used.items():
            slots = self._slots.get(category, 0)
            self._require(count <= slots, f"{count} {whose} in {slots} slots of {category}")

    def _require(self, kept: bool, otherwise: str) -> None:
        if not kept:
            self.broken[otherwise] += 1


def _more_than_once(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
