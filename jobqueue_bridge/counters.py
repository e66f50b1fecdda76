"""What was counted since the database was made: triggers append, this reads, and folds many rows into one of a kind."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from jobqueue_bridge.tables import job_counters

# As migration 0009 has them.
BOUNDS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0)
_FOLDED_ABOVE = 1000


@dataclass
class Counter:
    """How often something happened, and what it summed up to: seconds, by bucket, or bytes."""

    n: int = 0
    total: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    """Not cumulative; the last is of what is beyond every bound."""


@dataclass(frozen=True)
class Kind:
    event: str
    type: str
    resource_category: str


def read(connection: sa.Connection) -> Mapping[Kind, Counter]:
    columns = job_counters.c
    kind = (columns.event, columns.type, columns.resource_category)
    rows = connection.execute(
        sa.select(*kind, columns.bucket, sa.func.sum(columns.n), sa.func.sum(columns.total)).group_by(
            *kind, columns.bucket
        )
    )
    found: dict[Kind, Counter] = defaultdict(Counter)
    for event, job_type, category, bucket, n, total in rows:
        counter = found[Kind(event, job_type, category)]
        counter.n += int(n)
        counter.total += total
        counter.buckets[bucket] += int(n)
    return found


def fold(connection: sa.Connection, table: sa.Table, sums: Iterable[str]) -> None:
    """Many rows of sums into one for each kind. They stay exact whoever reads or folds at the same time."""
    if (connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0) <= _FOLDED_ABOVE:
        return
    kind = [column.name for column in table.c if column.name not in sums]
    rows = sa.delete(table).returning(*table.c).cte("folded")
    totals = [sa.cast(sa.func.sum(rows.c[name]), table.c[name].type).label(name) for name in sums]
    folded = sa.select(*(rows.c[name] for name in kind), *totals).group_by(*(rows.c[name] for name in kind))
    is_something = sa.or_(*(sa.func.sum(rows.c[name]) != 0 for name in sums))
    connection.execute(sa.insert(table).from_select([*kind, *sums], folded.having(is_something)))
