"""The API as it is served: uvicorn on a free port of this machine, the suite's own Postgres behind it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa

from jobqueue_bridge import tokens
from jobqueue_bridge.api.__main__ import server
from jobqueue_bridge.settings import Settings

Serve = Callable[[Settings], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            return int(listening.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def serve(free_port: Callable[[], int]) -> Serve:
    """Serve an API with given settings on a port of its own; yields its address."""

    @contextmanager
    def served(settings: Settings) -> Iterator[str]:
        settings = settings.model_copy(update={"api_port": free_port()})
        serving = server(settings)
        thread = threading.Thread(target=serving.run)
        thread.start()
        deadline = time.monotonic() + 20
        while not serving.started and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{settings.api_port}"
        finally:
            serving.should_exit = True
            thread.join(10)
            assert not thread.is_alive()

    return served


@pytest.fixture(scope="session")
def address(settings: Settings, serve: Serve) -> Iterator[str]:
    with serve(settings) as address:
        yield address


@pytest.fixture(scope="session")
def admin_token(settings: Settings) -> str:
    return tokens.sign(settings, tokens.ADMIN_ROLE, timedelta(hours=1))


@pytest.fixture
def api(address: str, admin_token: str, database: sa.Engine) -> Iterator[httpx.Client]:
    """A client with an administrator's token, on empty tables."""
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {admin_token}"}, timeout=30) as client:
        yield client


@pytest.fixture
def anonymous(address: str, database: sa.Engine) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client
