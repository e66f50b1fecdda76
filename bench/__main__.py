"""Starts a throw-away platform, measures, prints, stops it. `python -m bench latency` runs one part alone."""

import signal
import sys
from collections.abc import Callable

from rich.console import Console

from bench import (
    ai,
    api,
    arrivals,
    cancel,
    dagster_scale,
    encode,
    film,
    idle,
    latency,
    memory,
    report,
    scan,
    throughput,
)
from bench import compile as compiling
from bench.figures import Figure, show
from jobqueue_bridge.settings import Settings
from media_pipelines.demo import place

PARTS: dict[str, Callable[[Settings], list[Figure]]] = {
    "idle": idle.measure,
    "latency": latency.measure,
    "throughput": lambda settings: throughput.measure(settings, settings.home / "stock"),
    "cancel": cancel.measure,
    "encode": encode.measure,
    "quad": compiling.quad,
    "join": compiling.join,
    "scan": scan.measure,
    "arrivals": arrivals.measure,
    "api": api.measure,
    "report": report.measure,
    "ai": ai.measure,
    "film": film.measure,
    "dagster": dagster_scale.measure,
    "memory": memory.measure,
}
_ONLY_BY_NAME = {"film", "dagster", "memory"}


def main() -> int:
    console = Console()
    chosen = sys.argv[1:] or [name for name in PARTS if name not in _ONLY_BY_NAME]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the platform is stopped, too
    settings = place.prepare()
    figures: list[Figure] = []
    try:
        place.start()
        for name in chosen:
            with console.status(f"Measuring: {name}"):
                figures += PARTS[name](settings)
    finally:
        place.remove(settings)
    show(figures, console)
    return int(any(figure.kept is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
