"""Plots of a report, as small PNG files with a transparent ground: they are looked at on white and on black."""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jobqueue_bridge.library_report import Growth, LibraryReport, LibraryShare, SavedShare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _DPI = 7.2, 2.6, 100  # inches, dots an inch
_BARS, _MONTHS, _LABEL = 8, 24, 16
_FEWEST_PLACES = 4
_ACCENT, _GOOD, _QUIET, _TEXT = "#6c75e0", "#3fae6b", "#b9bec9", "#7d8694"
_STYLE: Any = {
    "font.size": 9,
    "text.color": _TEXT,
    "text.parse_math": False,  # names are data: a codec named "$x" is no formula
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "ytick.left": False,
    "grid.color": _TEXT,
    "grid.alpha": 0.25,
}
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def growth(report: LibraryReport) -> bytes | None:
    """None where there is nothing to show, here and below."""
    if not any(step.total_videos for step in report.growth.steps):
        return None
    return _drawn(lambda figure: _draw_growth(figure, report.growth))


def contents(report: LibraryReport) -> bytes | None:
    if not report.totals.size_bytes:
        return None
    parts = {"By codec": report.by_codec, "By quality": report.by_quality, "By folder": report.by_directory}
    return _drawn(lambda figure: _draw_contents(figure, parts))


def savings(report: LibraryReport) -> bytes | None:
    months = report.savings.by_month[-_MONTHS:]
    return _drawn(lambda figure: _draw_savings(figure, months)) if months else None


def _drawn(draw: Callable[["Figure"], None]) -> bytes:
    """Without pyplot, which keeps every figure; without a word on letters that the font lacks."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png", transparent=True)
    return file.getvalue()


def _draw_growth(figure: "Figure", growth: Growth) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    steps = growth.steps
    days = [step.begins for step in steps]
    divisor, unit = _unit(max(step.total_size_bytes for step in steps))
    whole, new = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    sizes = [step.total_size_bytes / divisor for step in steps]
    whole.fill_between(days, sizes, color=_ACCENT, alpha=0.25, linewidth=0)
    whole.plot(days, sizes, color=_ACCENT, linewidth=1.8)
    whole.set_title(f"Size of the library, {unit}")
    whole.set_ylim(bottom=0)
    new.bar(days, [step.videos for step in steps], width=0.8 * (1 if growth.step == "day" else 7), color=_GOOD)
    new.set_title(f"New videos each {growth.step}")
    new.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    new.xaxis.set_major_locator(locator)
    new.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    for axes in (whole, new):
        axes.grid(axis="y")


def _draw_contents(figure: "Figure", parts: dict[str, list[LibraryShare]]) -> None:
    divisor, unit = _unit(max(share.size_bytes for shares in parts.values() for share in shares))
    most = max(_FEWEST_PLACES, *(min(len(shares), _BARS) for shares in parts.values()))
    for axes, (title, shares) in zip(figure.subplots(1, len(parts)), parts.items(), strict=True):
        shown = sorted(shares, key=lambda share: share.size_bytes, reverse=True)[:_BARS]
        axes.set_ylim(most - 0.4, -0.6)
        _bars_across(axes, [_label(share.name) for share in shown], [share.size_bytes / divisor for share in shown])
        axes.set_title(f"{title}, {unit}")


def _bars_across(axes: "Axes", names: Sequence[str], sizes: Sequence[float]) -> None:
    places = range(len(names))
    bars = axes.barh(places, sizes, color=_ACCENT, height=0.62)
    axes.set_yticks(places, names)
    axes.bar_label(bars, [f"{size:.3g}" for size in sizes], padding=3, color=_TEXT, fontsize=8)
    axes.margins(x=0.22)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _draw_savings(figure: "Figure", months: Sequence[SavedShare]) -> None:
    divisor, unit = _unit(max(month.before_bytes for month in months))
    axes = figure.subplots()
    places = range(len(months))
    axes.bar(places, [month.before_bytes / divisor for month in months], color=_QUIET, width=0.72, label="before")
    axes.bar(places, [month.after_bytes / divisor for month in months], color=_GOOD, width=0.44, label="after")
    axes.set_xticks(places, [month.name for month in months], rotation=0 if len(months) < 9 else 45)
    axes.set_xlim(-0.7, max(len(months), 6) - 0.3)
    axes.set_title(f"Encoded each month, {unit} before and after")
    axes.grid(axis="y")
    axes.legend(frameon=False, labelcolor=_TEXT, loc="upper right", ncols=2, bbox_to_anchor=(1, 1.16))


def _unit(most_bytes: float) -> tuple[float, str]:
    power = 0
    while most_bytes >= 1000 ** (power + 1) and power < len(_UNITS) - 1:
        power += 1
    return 1000.0**power, _UNITS[power]


def _label(name: str) -> str:
    """Short, and without what a font can not draw on one line."""
    shown = "".join(character if character.isprintable() else "�" for character in name)
    return shown if len(shown) <= _LABEL else shown[: _LABEL - 1] + "…"
