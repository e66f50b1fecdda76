"""The doorway to the queue's database."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from pydantic import Field

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.resources.doorway import Doorway


class Queue(Doorway):
    """Transactions on the `jobs` and `videos` tables, as the settings of this process say."""

    database_url: str | None = Field(default=None, description="Another Postgres; empty: what `DATABASE_URL` says.")

    @property
    def settings(self) -> Settings:
        """Those of this process, for the database of this resource. Raises InvalidSettings."""
        return load_settings(database_url=self.database_url) if self.database_url else load_settings()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        with engine_for(self.settings).begin() as connection:
            yield connection
