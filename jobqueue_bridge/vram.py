"""What jobs really need of GPU memory: measured in each attempt, learned per kind of work, held against what they
declare."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge.devices import VRAM_UNIT_MB
from jobqueue_bridge.tables import vram_learned
from jobqueue_bridge.vocabulary import NEEDS, JobType

_RECENT = 20
_TOO_LITTLE = 1.1  # a tenth more than declared is within what drivers round
_RAISE_BY = 1.5
_ENOUGH_RUNS = 3
_CLASSES = (480, 720, 1080, 1440, 2160, 4320)


@dataclass(frozen=True)
class Work:
    """What memory depends on. `codec` and `resolution` are of what is encoded, and empty where nothing is."""

    type: str
    codec: str = ""
    resolution: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.type, self.codec, self.resolution)))


@dataclass(frozen=True)
class Learned:
    """What the completed runs of one kind of work took. `recent_max_mb` is that of the newest twenty."""

    work: Work
    runs: int
    max_mb: int
    recent_max_mb: int


def resolution_class(width: int, height: int) -> str:
    """By the shorter side, as people name it: 1920×1080 and 1080×1920 are "1080p"."""
    return f"{next((lines for lines in _CLASSES if min(width, height) <= lines), _CLASSES[-1])}p"


def misdeclared(declared_mb: int, peak_mb: int) -> str | None:
    """What is wrong with a declaration, given what was used; None: nothing worth a word.

    Too much is more than twice what was used, and a whole unit at least.
    """
    if peak_mb > declared_mb * _TOO_LITTLE:
        return f"{peak_mb} MB of GPU memory were used, only {declared_mb} MB are declared"
    if declared_mb > 2 * peak_mb and declared_mb - peak_mb >= VRAM_UNIT_MB:
        return f"only {peak_mb} MB of GPU memory were used, {declared_mb} MB are declared"
    return None


def raised(reserved_mb: int, learned_mb: int | None, budget_mb: int) -> int | None:
    """What to reserve after `reserved_mb` were too few: what was learned, else half as much again, in whole units and
    at most the budget. None: it had the whole budget."""
    if reserved_mb >= budget_mb:
        return None
    wanted = learned_mb if learned_mb and learned_mb > reserved_mb else max(reserved_mb * _RAISE_BY, VRAM_UNIT_MB)
    return min(-(-int(wanted) // VRAM_UNIT_MB) * VRAM_UNIT_MB, budget_mb)


def learn(connection: sa.Connection, work: Work, peak_mb: int) -> None:
    """Count one completed run."""
    first = pg.insert(vram_learned).values(
        type=work.type, codec=work.codec, resolution=work.resolution, runs=1, max_mb=peak_mb, recent_mb=[peak_mb]
    )
    newest = sa.func.array_cat(first.excluded.recent_mb, vram_learned.c.recent_mb)
    connection.execute(
        first.on_conflict_do_update(
            index_elements=[vram_learned.c.type, vram_learned.c.codec, vram_learned.c.resolution],
            set_={
                "runs": vram_learned.c.runs + 1,
                "max_mb": sa.func.greatest(vram_learned.c.max_mb, first.excluded.max_mb),
                "recent_mb": sa.func.trim_array(
                    newest, sa.func.greatest(sa.func.cardinality(vram_learned.c.recent_mb) + 1 - _RECENT, 0)
                ),
                "updated_at": sa.func.now(),
            },
        )
    )


def learned(connection: sa.Connection, work: Work) -> Learned | None:
    """None: no run of this kind has been measured."""
    rows = connection.execute(
        sa.select(vram_learned).where(
            vram_learned.c.type == work.type,
            vram_learned.c.codec == work.codec,
            vram_learned.c.resolution == work.resolution,
        )
    )
    return next(map(_learned, rows), None)


def wrong_declarations(connection: sa.Connection) -> Sequence[str]:
    """A line for each kind of work whose type declares too little or too much, once enough runs have said so."""
    rows = connection.execute(sa.select(vram_learned).where(vram_learned.c.runs >= _ENOUGH_RUNS).order_by(*_KEY))
    return [line for row in rows if (line := _wrong(_learned(row)))]


_KEY = (vram_learned.c.type, vram_learned.c.codec, vram_learned.c.resolution)


def _learned(row: sa.Row[tuple[object, ...]]) -> Learned:
    return Learned(Work(row.type, row.codec, row.resolution), row.runs, row.max_mb, max(row.recent_mb))


def _wrong(found: Learned) -> str | None:
    if found.work.type not in NEEDS:
        return None
    problem = misdeclared(NEEDS[JobType(found.work.type)].vram_mb, found.recent_max_mb)
    return problem and f"{found.work}: in {found.runs} runs at most {problem}"
