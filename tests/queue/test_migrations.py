"""A fresh database, one that another program already uses, and several programs that start at once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from jobqueue_bridge import dispatching, lease, logs, queue, stats
from jobqueue_bridge.database import engine_for, require_database
from jobqueue_bridge.errors import DatabaseUnreachable, InvalidJob, InvalidSettings
from jobqueue_bridge.migrations import migrate
from jobqueue_bridge.queue import Filters, NewJob
from jobqueue_bridge.schema_version import VERSION_TABLE, newest
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import metadata
from jobqueue_bridge.vocabulary import NEEDS, JobStatus, JobType

# As drizzle-kit writes it from the specification's schema.
SPECIFIED_TABLE = """
CREATE TABLE "jobs" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"type" text NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"params" jsonb NOT NULL,
	"progress" integer DEFAULT 0,
	"log" text DEFAULT '',
	"priority" integer DEFAULT 5,
	"queue_position" integer,
	"waiting_reason" text,
	"resource_category" text NOT NULL,
	"vram_required" integer DEFAULT 0,
	"created_at" timestamp DEFAULT now(),
	"started_at" timestamp,
	"completed_at" timestamp,
	"retry_count" integer DEFAULT 0,
	"max_retries" integer DEFAULT 3,
	"retry_after" timestamp
);
CREATE INDEX idx_jobs_status_priority ON jobs(status, priority, created_at);
"""

OLD_ROWS = """
INSERT INTO jobs (type, status, params, resource_category, vram_required, log, progress, created_at, started_at,
                  completed_at, retry_count)
SELECT kind, status, '{"directoryType": "videos"}', category, vram, 'log of ' || status, 7,
       '2026-02-13 10:25:00', '2026-02-13 10:30:00', '2026-02-13 10:45:00', 1
FROM unnest(ARRAY['pending', 'queued', 'running', 'completed', 'failed', 'cancelled', 'paused']) AS status,
     (VALUES ('compilation', 'gpu_encode', 2000), ('scan', 'cpu', 0)) AS old (kind, category, vram);
