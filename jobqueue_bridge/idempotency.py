"""A request that names a key is carried out once: its repetition gets the first answer again.

As in the IETF's draft of the Idempotency-Key header. The key is stored in the transaction of what it stands for, so
that there is neither a key without a job nor a job without its key; of two at the same time the second one waits.
"""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.tables import idempotency_keys

KEPT = timedelta(hours=24)
_FORGOTTEN_AT_ONCE = 100


class KeyReused(QueueError):
    """The key stands for another request."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"The Idempotency-Key {key!r} was used for another request: a new request needs a new key")


def earlier_answer(connection: sa.Connection, who: str, key: str, request: str) -> Any | None:
    """What was answered to this request before; None: it is new, and its answer is to be remembered. Raises
    KeyReused."""
    _forget_old(connection)
    mine = sa.and_(idempotency_keys.c.who == who, idempotency_keys.c.key == key)
    new = pg.insert(idempotency_keys).values(who=who, key=key, request=request).on_conflict_do_nothing()
    if connection.scalar(new.returning(idempotency_keys.c.key)) is not None:
        return None
    stored, answer = connection.execute(
        sa.select(idempotency_keys.c.request, idempotency_keys.c.answer).where(mine)
    ).one()
    if stored != request:
        raise KeyReused(key)
    return answer


def remember(connection: sa.Connection, who: str, key: str, answer: Any) -> None:
    mine = sa.and_(idempotency_keys.c.who == who, idempotency_keys.c.key == key)
    connection.execute(sa.update(idempotency_keys).where(mine).values(answer=answer))


def _forget_old(connection: sa.Connection) -> None:
    """A few with each request: no key is kept much longer than promised while requests come."""
    old = (
        sa.select(idempotency_keys.c.who, idempotency_keys.c.key)
        .where(idempotency_keys.c.created_at < sa.func.now() - KEPT)
        .order_by(idempotency_keys.c.created_at)
        .limit(_FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    mine = sa.tuple_(idempotency_keys.c.who, idempotency_keys.c.key)
    connection.execute(sa.delete(idempotency_keys).where(mine.in_(old)))
