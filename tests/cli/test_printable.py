"""Text of others on a terminal, and figures for people."""

from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len

from media_pipelines.cli.printable import cell, clock, pace, printable, printable_lines, size


@pytest.mark.parametrize("text", ["plain", "é 日本 🎬", "no\u00a0break", "\u202fnarrow"])
def test_harmless_text_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x1b", "\x00", "\x7f", "\x9b", "\u202e", "\u2028", "\ud800"])
def test_what_moves_the_cursor_or_deceives_is_escaped(character: str) -> None:
    shown = printable(f"a{character}b")

    assert shown.isascii()
    assert shown.isprintable()


def test_the_lines_of_a_log_keep_their_tabs() -> None:
    assert printable_lines("a\tb\x07\nc") == ["a\tb\\x07", "c"]


@pytest.mark.parametrize("text", ["", "short", "x" * 10, "x" * 11, "日本語日本語", "日本語日本語x", "\n" * 20])
def test_a_cell_is_exactly_as_wide_as_its_column(text: str) -> None:
    assert cell_len(cell(text, 10)) == 10


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (-5, "0:00"), (59.6, "1:00"), (65, "1:05"), (3725, "1:02:05"), (360000, "100:00:00")],
)
def test_seconds_read_as_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_536_000, "1.5 MB"), (10**15, "1000.0 TB")],
)
def test_bytes_read_with_a_unit(size_bytes: int, shown: str) -> None:
    assert size(size_bytes) == shown


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ({"fps": 29.97, "speed": 1.25, "eta_s": 42}, "30 fps  1.25×  ETA 0:42"),
        ({"speed": 0.5}, "0.5×"),
        ({"fps": None, "speed": "fast", "eta_s": float("nan")}, ""),
        ({"eta_s": float("inf")}, ""),
        (["no", "object"], ""),
        (None, ""),
    ],
)
def test_a_pace_tells_what_is_known(detail: Any, shown: str) -> None:
    assert pace(detail) == shown


def test_a_table_in_a_pipe_is_not_cut(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = cli("config").out.splitlines()
    assert any(line.split()[:2] == ["MEDIA_SHUTDOWN_TIMEOUT_SECONDS", "shutdown_timeout_seconds"] for line in lines)
    assert not any("…" in line for line in lines)
