"""What every test may ask for: a real Postgres of the suite's own, a migrated and empty queue, a library folder."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import hypothesis
import pytest
import sqlalchemy as sa
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

from jobqueue_bridge import queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.migrations import migrate
from jobqueue_bridge.settings import EMBEDDED_DATABASE, Settings, load_settings
from jobqueue_bridge.tables import jobs, metadata
from media_pipelines.platform.postgres import Cluster, ensure_database, running_postgres

_OWN_VARIABLES = ("MEDIA_", "DATABASE_URL", "FFMPEG_BINARY", "FFPROBE_BINARY", "DAGSTER_HOME")

_LONG = ("e2e", "chaos", "corpus", "test_demo.py", "test_how_to.py", "platform", "cli", "pipelines")

# A migration has filled these, or a trigger keeps them in step with `jobs`.
_NOT_EMPTIED = {"job_tallies", "job_types", "queue_switch"}
_FILLED = " UNION ALL ".join(
    f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in sorted(metadata.tables.keys() - _NOT_EMPTIED)
)

# HYPOTHESIS_PROFILE=thorough: ten thousand examples of each property, other ones each time.
_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
_ANYWHERE: Any = {"deadline": None, "database": None, "print_blob": True}
hypothesis.settings.register_profile("quick", max_examples=100, derandomize=True, **_ANYWHERE)
hypothesis.settings.register_profile(
    "thorough", max_examples=10_000, suppress_health_check=list(hypothesis.HealthCheck), **_ANYWHERE
)
hypothesis.settings.load_profile(_PROFILE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="FOLDER", type=Path, help="Where tests/e2e/page leave pictures.")


class _ByFile(LoadFileScheduling):
    """A worker takes whole files, whose tests share what they set up. All of e2e is one: it shares a platform."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/e2e" if nodeid.startswith("tests/e2e/") else str(super()._split_scope(nodeid))

    def remove_node(self, node: WorkerController) -> str | None:
        """What a worker that died had finished is not handed on: whoever got it would wait for ever for its end."""
        files = self.assigned_work.get(node, {})
        for name in [name for name, tests in files.items() if all(tests.values())]:
            del files[name]
        crashed: str | None = super().remove_node(node)
        return crashed


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByFile:
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no worker is left with it alone at the end."""
    items.sort(key=lambda item: [name not in item.path.parts for name in _LONG])
    if _PROFILE == "thorough":
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """The suite never touches the platform of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(_OWN_VARIABLES):
            del os.environ[name]


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory, _no_settings_from_outside: None) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def settings(session_home: Path) -> Iterator[Settings]:
    """Settings of a platform whose embedded Postgres runs for the whole session, migrated."""
    os.environ["MEDIA_PIPELINES_HOME"] = str(session_home)
    settings = load_settings(media_library_path=session_home / "media")
    settings.media_library_path.mkdir()
    with running_postgres(settings.postgres_data, settings.postgres_socket_dir):
        ensure_database(Cluster(settings.postgres_data, settings.postgres_socket_dir), EMBEDDED_DATABASE)
        migrate(settings)
        yield settings
        engine_for(settings).dispose()


@pytest.fixture
def database(settings: Settings) -> sa.Engine:
    """An engine on empty tables. Refuses any database but the suite's own."""
    engine = engine_for(settings)
    assert settings.embedded
    assert str(settings.home) in str(engine.url.query["host"]) or "media-pipelines-" in str(engine.url.query["host"])
    with engine.begin() as connection:
        # a TRUNCATE of all would take longer than many tests: most leave a few tables filled
        if filled := connection.scalars(sa.text(_FILLED)).all():
            connection.execute(sa.text(f"TRUNCATE {', '.join(filled)} CASCADE"))
        connection.execute(sa.text("UPDATE queue_switch SET paused_at = NULL, paused_by = NULL"))
    return engine


@pytest.fixture
def connection(database: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose every statement is committed at once, so that other sessions see it."""
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@pytest.fixture
def library(settings: Settings) -> Path:
    """An empty library root for one test."""
    root = settings.media_library_path
    for entry in sorted(root.rglob("*"), reverse=True):
        entry.unlink() if entry.is_file() or entry.is_symlink() else entry.rmdir()
    return root


@pytest.fixture
def add_job(connection: sa.Connection, settings: Settings) -> Callable[..., UUID]:
    """Enqueue a job, then set columns of its row: add_job("scan", {"directoryType": "x"}, status="running")."""

    def add(kind: str = "compile_random", params: Any = None, **values: Any) -> UUID:
        job = queue.enqueue(connection, queue.NewJob(kind, params or {}), settings)
        if values:
            connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**values))
        return job.id

    return add


@pytest.fixture
def add_video(connection: sa.Connection) -> Callable[..., UUID]:
    def add(path: str = "inbox/original.mp4", **values: Any) -> UUID:
        return videos.upsert(connection, [{"path": path, "filename": path.rpartition("/")[2], **values}])[path]

    return add
