"""Every file of the corpus through every job type, and the table of that.

The files are dealt out to as many processes as there are cores, each with a database and a library of its own.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from queue import Empty, Queue

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jobqueue_bridge.migrations import migrate
from jobqueue_bridge.settings import EMBEDDED_DATABASE, load_settings
from media_pipelines.platform.postgres import Cluster, ensure_database, running_postgres
from tests.corpus import course
from tests.corpus.entries import corpus
from tests.corpus.passage import Row
from tests.corpus.truth import Entry

_OF_OTHERS = ("DATABASE_URL", "MEDIA_LIBRARY_PATH", "DAGSTER_HOME")
_FEWEST_PER_PROCESS = 8


def main(words: list[str]) -> int:
    """Prints the table; 1 where something is wrong."""
    signal.signal(signal.SIGTERM, _exit)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    entries = _chosen(words)
    began_s = time.monotonic()
    shares = max(1, min(len(os.sched_getaffinity(0)), len(entries) // _FEWEST_PER_PROCESS))
    rows = _worked_on(words, [entries[n::shares] for n in range(shares)], console)
    console.print(course.table(rows), course.summary(rows))
    wrong = [row for row in rows if row.faults]
    console.print(course.table(wrong) if wrong else "Nothing is wrong.")
    console.print(f"{len(entries)} files, {len(rows)} rows, {len(wrong)} wrong, {time.monotonic() - began_s:.0f} s")
    return int(bool(wrong))


def _chosen(words: Sequence[str]) -> list[Entry]:
    return [entry for entry in corpus() if not words or any(word in f"{entry.kind}/{entry.name}" for word in words)]


def _worked_on(words: list[str], shares: Sequence[list[Entry]], console: Console) -> list[Row]:
    context = multiprocessing.get_context("spawn")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        context.Manager() as manager,
        ProcessPoolExecutor(len(shares), mp_context=context) as pool,
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
    ):
        done: Queue[Row] = manager.Queue()
        shown = progress.add_task("Making files", total=sum(map(_rows_at_most, shares)))
        working = [pool.submit(_share, words, n, len(shares), done) for n in range(len(shares))]
        try:
            while not all(share.done() for share in working):
                with contextlib.suppress(Empty):
                    row = done.get(timeout=0.5)
                    progress.update(shown, advance=1, description=f"{row.job_type}, {row.kind}")
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        return _in_order(working)


def _rows_at_most(entries: Sequence[Entry]) -> int:
    """One of the scan itself, and of what a scan does not take only that it did not."""
    return 1 + len(entries) * (1 + len(course.types())) + len(course.fours(entries)) * len(course.OF_FOUR)


def _in_order(working: Sequence["Future[list[Row]]"]) -> list[Row]:
    """Grids last; else class by class, as the files are listed."""
    kinds = [entry.kind for entry in corpus()]
    rows = [row for share in working for row in share.result()]
    return sorted(rows, key=lambda row: kinds.index(row.kind) if row.kind in kinds else len(kinds))


def _share(words: list[str], number: int, shares: int, done: "Queue[Row]") -> list[Row]:
    """Every n-th file, on a database of its own."""
    signal.signal(signal.SIGTERM, _exit)
    for variable in _OF_OTHERS:
        os.environ.pop(variable, None)
    entries = _chosen(words)[number::shares]
    with tempfile.TemporaryDirectory(prefix="corpus-home-") as home:
        os.environ["MEDIA_PIPELINES_HOME"] = home
        settings = load_settings()
        with running_postgres(settings.postgres_data, settings.postgres_socket_dir):
            ensure_database(Cluster(settings.postgres_data, settings.postgres_socket_dir), EMBEDDED_DATABASE)
            migrate(settings)
            with course.passage_through(Path(home) / "media") as passage:
                passage.on_row = done.put
                course.make(passage, entries)
                with course.untouched(passage):
                    course.scan(passage, entries)
                    course.work(passage, entries, course.types())
                    course.work_on_fours(passage, course.fours(entries))
    return passage.rows


def _exit(number: int, _frame: object) -> None:
    sys.exit(128 + number)
