"""`make score`: films are made, analysed by the real pass, and held against what was planted in them."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from media_pipelines.ai.analyse import analyse
from media_pipelines.ai.analysis import Role
from media_pipelines.ai.engines.choosing import Engines, Wishes
from media_pipelines.media.ffmpeg import find_ffmpeg
from tests.truth.corpus import films
from tests.truth.film import Film
from tests.truth.render import render
from tests.truth.score import Line, Seen, lines

_CLASSICAL: dict[Role, str] = {
    "shots": "classical:adaptive",
    "tags": "classical:looks",
    "embedding": "classical:histogram",
    "faces": "classical:none",
    "audio": "classical:modulation",
}


def main() -> int:
    wanted = _arguments()
    console = Console(width=132)
    size = (wanted.width, wanted.width * 9 // 16 // 2 * 2)
    with tempfile.TemporaryDirectory(prefix="score-") as scratch:
        folder = Path(wanted.films) if wanted.films else Path(scratch)
        engines = Engines(_wishes(folder, classical=wanted.classical))
        seen = [_seen(film, engines, folder, size, console) for seed in wanted.seeds for film in films(seed)]
    for role in ("shots", "tags", "embedding", "faces", "audio"):
        used = engines.used(role)
        console.print(f"{role}: {used.reference} on {used.device}{f' ({used.reason})' if used.reason else ''}")
    found = lines(seen)
    if wanted.classical:
        console.print("Without models nothing must be reached: this only tells what they are worth.")
        found = [replace(line, at_least=None, at_most=None) for line in found]
    console.print(_table(found, wanted.seeds))
    missed = [line.name for line in found if not line.passes]
    console.print(f"Not reached: {', '.join(missed)}" if missed else "" if wanted.classical else "All is reached.")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make score", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--width", type=int, default=480, help="pixels of the films")
    parser.add_argument("--classical", action="store_true", help="without models")
    parser.add_argument("--films", metavar="FOLDER", help="keep films and analyses there, and use those that are there")
    return parser.parse_args()


def _wishes(folder: Path, *, classical: bool) -> Wishes:
    return Wishes(models=folder / "models", references=_CLASSICAL if classical else {})


def _seen(film: Film, engines: Engines, folder: Path, size: tuple[int, int], console: Console) -> Seen:
    path = folder / f"{film.name}-{film.seed}.mp4"
    if not path.exists():
        render(film, find_ffmpeg(None), folder, size)
    began_s = time.monotonic()
    analysis = analyse(path, engines=engines, folder=folder / "analyses")
    took_s = time.monotonic() - began_s
    console.print(
        f"{path.name}: {film.duration_s:.0f} s, analysed in {took_s:.1f} s ({film.duration_s / took_s:.1f} × real time)"
    )
    return Seen(film, analysis, size)


def _table(found: Sequence[Line], seeds: Sequence[int]) -> Table:
    table = Table(
        "measure", "value", "must be", "", "", title=f"Seeds {', '.join(map(str, seeds))}", title_justify="left"
    )
    for line in found:
        low, high = line.at_least, line.at_most
        limit = f"≥ {low:g}" if low is not None else f"≤ {high:g}" if high is not None else "–"
        verdict = "–" if low is None and high is None else "ok" if line.passes else "MISSED"
        table.add_row(line.name, f"{line.value:.3f}", limit, verdict, line.beside)
    return table


if __name__ == "__main__":
    sys.exit(main())
