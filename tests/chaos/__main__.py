"""`make chaos`: hundreds of real jobs, and everything that runs them is killed all the time.

Prints its seed; the same seed draws the same jobs, targets and moments. Exit code 1 where anything does not hold: the
platform's folder is kept then.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from media_pipelines.demo import place
from tests.chaos import report
from tests.chaos.course import Course, Plan, throw_away_platform
from tests.chaos.storm import own_seed


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="draws everything; by default a new one")
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=150, help="SIGKILLs")
    parser.add_argument("--stops", type=int, default=12, help="runs that are stopped past their lease and continued")
    parser.add_argument("--freeze", type=float, default=60, metavar="S", help="seconds that Postgres stands still")
    parser.add_argument("--read-only", type=float, default=60, metavar="S", help="seconds that Postgres only reads")
    given = parser.parse_args()
    seed = own_seed() if given.seed is None else given.seed
    return Plan(seed, given.jobs, given.kills, given.stops, given.freeze, given.read_only)


def main() -> int:
    plan = _plan()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 132)
    console.print(f"[bold]Chaos[/] seed {plan.seed}: {plan.jobs} jobs, {plan.kills} kills, {plan.stops} stops")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with throw_away_platform() as settings:
        good = False
        try:
            good = _run(console, Course(settings, plan, _sayer(console)))
        finally:
            if good:
                place.remove(settings)
            else:
                place.stop(settings)
                console.print(f"Kept for a look: {settings.home}", soft_wrap=True)
    return 0 if good else 1


def _sayer(console: Console) -> Callable[[str], None]:
    began_s = time.monotonic()
    return lambda text: console.print(f"{time.monotonic() - began_s:6.1f} s  {text}", markup=False)


def _run(console: Console, course: Course) -> bool:
    with Progress(
        TextColumn("{task.description}"), BarColumn(30), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), console=console, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task("jobs ended", total=course.plan.jobs)

        def show(seen: Course) -> None:
            counted = ", ".join(f"{count} {status}" for status, count in sorted(seen.watch.statuses.items()))
            progress.update(task, completed=seen.ended, description=f"{counted}; {seen.storm.left} blows left")

        told = course.run(show)
    report.show(console, told)
    return told.good


if __name__ == "__main__":
    sys.exit(main())
