"""A measured figure beside what was promised, and how it is printed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One line of the report. `kept` is None where nothing was promised."""

    what: str
    measured: str
    promised: str = ""
    kept: bool | None = None


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


def show(figures: Sequence[Figure], console: Console) -> None:
    table = Table(title="Measured")
    for heading in ("what", "measured", "promised", ""):
        table.add_column(heading)
    for figure in figures:
        verdict = {None: "", True: "[green]kept", False: "[red]missed"}[figure.kept]
        table.add_row(figure.what, figure.measured, figure.promised, verdict)
    console.print(table)
