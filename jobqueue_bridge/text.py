"""Text on its way into Postgres, and ids as people type them."""

import re
from uuid import UUID

_HEX_DIGITS = re.compile(r"[0-9a-f]{1,32}")


def storable(text: str) -> str:
    """Postgres stores neither NUL nor half surrogate pairs, which file names and ffmpeg's output may hold."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def id_range(prefix: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin so; None: no id does."""
    digits = prefix.replace("-", "").lower()
    if not _HEX_DIGITS.fullmatch(digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
