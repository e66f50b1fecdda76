"""`python -m media_pipelines.demo`: exit 0 only if every job completed and every output passed verification.

`MEDIA`, a folder or file of one's own to take; `KEEP=1` leaves the platform running.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.settings import Settings
from media_pipelines.cli.output import INTERRUPTED
from media_pipelines.cli.printable import printable, size
from media_pipelines.demo import footage, place, report
from media_pipelines.demo.course import Course, View
from media_pipelines.demo.errors import DemoError
from media_pipelines.demo.footage import Footage
from media_pipelines.demo.proof import Proof, left_over, unknown
from media_pipelines.demo.screen import screen_for
from media_pipelines.platform.lock import addresses

_PAUSE_S = 0.3
_LOG_WIDTH = 132


def main() -> int:
    console = _console()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return _run(console, os.environ.get("MEDIA", ""), keep=os.environ.get("KEEP", "") not in ("", "0"))
    except (DemoError, QueueError) as error:
        console.print(printable(str(error)), style="red", markup=False, soft_wrap=True)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        console.print("Interrupted; nothing was left behind.")
        return INTERRUPTED


def _console() -> Console:
    """As wide as the terminal; a log file has room for whole lines."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_LOG_WIDTH)


def _run(console: Console, media: str, *, keep: bool) -> int:
    own = footage.look_at(media) if media else None
    settings = place.prepare()
    kept = False
    try:
        brought = _bring(console, settings, own)
        console.print("\n[bold]Starting a platform[/] with a database of its own")
        place.start()
        good = _work(console, settings, brought)
        kept = keep
    finally:
        if not kept:
            with console.status("The platform stops"):
                place.remove(settings)
    if kept:
        report.print_kept(console, settings, _pages(settings))
    else:
        report.print_gone(console, _pages(settings))
    return 0 if good else 1


def _bring(console: Console, settings: Settings, own: footage.Own | None) -> Footage:
    if own is None:
        console.print("[bold]Making sample videos[/] (`make demo MEDIA=/a/folder` takes your own)")
        return footage.make_samples(settings)
    origin = escape(printable(str(own.root)))
    console.print(
        f"[bold]Copying {len(own.videos)} of your videos[/], {size(own.size_bytes)}, from {origin}",
        emoji=False,
        soft_wrap=True,
    )
    with Progress(
        TextColumn("  "), BarColumn(40), DownloadColumn(), TransferSpeedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=own.size_bytes)
        return footage.copy_own(settings, own, lambda size_bytes: progress.advance(task, size_bytes))


def _work(console: Console, settings: Settings, brought: Footage) -> bool:
    """Run the course, verify what came of it, tell. Whether all went well."""
    began_at_s = time.monotonic()
    course = Course(settings, inbox_files=len(brought.inbox))
    course.begin()
    view = _watch(console, settings, course)
    took_s = time.monotonic() - began_at_s
    proof = Proof(settings, view)
    with console.status("Verifying the outputs"):
        proof.verify(view.jobs)
    missing, partials = unknown(brought.all, view), left_over(settings)
    console.print()
    report.print_jobs(console, view, proof)
    report.print_failures(console, settings, view, proof)
    report.print_problems(console, "No scan has found", missing)
    report.print_problems(console, "Left half-written", partials)
    report.print_summary(console, settings, view, proof, course.peak, took_s)
    report.print_left_out(console, settings, brought, view)
    return not (view.failed or proof.problems or missing or partials)


def _watch(console: Console, settings: Settings, course: Course) -> View:
    with screen_for(console, settings, _pages(settings)) as screen:
        while True:
            view = course.look()
            screen.show(view)
            if view.finished:
                return view
            time.sleep(_PAUSE_S)


def _pages(settings: Settings) -> Sequence[tuple[str, str]]:
    api, dagster = addresses(settings)
    return (("Start page", f"{api}/"), ("API", f"{api}/docs"), ("Dagster UI", f"{dagster}/"))


if __name__ == "__main__":
    sys.exit(main())
