"""Text on its way into Postgres, instants on their way out, and ids as people type them."""

import re
from datetime import UTC, datetime
from uuid import UUID

_HEX_DIGITS = re.compile(r"[0-9a-f]{1,32}")


def storable(text: str) -> str:
    """Postgres stores neither NUL nor half surrogate pairs, which file names and ffmpeg's output may hold."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def instant(value: datetime) -> str:
    """2026-02-13T10:30:00.000Z"""
    in_utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return f"{in_utc.isoformat(timespec='milliseconds')[: -len('+00:00')]}Z"


def id_range(prefix: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin so; None: no id does."""
    digits = prefix.replace("-", "").lower()
    if not _HEX_DIGITS.fullmatch(digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
