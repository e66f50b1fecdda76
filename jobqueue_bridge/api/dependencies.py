"""What a route function may ask for."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Request

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


CurrentSettings = Annotated[Settings, Depends(_settings)]


def _database(settings: CurrentSettings) -> sa.Engine:
    return engine_for(settings)


Database = Annotated[sa.Engine, Depends(_database)]
