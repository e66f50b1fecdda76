"""What a route function may ask for."""

from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from fastapi import Depends, Path, Request

from jobqueue_bridge.api.turns import Turns
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tokens import Identity


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


CurrentSettings = Annotated[Settings, Depends(_settings)]


async def _database(request: Request) -> sa.Engine:
    engine: sa.Engine = request.app.state.database
    return engine


async def _turns(request: Request) -> Turns:
    turns: Turns = request.app.state.turns
    return turns


async def _me(request: Request) -> Identity:
    identity: Identity = request.state.identity
    return identity


Database = Annotated[sa.Engine, Depends(_database)]
ReadingTurns = Annotated[Turns, Depends(_turns)]
Me = Annotated[Identity, Depends(_me)]


async def _who(me: Me) -> str:
    return me.name


Who = Annotated[str, Depends(_who)]
JobId = Annotated[UUID, Path(alias="id")]
VideoId = Annotated[UUID, Path(alias="id")]
