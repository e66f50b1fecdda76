"""Every file of the corpus through every job type, on a database of its own. `make corpus`; words choose files."""

import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from jobqueue_bridge.migrations import migrate
from jobqueue_bridge.settings import EMBEDDED_DATABASE, load_settings
from media_pipelines.platform.postgres import Cluster, ensure_database, running_postgres
from tests.corpus import course
from tests.corpus.entries import corpus

_OF_OTHERS = ("DATABASE_URL", "MEDIA_LIBRARY_PATH", "DAGSTER_HOME")


def main(words: list[str]) -> int:
    console = Console()
    entries = [entry for entry in corpus() if not words or any(word in f"{entry.kind}/{entry.name}" for word in words)]
    for variable in _OF_OTHERS:
        os.environ.pop(variable, None)
    with tempfile.TemporaryDirectory(prefix="corpus-home-") as home:
        os.environ["MEDIA_PIPELINES_HOME"] = home
        settings = load_settings()
        with running_postgres(settings.postgres_data, settings.postgres_socket_dir):
            ensure_database(Cluster(settings.postgres_data, settings.postgres_socket_dir), EMBEDDED_DATABASE)
            migrate(settings)
            began_s = time.monotonic()
            with course.passage_through(Path(home) / "media") as passage:
                course.make(passage, entries)
                console.print(f"{len(entries)} files made in {time.monotonic() - began_s:.0f} s")
                with course.untouched(passage):
                    course.scan(passage, entries)
                    course.work(passage, entries, course.types())
                    course.work_on_fours(passage, course.fours(entries))
    console.print(course.table(passage.rows), course.summary(passage.rows))
    wrong = [row for row in passage.rows if row.faults]
    console.print(course.table(wrong) if wrong else "Nothing is wrong.")
    console.print(f"{len(passage.rows)} rows, {len(wrong)} wrong, {time.monotonic() - began_s:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
