"""`make gallery`: a day of work compressed into minutes on a throw-away platform, and pictures of the pages after it.

Thousands of videos are found by real scans, a dozen arrive, and what people, folders, conditions and the clock ask for
passes the queue; then a Chromium opens the pages of Dagster's UI and the Jobs page. Exit code 1 where anything ended
otherwise than it should, or a picture could not be taken. `KEEP=1` leaves the platform running.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.cli.output import INTERRUPTED
from media_pipelines.cli.printable import clock
from media_pipelines.demo import place, report
from media_pipelines.demo.errors import DemoError
from media_pipelines.demo.screen import Living, Screen
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.platform.lock import addresses
from tests.gallery import arrivals, library, pictures
from tests.gallery.counted import Counted
from tests.gallery.dagster_ui import DagsterUi
from tests.gallery.day import CHAIN, Day, Say, Told
from tests.gallery.pictures import Taken

_WIDTH = 132
_SCHEDULES = {
    "inbox_rescan": {
        "cron": "* * * * *",
        "type": "scan",
        "params": {"path": "inbox"},
        "priority": 8,
        "description": "Looks through the inbox each minute, in case that nobody has noticed a file.",
    }
}
# The engines that need no weights: whichever of them this checkout has, the day is as long.
_ENGINES = {
    "shots": "classical:adaptive",
    "tags": "classical:looks",
    "embedding": "classical:histogram",
    "faces": "classical:none",
    "audio": "classical:modulation",
}


def main() -> int:
    asked = _arguments()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return _run(console, asked, keep=os.environ.get("KEEP", "") not in ("", "0"))
    except (DemoError, QueueError, FileNotFoundError) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        console.print("Interrupted; nothing was left behind.")
        return INTERRUPTED


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make gallery", description=__doc__)
    parser.add_argument("--videos", type=int, default=5_000, help="in the library before the day begins")
    parser.add_argument("--backfill", type=int, default=50, help="partitions that are asked for in Dagster's UI")
    parser.add_argument("--pictures", type=Path, default=Path(".state/gallery"), metavar="FOLDER")
    return parser.parse_args()


def _run(console: Console, asked: argparse.Namespace, *, keep: bool) -> int:
    pictures.require_chromium()
    settings, say, kept = place.prepare(), _sayer(console), False
    try:
        told = _live(console, settings, asked, say)
        with console.status("Pictures") as status:
            taken = pictures.take(settings, told, asked.pictures, lambda shows: status.update(f"Picture: {shows}"))
        say(f"{len(taken)} pictures are taken")
        _print_pictures(console, taken)
        kept = keep
    finally:
        engine_for(settings).dispose()
        if not kept:
            with console.status("The platform stops"):
                place.remove(settings)
    if kept:
        report.print_kept(console, settings, pictures.pages(settings))
    return 1 if told.problems or any(one.problem for one in taken) else 0


def _live(console: Console, settings: Settings, asked: argparse.Namespace, say: Say) -> Told:
    """A library is found, then the day. New videos get jobs from then on only: of thousands they would take hours."""
    say(f"{asked.videos:,} videos and a dozen films are made")
    ffmpeg = find_ffmpeg(settings.ffmpeg_binary or None)
    whole = library.library(ffmpeg, settings.home / "originals", asked.videos)
    films = list(arrivals.make(ffmpeg, settings.home / "studio"))
    _configure(settings, schedules=_SCHEDULES, ai_engines=_ENGINES, automation=["thumbnail"])
    with _platform(console, settings, films, say) as day:
        (settings.media_library_path / "inbox").mkdir(parents=True)
        few = whole.write(settings.media_library_path, _of_the_camcorder)
        say(f"{few} are found; Dagster's automation asks for pictures of them")
        day.pictured(few)
        say(f"{asked.videos - few:,} more are found")
        whole.write(settings.media_library_path, lambda kind: not _of_the_camcorder(kind))
        day.found(asked.videos)
    say("The platform stops and starts, with jobs for each new video from now on")
    _stop(settings)
    _configure(settings, on_new_video=list(CHAIN))
    with _platform(console, settings, films, say) as day:
        told = day.run(asked.backfill)
    say("The day is over" if not told.problems else "The day is over, and not all is as it should be:")
    _print_told(console, told)
    return told


def _of_the_camcorder(kind: library.Kind) -> bool:
    return kind.folder == library.CAMCORDER


def _sayer(console: Console) -> Say:
    began_s = time.monotonic()
    return lambda text: console.print(f"[bold]{clock(time.monotonic() - began_s)}  {text}[/]")


@contextmanager
def _platform(console: Console, settings: Settings, films: Sequence[Path], say: Say) -> Iterator[Day]:
    """Started, and watched for as long as the block lasts."""
    place.start()
    with screen_for(console, settings, pictures.pages(settings)) as screen:
        yield Day(load_settings(), films, DagsterUi(addresses(settings)[1]), screen.show, say)


def screen_for(console: Console, settings: Settings, pages: Sequence[tuple[str, str]]) -> Screen:
    """Hundreds of jobs are too many for a line each."""
    return Living(console, settings, pages) if console.is_terminal else Counted(console)


def _stop(settings: Settings) -> None:
    """In order, and to be started again. Raises DemoError."""
    engine_for(settings).dispose()
    down = subprocess.run([*place.COMMAND, "down"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    if down.returncode != 0:
        raise DemoError("The platform did not stop")


def _configure(settings: Settings, **more: Any) -> None:
    file = settings.home / "config.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **more}))


def _print_told(console: Console, told: Told) -> None:
    for problem in told.problems:
        console.print(f"  {problem}", style="red", markup=False, soft_wrap=True)
    table = Table("job", "completed", "failed", "cancelled", box=None, pad_edge=False, header_style="dim")
    for kind, counts in sorted(told.counts.items()):
        table.add_row(kind, *(str(counts[status] or "") for status in ("completed", "failed", "cancelled")))
    console.print(table)


def _print_pictures(console: Console, taken: list[Taken]) -> None:
    table = Table("picture", "shows", box=None, pad_edge=False, header_style="dim")
    for one in taken:
        table.add_row(str(one.file), f"[red]{one.problem}[/]" if one.problem else one.shows)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