INSERT INTO jobs (type, params, resource_category) VALUES ('public_scan', '{}', 'cpu');
INSERT INTO jobs (type, params, resource_category, vram_required) VALUES ('compile_random', '{}', 'gpu_encode', NULL);
INSERT INTO jobs (type, params, resource_category, progress, log, priority, created_at, retry_count, max_retries)
VALUES ('scan', '{"path": "inbox"}', 'cpu', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO jobs (type, status, params, resource_category, started_at, created_at)
VALUES ('scan', 'processing', '{}', 'cpu', '2026-02-13 10:30:00', NULL);
"""

TABLES = {table.name for table in metadata.sorted_tables}


@pytest.fixture
def fresh(settings: Settings) -> Iterator[Settings]:
    """Settings for an empty database of the test's own, named as by an operator."""
    name = f"test_{uuid4().hex}"
    url = settings.queue_url.set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(), autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        own = settings.model_copy(update={"database_url": url.set(database=name).render_as_string()})
        yield own
        engine_for(own).dispose()
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def run(fresh: Settings) -> Callable[..., list[Any]]:
    """Executes SQL as the other program: its own connection, its own time zone."""

    def execute(statements: str, **options: str) -> list[Any]:
        url = fresh.queue_url.set(drivername="postgresql").render_as_string()
        with psycopg.connect(url, autocommit=True) as other:
            for name, value in options.items():
                other.execute("SELECT set_config(%s, %s, false)", [name, value])
            result = other.execute(statements)
            return result.fetchall() if result.description else []

    return execute


@pytest.fixture
def adopted(fresh: Settings, run: Callable[..., list[Any]]) -> sa.Engine:
    """A database that the admin app has used for a while, taken over."""
    run(SPECIFIED_TABLE)
    run(OLD_ROWS)
    migrate(fresh)
    return engine_for(fresh)


def test_a_fresh_database_gets_every_table(fresh: Settings) -> None:
    migrate(fresh)
    inspector = sa.inspect(engine_for(fresh))
    assert set(inspector.get_table_names()) == {*TABLES, VERSION_TABLE}
    for table in metadata.sorted_tables:
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        assert set(columns) == set(table.columns.keys())
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, (table.name, column.name)


def test_migrating_again_changes_nothing(adopted: sa.Engine, fresh: Settings, run: Callable[..., list[Any]]) -> None:
    everything = "SELECT * FROM jobs ORDER BY id"
    before, needs = run(everything), run("SELECT * FROM job_types ORDER BY type")
    migrate(fresh)
    assert run(everything) == before
    assert run("SELECT * FROM job_types ORDER BY type") == needs
    assert len(needs) == len(NEEDS)


def test_four_programs_may_migrate_at_once(fresh: Settings, run: Callable[..., list[Any]]) -> None:
    run(SPECIFIED_TABLE)
    run(OLD_ROWS)
    processes = [get_context("fork").Process(target=migrate, args=(fresh,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert run("SELECT count(*) FROM jobs") == [(18,)]
    assert run("SELECT sum(jobs) FROM job_tallies") == [(18,)]


def test_a_database_that_refuses_is_named_without_its_password(settings: Settings) -> None:
    gone = settings.model_copy(update={"database_url": "postgresql://u:hunter2@127.0.0.1:1/none"})
    for act in (migrate, require_database):
        with pytest.raises(DatabaseUnreachable) as refused:
            act(gone)
        assert "127.0.0.1:1/none" in str(refused.value)
        assert "hunter2" not in str(refused.value)


def test_a_url_that_the_driver_does_not_understand_is_refused_likewise(fresh: Settings) -> None:
    odd = fresh.model_copy(update={"database_url": f"{fresh.database_url}&schema=public"})
    with pytest.raises(DatabaseUnreachable, match="schema"):
        require_database(odd)


def test_a_jobs_table_that_is_something_else_is_left_alone(fresh: Settings, run: Callable[..., list[Any]]) -> None:
    run("CREATE TABLE jobs (id bigint, job_body text)")
    with pytest.raises(InvalidSettings, match=r"DATABASE_URL: its table `jobs` is no media job queue: it lacks .*type"):
        migrate(fresh)
    assert run("SELECT column_name FROM information_schema.columns WHERE table_name = 'jobs' ORDER BY 1") == [
        ("id",),
        ("job_body",),
    ]
    assert run("SELECT to_regclass('job_types')") == [(None,)]


def test_the_search_path_of_the_url_is_used(fresh: Settings, run: Callable[..., list[Any]]) -> None:
    run("CREATE SCHEMA media")
    there = fresh.model_copy(update={"database_url": f"{fresh.database_url}&options=-csearch_path%3Dmedia"})
    try:
        migrate(there)
        assert run("SELECT to_regclass('public.jobs')::text, to_regclass('media.jobs')::text") == [(None, "media.jobs")]
        run("INSERT INTO media.jobs (type, params) VALUES ('scan', '{}')")
        with engine_for(there).connect() as connection:
            assert queue.page(connection, Filters(), limit=5).total == 1
    finally:
        engine_for(there).dispose()


# Taking over the admin app's table


def test_adoption_loses_nothing(fresh: Settings, run: Callable[..., list[Any]]) -> None:
    run(SPECIFIED_TABLE)
    run(OLD_ROWS)
    columns = (
        "id, type, params, progress, log, queue_position, waiting_reason, resource_category, started_at, completed_at,"
        " retry_count, max_retries, retry_after"
    )
    every = f"SELECT {columns} FROM jobs ORDER BY id"
    known = "SELECT id, status FROM jobs WHERE status <> 'processing' ORDER BY id"
    before, statuses = run(every), run(known)
    migrate(fresh)
    assert run(every) == before
    assert set(statuses) < set(run("SELECT id, status FROM jobs"))
    assert run("SELECT indexname FROM pg_indexes WHERE indexname = 'idx_jobs_status_priority'")


def test_old_rows_can_be_listed_and_looked_at(adopted: sa.Engine) -> None:
    with adopted.connect() as connection:
        page = queue.page(connection, Filters(), limit=100)
        assert (len(page.jobs), page.total) == (18, 18)
        for job in page.jobs:
            assert queue.get(connection, job.id) == job
            assert logs.text(connection, job.id) in {"", f"log of {job.status}"}
        assert queue.page(connection, Filters(type="compilation"), limit=100).total == 7
        old = queue.page(connection, Filters(JobStatus.COMPLETED), limit=1).jobs[0]
        assert old.created_at == datetime(2026, 2, 13, 10, 25, tzinfo=UTC)
        found = stats.read(connection)
        assert (found.by_status[JobStatus.PENDING], found.average_processing_s) == (5, 900)


def test_old_pending_rows_of_known_types_can_run(adopted: sa.Engine, settings: Settings) -> None:
    with adopted.connect() as connection:
        runnable, refused = {}, {}
        for job in dispatching.ready(connection):
            asked = NewJob(
                job.type,
                job.params,
                priority=job.priority,
                resource_category=job.resource_category,
                vram_required=job.vram_required,
                max_retries=job.max_retries,
            )
            try:
                runnable[job.id] = queue.check(connection, asked, settings).kind
            except InvalidJob as error:
                refused[job.type] = str(error)
        kinds = [JobType.COMPILE_RANDOM, JobType.PUBLIC_SCAN, JobType.SCAN, JobType.SCAN]
        assert sorted(runnable.values()) == kinds
        assert list(refused) == ["compilation"]
        assert "unknown job type 'compilation'" in refused["compilation"]


def test_an_old_row_without_vram_gets_its_types_need(adopted: sa.Engine) -> None:
    with adopted.connect() as connection:
        (job,) = queue.page(connection, Filters(type="compile_random"), limit=1).jobs
        assert job.vram_required == NEEDS[JobType.COMPILE_RANDOM].vram_mb


def test_a_status_that_is_none_became_failed_and_says_so(adopted: sa.Engine, run: Callable[..., list[Any]]) -> None:
    assert run("SELECT status, error FROM jobs WHERE error IS NOT NULL") == [
        ("failed", "The status was 'processing', which is none of the queue's")
    ]


def test_rows_that_another_worker_left_running_are_rescued(adopted: sa.Engine) -> None:
    with adopted.begin() as connection:
        left = queue.running(connection)
        assert len(left) == 2
        assert {lease.rescue(connection, stale, "no run holds it") for stale in left} == {JobStatus.PENDING}
        for stale in left:
            assert "log of running" in logs.text(connection, stale.id)
        for stale in queue.queued_for_longer_than(connection, 60):
            assert queue.return_to_pending(connection, stale.id, stale.attempt)
        assert stats.read(connection).by_status[JobStatus.PENDING] == 9


def test_the_old_program_goes_on_inserting_what_it_knows(adopted: sa.Engine, run: Callable[..., list[Any]]) -> None:
    """Drizzle names every column and writes DEFAULT for those that were left out."""
    inserted = run(
        """INSERT INTO "jobs" ("id", "type", "status", "params", "progress", "log", "priority", "queue_position",
            "waiting_reason", "resource_category", "vram_required", "created_at", "started_at", "completed_at",
            "retry_count", "max_retries", "retry_after")
        VALUES (default, 'reencode_streaming', 'pending', '{"videoId": "x"}', default, default, 5, default, default,
            'gpu_encode', default, default, default, default, default, default, default)
        RETURNING progress, log, vram_required, retry_count, max_retries, origin, attempt, created_at IS NOT NULL"""
    )
    assert inserted == [(0, "", 4000, 0, 3, "sql", 0, True)]


def test_rows_that_were_there_wait_for_nobody_and_new_ones_may(
    adopted: sa.Engine, run: Callable[..., list[Any]]
) -> None:
    assert run("SELECT DISTINCT held, held_by_parent FROM jobs") == [(False, False)]
    insert = "INSERT INTO jobs (type, params, resource_category, parent_id) VALUES ('scan', '{}', 'cpu', '%s')"
    ((old,),) = run("SELECT id FROM jobs WHERE status = 'running' AND type = 'scan'")
    run(insert % old)
    assert run("SELECT held, waiting_reason FROM jobs WHERE parent_id IS NOT NULL") == [
        (True, f"waits for its parent: scan {str(old)[:8]}")
    ]
    run("UPDATE jobs SET status = 'completed' WHERE status = 'running'")  # as its old worker does
    assert run("SELECT held, waiting_reason FROM jobs WHERE parent_id IS NOT NULL") == [(False, None)]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_times_are_utc_whatever_zone_the_old_program_is_in(
    adopted: sa.Engine, run: Callable[..., list[Any]], zone: str
) -> None:
    ((inserted, right),) = run(
        "INSERT INTO jobs (type, params, resource_category) VALUES ('scan', '{}', 'cpu')"
        " RETURNING id, created_at = now() AT TIME ZONE 'utc'",
        TimeZone=zone,
    )
    assert right
    run("UPDATE jobs SET status = 'failed' WHERE status = 'running'", TimeZone=zone)
    with adopted.connect() as connection:
        now = connection.scalar(sa.select(sa.func.now()))
        assert now is not None
        assert 0 <= (now - queue.get(connection, inserted).created_at).total_seconds() < 600
        failed = queue.page(connection, Filters(JobStatus.FAILED, "scan"), limit=9).jobs
        assert [job for job in failed if job.completed_at and 0 <= (now - job.completed_at).total_seconds() < 600]


def test_a_role_that_may_only_use_jobs_still_can(adopted: sa.Engine, run: Callable[..., list[Any]]) -> None:
    """The admin app need not be the owner, nor have our schema in its search path."""
    role = f"app_{uuid4().hex}"
    run(f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role}; GRANT ALL ON jobs TO {role}")
    try:
        options = {"role": role, "search_path": "pg_catalog"}
        run("INSERT INTO public.jobs (type, params) VALUES ('compile_quad', '{}')", **options)
        run("UPDATE public.jobs SET status = 'cancelled' WHERE type = 'compile_quad'", **options)
        assert run("SELECT status, vram_required FROM jobs WHERE type = 'compile_quad'") == [("cancelled", 4000)]
        run("DELETE FROM public.jobs WHERE type = 'compile_quad'", **options)
    finally:
        run(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert run("SELECT sum(jobs) = (SELECT count(*) FROM jobs) FROM job_tallies") == [(True,)]


def test_the_newest_version_is_the_one_that_a_migrated_database_has(connection: sa.Connection) -> None:
    found = connection.scalar(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE)))
    assert found == newest()
