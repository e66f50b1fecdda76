"""What was made of each instant of a schedule. One instant makes one job at most: it is noted in the transaction that
makes the job, and whoever comes to it again, after a crash or from a second daemon, is told what was made."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge.tables import schedule_ticks

_KEPT = timedelta(days=30)
# Clocks of two hosts may differ by so much.
_NOT_YET = timedelta(minutes=5)


@dataclass(frozen=True)
class Tick:
    job_id: UUID | None
    said: str


def take(connection: sa.Connection, name: str, at: datetime) -> Tick | None:
    """None: this instant is the caller's to act on, in this transaction; else what was made of it already.

    Of two that take it at the same time the second waits for the first one's end.
    """
    mine = sa.and_(schedule_ticks.c.schedule == name, schedule_ticks.c.at == at)
    new = pg.insert(schedule_ticks).values(schedule=name, at=at, said="").on_conflict_do_nothing()
    if connection.scalar(new.returning(schedule_ticks.c.schedule)) is not None:
        _forget_old(connection, name, at)
        return None
    return Tick(*connection.execute(sa.select(schedule_ticks.c.job_id, schedule_ticks.c.said).where(mine)).one())


def note(connection: sa.Connection, name: str, at: datetime, tick: Tick) -> None:
    mine = sa.and_(schedule_ticks.c.schedule == name, schedule_ticks.c.at == at)
    connection.execute(sa.update(schedule_ticks).where(mine).values(job_id=tick.job_id, said=tick.said))


def is_to_come(connection: sa.Connection, at: datetime) -> bool:
    """Whether the instant lies ahead by the database's clock: somebody tries the schedule out."""
    return bool(connection.scalar(sa.select(sa.literal(at, schedule_ticks.c.at.type) > sa.func.now() + _NOT_YET)))


def _forget_old(connection: sa.Connection, name: str, at: datetime) -> None:
    """Dagster takes up again none but the latest instant of a schedule, and that one is newer than these."""
    old = sa.and_(schedule_ticks.c.schedule == name, schedule_ticks.c.at < at - _KEPT)
    connection.execute(sa.delete(schedule_ticks).where(old))
