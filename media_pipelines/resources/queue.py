"""The doorway to the queue's database."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import sqlalchemy as sa

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings, load_settings


class Queue(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Transactions on the `jobs` and `videos` tables, as the settings of this process say."""

    @property
    def settings(self) -> Settings:
        return load_settings()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        with engine_for(self.settings).begin() as connection:
            yield connection
