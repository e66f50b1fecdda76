"""Which job a command means."""

from uuid import UUID

import sqlalchemy as sa
import typer

from jobqueue_bridge import archive, queue
from jobqueue_bridge.errors import JobArchived, JobNotFound
from media_pipelines.cli.output import USAGE, fail
from media_pipelines.cli.printable import printable

REFERENCE = typer.Argument(metavar="ID", help="The job's id, or its first characters.")


def find(connection: sa.Connection, reference: str) -> queue.Job:
    """Ends the command where there is none, or several."""
    try:
        return queue.find(connection, reference)
    except JobNotFound as error:
        fail(printable(str(error)), USAGE)


def find_id(connection: sa.Connection, reference: str) -> UUID:
    """As `find_anywhere`, the id alone."""
    found = find_anywhere(connection, reference)
    return found.job.id if isinstance(found, archive.Archived) else found.id


def find_anywhere(connection: sa.Connection, reference: str) -> queue.Job | archive.Archived:
    """As `find`, also in the archive."""
    try:
        return queue.find(connection, reference)
    except JobArchived:
        return archive.find(connection, reference)
    except JobNotFound as error:
        fail(printable(str(error)), USAGE)
