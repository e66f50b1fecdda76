"""Every statement on `audit_log`: who asked for what, and when. Written in the transaction of the action itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge.lifecycle import Applied
from jobqueue_bridge.tables import audit_log
from jobqueue_bridge.text import storable

_WHO_MOST = 200


@dataclass(frozen=True)
class Entry:
    id: int
    at: datetime
    who: str
    action: str
    job_id: UUID | None
    details: dict[str, Any]


@dataclass(frozen=True)
class Page:
    entries: Sequence[Entry]
    end: int | None
    """Before which entry the next page begins; None: there is none."""


def record(connection: sa.Connection, who: str, action: str, job_id: UUID | None = None, **details: Any) -> None:
    record_all(connection, who, action, [(job_id, details)])


def record_all(
    connection: sa.Connection, who: str, action: str, about: Iterable[tuple[UUID | None, Mapping[str, Any]]]
) -> None:
    rows = [
        {"who": storable(who)[:_WHO_MOST], "action": action, "job_id": job_id, "details": dict(details)}
        for job_id, details in about
    ]
    if rows:
        connection.execute(sa.insert(audit_log), rows)


def record_applied(
    connection: sa.Connection, who: str, action: str, applied: Iterable[Applied], **details: Any
) -> None:
    """An entry for each job that was changed; none for those that stay as they were."""
    record_all(connection, who, f"job.{action}", [(one.id, details) for one in applied if one.job is not None])


def page(
    connection: sa.Connection,
    *,
    limit: int,
    before: int | None = None,
    job_id: UUID | None = None,
    who: str | None = None,
    action: str | None = None,
) -> Page:
    """Newest first."""
    asked = {"job_id": job_id, "who": who, "action": action}
    conditions = [audit_log.c[name] == value for name, value in asked.items() if value is not None]
    if before is not None:
        conditions.append(audit_log.c.id < before)
    rows = connection.execute(
        sa.select(audit_log).where(*conditions).order_by(audit_log.c.id.desc()).limit(limit + 1)
    ).all()
    entries = [Entry(*row) for row in rows[:limit]]
    return Page(entries, entries[-1].id if len(rows) > limit else None)
