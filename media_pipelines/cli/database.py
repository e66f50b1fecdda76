"""The database for a command that needs no more of the platform: it is there for the command, also while none runs."""

import sqlalchemy as sa

from jobqueue_bridge import database
from jobqueue_bridge.settings import Settings
from media_pipelines.cli.output import err, held
from media_pipelines.platform.errors import NotRunning
from media_pipelines.platform.lock import holder_of

_homes: set[object] = set()


def engine_for(settings: Settings) -> sa.Engine:
    """As the queue's, after an embedded database was brought up where no platform runs. It stays so
    until the command ends."""
    if settings.embedded and settings.home not in _homes:
        from media_pipelines.platform import at_hand

        held.enter_context(at_hand.used(settings, lambda text: err.print(text, markup=False, soft_wrap=True)))
        _homes.add(settings.home)
        held.callback(_homes.clear)
    return database.engine_for(settings)


def require_platform(settings: Settings) -> None:
    """For what waits for a job to go on. Raises NotRunning; with DATABASE_URL, other hosts may run it."""
    if settings.embedded and holder_of(settings) is None:
        raise NotRunning(settings.home)
