"""Text of others on a terminal: file names and logs may hold escape sequences, line breaks, reversed writing."""

import unicodedata
from datetime import datetime
from typing import Any

from rich.cells import cell_len, set_cell_size


def printable(text: str) -> str:
    """Every character that would move the cursor or deceive the eye, as its escape: "a\\nb" → "a\\\\nb"."""
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def printable_lines(text: str) -> list[str]:
    """The lines of a log; tabs stay."""
    return ["\t".join(map(printable, line.split("\t"))) for line in text.split("\n")]


def cell(text: str, width: int) -> str:
    """Exactly `width` columns of a terminal, cut with an ellipsis where it is too long."""
    safe = printable(text)
    fits = cell_len(safe) <= width
    return set_cell_size(safe if fits else set_cell_size(safe, width - 1).rstrip() + "…", width)


def local_time(instant: datetime | None, pattern: str = "%Y-%m-%d %H:%M") -> str:
    return "-" if instant is None else instant.astimezone().strftime(pattern)


def clock(seconds: float) -> str:
    """3725 → "1:02:05", 65 → "1:05"."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(size_bytes: float) -> str:
    """1536000 → "1.5 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def pace(detail: Any) -> str:
    """A running job's own words on its speed, as far as they are numbers: "30 fps  1.3×  ETA 0:42"."""
    given = detail if isinstance(detail, dict) else {}
    shown = {name: value for name, value in given.items() if isinstance(value, int | float) and 0 <= value < 1e9}
    texts = [
        f"{shown['fps']:.0f} fps" if "fps" in shown else "",
        f"{shown['speed']:.3g}×" if "speed" in shown else "",
        f"ETA {clock(shown['eta_s'])}" if "eta_s" in shown else "",
    ]
    return "  ".join(filter(None, texts))
