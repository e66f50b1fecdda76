"""What every command shares: where it prints, tables or JSON, and which error ends with which exit code."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobqueue_bridge.errors import (
    AmbiguousChange,
    AmbiguousJob,
    AmbiguousVideo,
    ChangeNotFound,
    DatabaseUnreachable,
    InvalidJob,
    InvalidPolicy,
    InvalidSettings,
    JobNotFound,
    QueueError,
    VideoNotFound,
)
from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.platform.errors import NotRunning, PlatformError
from media_pipelines.platform.lock import holder_of

DONE, FAILED, USAGE, NOT_RUNNING, INTERRUPTED = 0, 1, 2, 3, 130
_BAD_USAGE = (
    InvalidSettings, InvalidPolicy, InvalidJob, AmbiguousJob, AmbiguousVideo, AmbiguousChange,
    JobNotFound, VideoNotFound, ChangeNotFound,
)  # fmt: skip

_UNCUT = 10_000  # columns
# What a command holds until it ends, however it ends.
held = ExitStack()

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """One JSON document on stdout; instants, paths and ids become text."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing") -> None:
    """A table for people; `empty` stands there when it has no rows. Only a terminal's width cuts it."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(cell) for cell in row))
    console = out if out.is_terminal else Console(highlight=False, width=_UNCUT)
    console.print(table if table.row_count else f"[dim]{empty}[/dim]")


def _cell(cell: object) -> Text:
    """Text of others, a file name for instance, is never read as markup."""
    return cell if isinstance(cell, Text) else Text("" if cell is None else str(cell))


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """The rows as JSON, or the named columns of them as a table."""
    if as_json:
        print_json([dict(row) for row in rows])
    else:
        print_table(
            [column.replace("_", " ") for column in columns], ([row[c] for c in columns] for row in rows), empty=empty
        )


def fail(message: str, code: int = FAILED) -> NoReturn:
    """One line on stderr, then the end."""
    err.print(message, style="red", markup=False, soft_wrap=True)
    raise SystemExit(code)


def run_mapped(command: Callable[[], object]) -> None:
    """Run a command; an error that we know becomes one line and its exit code."""
    try:
        with held:
            command()
    except KeyboardInterrupt:
        fail("Interrupted", INTERRUPTED)
    except BrokenPipeError:
        with suppress(OSError):
            sys.stdout.close()
        raise SystemExit(FAILED) from None
    except PlatformError as error:
        fail(str(error), error.exit_code)
    except DatabaseUnreachable as error:
        fail(str(_named(error)), NOT_RUNNING)
    except QueueError as error:
        fail(str(error), USAGE if isinstance(error, _BAD_USAGE) else FAILED)
    except PermissionError as error:
        fail(f"No permission for {error.filename}", NOT_RUNNING)
    except Exception as error:
        if not _is_no_connection(error):
            raise
        fail(str(_named(error)), NOT_RUNNING)


def _named(error: Exception) -> Exception:
    """An embedded database that does not answer means: the platform is not running."""
    settings: Settings = load_settings()
    if settings.embedded and holder_of(settings) is None:
        return NotRunning(settings.home)
    if isinstance(error, DatabaseUnreachable):
        return error
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return DatabaseUnreachable(settings.queue_url.render_as_string(), reason)


def _is_no_connection(error: Exception) -> bool:
    """Whether this is a driver's refused or lost connection, recognised without importing drivers for it."""
    cause = getattr(error, "orig", None) or error
    if type(cause).__module__.partition(".")[0] not in ("psycopg", "psycopg2"):
        return False
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    names = {kind.__name__ for kind in type(cause).__mro__}
    return "OperationalError" in names and (state is None or state.startswith(("08", "57P")))
