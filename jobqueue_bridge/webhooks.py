"""Webhooks: every statement on them, and the pure part: when a message is tried again, and how it is signed.

A message is written by a trigger in the transaction that changes the job, so none is lost and none is told of a change
that did not happen. It may be delivered twice, with the same `webhook-id`: where a receiver's answer got lost.
Headers and signature follow the Standard Webhooks specification, version 1 (standardwebhooks.com).
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from standardwebhooks.webhooks import Webhook as Signer

from jobqueue_bridge import tokens
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import webhook_messages as messages
from jobqueue_bridge.tables import webhooks
from jobqueue_bridge.text import instant
from jobqueue_bridge.webhook_target import Webhook

# The waits that Standard Webhooks recommends, from the first failure on: three days in all.
_MINUTE_S, _HOUR_S = 60.0, 3600.0
WAITS_S = (
    5.0, 5 * _MINUTE_S, 30 * _MINUTE_S, 2 * _HOUR_S, 5 * _HOUR_S, 10 * _HOUR_S, 14 * _HOUR_S, 20 * _HOUR_S, 24 * _HOUR_S
)  # fmt: skip
SENT_WITHIN_S = 60.0
"""A message that was taken and of which nothing is heard for so long is sent again."""
_KEPT_DAYS = 7
_ERROR_CHARACTERS = 500


@dataclass(frozen=True)
class Message:
    id: UUID
    url: str
    payload: dict[str, Any]
    created_at: datetime
    tries: int
    due_at: datetime | None
    delivered_at: datetime | None
    error: str | None

    @property
    def state(self) -> str:
        if self.delivered_at is not None:
            return "delivered"
        return "failed" if self.due_at is None else "waiting" if self.tries else "new"


def sync(connection: sa.Connection, settings: Settings) -> None:
    """What the settings name, and nothing else; messages to a URL that they no longer name go with it."""
    named = [{"url": hook.url, "statuses": list(hook.events), "types": list(hook.types)} for hook in settings.webhooks]
    connection.execute(sa.delete(webhooks).where(webhooks.c.url.not_in([hook["url"] for hook in named])))
    if named:
        add = pg.insert(webhooks).values(named)
        changed = {"statuses": add.excluded.statuses, "types": add.excluded.types}
        connection.execute(add.on_conflict_do_update(index_elements=["url"], set_=changed))


def take(connection: sa.Connection, most: int) -> list[Message]:
    """Messages that are due, each for this caller alone until `SENT_WITHIN_S` are over."""
    due = (
        sa.select(messages.c.id)
        .where(messages.c.due_at <= sa.func.now())
        .order_by(messages.c.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    taken = (
        sa.update(messages)
        .where(messages.c.id.in_(due))
        .values(tries=messages.c.tries + 1, due_at=_in(SENT_WITHIN_S))
        .returning(*messages.c)
    )
    rows = [Message(**row._mapping) for row in connection.execute(taken)]
    return sorted(rows, key=lambda message: (message.created_at, message.id))


def note_delivered(connection: sa.Connection, message_id: UUID) -> None:
    connection.execute(
        sa.update(messages)
        .where(messages.c.id == message_id)
        .values(delivered_at=sa.func.now(), due_at=None, error=None)
    )


def note_failed(connection: sa.Connection, message: Message, error: str, *, for_good: bool = False) -> None:
    wait_s = None if for_good else wait_after(message.tries)
    connection.execute(
        sa.update(messages)
        .where(messages.c.id == message.id, messages.c.delivered_at.is_(None))
        .values(due_at=None if wait_s is None else _in(wait_s), error=error[:_ERROR_CHARACTERS])
    )


def wait_after(tries: int) -> float | None:
    """Seconds until the next try after so many; None: there is none."""
    return WAITS_S[tries - 1] if tries <= len(WAITS_S) else None


def send_again(connection: sa.Connection, message_id: UUID) -> bool:
    """At once, whatever became of it. False: there is no such message (any more)."""
    again = sa.update(messages).where(messages.c.id == message_id)
    return connection.execute(again.values(due_at=sa.func.now(), delivered_at=None, tries=0)).rowcount == 1


def add_test(connection: sa.Connection) -> int:
    """One message to every webhook; returns how many."""
    payload = {"type": "test", "timestamp": instant(datetime.now(UTC)), "data": {}}
    urls = sa.select(webhooks.c.url, sa.literal(payload, pg.JSONB))
    added = sa.insert(messages).from_select(["url", "payload"], urls).returning(messages.c.id)
    return len(connection.execute(added).all())


def newest(connection: sa.Connection, limit: int, *, failed_only: bool = False) -> list[Message]:
    chosen = sa.select(messages).order_by(messages.c.created_at.desc(), messages.c.id.desc()).limit(limit)
    if failed_only:
        chosen = chosen.where(messages.c.due_at.is_(None), messages.c.delivered_at.is_(None))
    return [Message(**row._mapping) for row in connection.execute(chosen)]


def forget_old(connection: sa.Connection, most: int) -> int:
    """Messages that are done with and a week old."""
    old = (
        sa.select(messages.c.id)
        .where(messages.c.created_at < sa.func.now() - timedelta(days=_KEPT_DAYS), messages.c.due_at.is_(None))
        .order_by(messages.c.created_at)
        .limit(most)
    )
    return connection.execute(sa.delete(messages).where(messages.c.id.in_(old))).rowcount


def signed(message: Message, secret: str, at: datetime) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the request that delivers it."""
    body = json.dumps(message.payload, separators=(",", ":"))
    naive = at.astimezone(UTC).replace(tzinfo=None)  # the signer takes it for UTC
    return body.encode(), {
        "content-type": "application/json",
        "user-agent": "media-pipelines",
        "webhook-id": str(message.id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Signer(secret).sign(str(message.id), naive, body),
    }


def secret_for(settings: Settings, hook: Webhook) -> str:
    """Its own, or the one that is made under the home on first use, mode 0600; as `whsec_…`."""
    if hook.secret:
        return hook.secret
    made = tokens.secret_of(settings.home / "secrets" / "webhook_secret")
    return "whsec_" + base64.b64encode(hashlib.sha256(made.encode()).digest()).decode()


def _in(seconds: float) -> sa.ColumnElement[datetime]:
    return sa.func.now() + timedelta(seconds=seconds)
