"""With a long history in the table, what runs often still goes through its index."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import (
    admission,
    archive,
    condition,
    dispatching,
    drains,
    lease,
    listing,
    logs,
    params,
    queue,
    retention,
    stats,
    vram,
)
from jobqueue_bridge.admission import Waiting
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import JobAlreadyLive, JobNotFound
from jobqueue_bridge.listing import Order, Wanted
from jobqueue_bridge.queue import Filters, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import JobStatus, JobType, ResourceCategory

_HISTORY = """
INSERT INTO jobs (type, status, params, resource_category, created_at, started_at, completed_at, unique_key, video_id)
SELECT (ARRAY['scan', 'validate', 'reencode_streaming', 'digest_generate'])[1 + i % 4],
       CASE WHEN i > 49000 THEN 'pending' WHEN i % 50 = 0 THEN 'failed' ELSE 'completed' END,
       '{}', (ARRAY['cpu', 'cpu', 'gpu_encode', 'gpu_ai'])[1 + i % 4],
       timestamp '2025-01-01' + i * interval '1 min', timestamp '2025-01-01' + i * interval '1 min',
       timestamp '2025-01-01' + i * interval '2 min', 'key ' || i, gen_random_uuid()
FROM generate_series(1, 50000) AS i
"""
_EXAMPLES = """
UPDATE jobs SET status = 'queued', attempt = 1 WHERE unique_key IN ('key 49001', 'key 49002');
UPDATE jobs SET status = 'running', lease_token = gen_random_uuid() WHERE unique_key = 'key 49003';
UPDATE jobs SET status = 'paused', lease_token = gen_random_uuid() WHERE unique_key = 'key 49004';
UPDATE jobs SET retry_after = now() + interval '1 hour' WHERE unique_key IN ('key 49005', 'key 49006');
UPDATE jobs SET queue_position = 1, waiting_reason = 'w' WHERE unique_key = 'key 49007';
UPDATE jobs SET unique_key = 'scan:library/videos:True' WHERE unique_key = 'key 49008';
INSERT INTO jobs (type, params, resource_category, priority, created_at, parent_id)
SELECT 'scan', '{}', 'cpu', 1, timestamp '2024-01-01' + i * interval '1 s', id
FROM jobs, generate_series(1, 5000) AS i WHERE unique_key = 'key 49003';
INSERT INTO job_leases (job_id, attempt, token) SELECT id, attempt, lease_token FROM jobs WHERE lease_token IS NOT NULL;
INSERT INTO job_attempts (job_id, attempt) SELECT id, attempt FROM jobs WHERE lease_token IS NOT NULL;
INSERT INTO job_logs (job_id, line) SELECT id, 'frame ' || n
FROM (SELECT id FROM jobs WHERE status = 'failed') AS failed, generate_series(1, 20) AS n;
"""


_DRAIN = UUID(int=9)
_WORKED_THROUGH = f"""
INSERT INTO drains (id, name, limited, heartbeat_at) VALUES ('{_DRAIN}', 'nightly', true, now() + interval '1 hour');
INSERT INTO drain_jobs (drain_id, job_id) SELECT '{_DRAIN}', id FROM jobs ORDER BY created_at DESC LIMIT 5000;
INSERT INTO drain_jobs (drain_id, job_id) SELECT '{_DRAIN}', gen_random_uuid() FROM generate_series(1, 5000);
"""
_ARCHIVED = """
SELECT jobs_archive_make_month(day::date)
FROM generate_series(date '2024-01-01', date '2024-06-01', interval '1 month') AS day;
INSERT INTO jobs_archive (id, type, status, created_at, completed_at, job, attempts, log)
SELECT gen_random_uuid(), 'scan', 'completed', ended, ended, '{}', '[]', ''
FROM (SELECT timestamp '2024-01-01' + i * interval '6 min' AS ended FROM generate_series(1, 40000) AS i) AS past;
"""


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[sa.Engine]:
    """Fifty thousand jobs, a thousand of them pending; at the head of the line five thousand wait for their parent."""
    engine = engine_for(settings)
    with engine.begin() as connection:
        connection.execute(sa.text("TRUNCATE jobs CASCADE"))
        connection.execute(sa.text(_HISTORY))
        for statement in [*_EXAMPLES.split(";"), *_WORKED_THROUGH.split(";"), *_ARCHIVED.split(";")]:
            if statement.strip():
                connection.execute(sa.text(statement))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            sa.text("VACUUM ANALYZE jobs, job_tallies, job_leases, job_attempts, job_logs, drain_jobs, jobs_archive")
        )
    yield engine
    with engine.begin() as connection:
        connection.execute(sa.text("TRUNCATE jobs, jobs_archive, drains CASCADE"))


@dataclass
class Plans:
    """How Postgres would do each statement of a call."""

    nodes: list[dict[str, Any]]

    @property
    def indexes(self) -> set[str]:
        named = {node.get("Index Name") for node in self.nodes}
        return {name for name in named if name} | {
            name for node in self.nodes for name in node.get("Conflict Arbiter Indexes", [])
        }

    @property
    def read_whole(self) -> set[str]:
        return {node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"}


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _explained(engine: sa.Engine, act: Callable[[sa.Connection], Any], *, generic: bool) -> Plans:
    """`generic`: as of a prepared statement, before its parameters are known."""
    statements: list[tuple[str, Any]] = []

    def note(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        statements.append((statement, parameters[0] if executemany else parameters))

    with engine.connect() as connection:  # others in this process speak through the engine, too
        sa.event.listen(connection, "before_cursor_execute", note)
        act(connection)
        connection.rollback()
    nodes: list[dict[str, Any]] = []
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        for statement, parameters in statements:
            if generic:
                cursor.execute("EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + _numbered(statement))
            else:
                cursor.execute("EXPLAIN (FORMAT JSON) " + statement, parameters)
            (answer,) = cursor.fetchone() or ([],)
            nodes.extend(_nodes((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]))
    return Plans(nodes)


def _numbered(statement: str) -> str:
    """With $1, $2, … for %(name)s."""
    numbers: dict[str, int] = {}
    return re.sub(
        r"%\((\w+)\)s", lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", statement
    ).replace("%%", "%")


_LARGE = {"jobs", "drain_jobs", *(f"jobs_archive_2024_{month:02}" for month in range(1, 7))}
SOME_ID = UUID(int=7)
CHECKED = queue.Checked(JobType.SCAN, params.Scan(), None)


def _find(connection: sa.Connection) -> None:
    with pytest.raises(JobNotFound):
        queue.find(connection, str(SOME_ID))


def _position(connection: sa.Connection) -> None:
    dispatching.position(connection, queue.page(connection, Filters(JobStatus.PENDING), limit=1).jobs[0])


def _archive(connection: sa.Connection) -> None:
    """A batch in the middle of the history."""
    status, after = JobStatus.COMPLETED, (datetime(2025, 2, 1, tzinfo=UTC), SOME_ID)
    for begin in (None, after):
        chosen = connection.execute(retention._next(status, 30, begin, 100)).all()
    connection.execute(sa.select(sa.func.jobs_archive_make_month(date(2025, 2, 1))))
    connection.execute(sa.select(sa.func.jobs_archive_make_month(date(2025, 3, 1))))
    connection.execute(retention._move([row.id for row in chosen]))


def _archived(connection: sa.Connection) -> None:
    for reference in (str(SOME_ID), "a0b1c2d3"):
        with pytest.raises(JobNotFound):
            archive.find(connection, reference)


Act = Callable[[sa.Connection], Any]
OFTEN: list[tuple[str, Act, set[str]]] = [
    ("ready", dispatching.ready, {"jobs_ready", "jobs_ready_strays"}),
    ("active", dispatching.active, {"jobs_active"}),
    ("running", queue.running, {"jobs_active"}),
    ("queued", lambda connection: queue.queued_for_longer_than(connection, 60), set()),
    ("next retry", dispatching.seconds_to_next_retry, {"jobs_waiting_for_retry"}),
    (
        "admit",
        lambda connection: dispatching.admit(connection, admission.Admitted(SOME_ID, ()), CHECKED),
        {"jobs_pkey"},
    ),
    (
        "note waiting",
        lambda connection: dispatching.note_waiting(connection, [], [Waiting(SOME_ID, "w")]),
        {"jobs_pkey", "jobs_with_position"},
    ),
    ("claim", lambda connection: lease.claim(connection, SOME_ID, 1, run_id="r", host="h"), set()),
    ("learn VRAM", lambda connection: vram.learn(connection, vram.Work("scan"), 1), {"vram_learned_pkey"}),
    ("tidy", queue.tidy_after_outside_moves, {"jobs_pkey"}),
    ("find", _find, {"jobs_pkey"}),
    ("log", lambda connection: logs.text(connection, SOME_ID), {"job_logs_pkey"}),
    ("archive", _archive, {"jobs_ended", "jobs_pkey", "job_logs_pkey"}),
    ("what waits", condition.waiting, {"jobs_newest", "jobs_active"}),
    ("drain's beat", lambda connection: drains.beat(connection, _DRAIN), {"jobs_active", "drain_jobs_pkey"}),
    ("drains in force", lambda connection: drains.in_force(connection, [SOME_ID]), {"drain_jobs_pkey"}),
    ("what a drain did", lambda connection: drains.newer(connection, _DRAIN, 9_000), {"drain_jobs_newest"}),
    ("a job's cores", lambda connection: drains.cores_for(connection, SOME_ID), {"drain_jobs_pkey"}),
    ("archived", _archived, {"jobs_archive_2024_06_pkey"}),
    ("holders", lambda connection: lease.holders(connection, [SOME_ID]), {"jobs_pkey"}),
]
SEEN: list[tuple[str, Act, set[str]]] = [
    ("newest", lambda connection: queue.page(connection, Filters(), limit=20), {"jobs_newest"}),
    ("late page", lambda connection: queue.page(connection, Filters(), limit=20, offset=40_000), {"jobs_newest"}),
    ("status", lambda connection: queue.page(connection, Filters(JobStatus.FAILED), limit=20), {"jobs_by_status"}),
    ("type", lambda connection: queue.page(connection, Filters(type="scan"), limit=20), {"jobs_by_type"}),
    (
        "category",
        lambda connection: queue.page(connection, Filters(resource_category=ResourceCategory.GPU_AI), limit=20),
        {"jobs_by_category"},
    ),
    ("video", lambda connection: queue.page(connection, Filters(video_id=SOME_ID), limit=20), {"jobs_by_video"}),
    ("children", lambda connection: queue.children(connection, SOME_ID, limit=20), {"jobs_by_parent"}),
    (
        "listed children",
        lambda connection: listing.page(connection, Wanted(parent_id=SOME_ID), Order.NEWEST, limit=20),
        {"jobs_by_parent"},
    ),
    ("position", _position, {"jobs_ready"}),
    ("statistics", stats.read, set()),
    ("what is old", lambda connection: retention.count_finished(connection, 30), {"jobs_ended"}),
]


@pytest.mark.parametrize(("act", "indexes"), [pytest.param(*entry[1:], id=entry[0]) for entry in (*OFTEN, *SEEN)])
def test_what_runs_often_reads_no_table_of_jobs_from_end_to_end(engine: sa.Engine, act: Act, indexes: set[str]) -> None:
    plans = _explained(engine, act, generic=False)
    assert not _LARGE & plans.read_whole
    assert indexes <= plans.indexes


@pytest.mark.parametrize(("act", "indexes"), [pytest.param(*entry[1:], id=entry[0]) for entry in OFTEN])
def test_a_prepared_plan_does_so_too(engine: sa.Engine, act: Act, indexes: set[str]) -> None:
    plans = _explained(engine, act, generic=True)
    assert not _LARGE & plans.read_whole
    assert indexes <= plans.indexes


# What a statement costs with all that triggers do for it: Postgres counts it within the transaction.

_READ = sa.text(
    "SELECT coalesce(sum(seq_scan), 0), coalesce(sum(idx_tup_fetch), 0) FROM pg_stat_xact_user_tables"
    " WHERE relname = 'jobs'"
)


def _cost(engine: sa.Engine, act: Act) -> tuple[int, int]:
    """How often `jobs` was read from end to end, and how many of its rows were fetched through indexes."""
    with engine.connect() as connection:
        before = connection.execute(_READ).one()
        act(connection)
        after = connection.execute(_READ).one()
        connection.rollback()
    return after[0] - before[0], after[1] - before[1]


def _id(engine: sa.Engine, key: str) -> UUID:
    with engine.connect() as connection:
        return connection.execute(sa.select(jobs.c.id).where(jobs.c.unique_key == key)).scalar_one()


def _move(job_id: UUID, **values: Any) -> Act:
    return lambda connection: connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(**values))


def _delete(job_id: UUID) -> Act:
    return lambda connection: connection.execute(sa.delete(jobs).where(jobs.c.id == job_id))


def _insert_child(job_id: UUID) -> Act:
    row = {"type": "scan", "params": {}, "resource_category": "cpu", "parent_id": job_id}
    return lambda connection: connection.execute(sa.insert(jobs).values(row))


def test_however_much_is_held_at_the_head_of_the_line_it_is_not_passed_over(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        found = dispatching.ready(connection)
    scans, fetched = _cost(engine, dispatching.ready)
    assert (scans, len(found)) == (0, 600)
    assert fetched <= 620
    assert _cost(engine, condition.waiting)[1] <= 1100, "a thousand of them for the latest start"


@pytest.mark.parametrize(
    ("key", "act"),
    [
        pytest.param("key 49003", partial(_move, progress=7), id="progress of a job for which thousands wait"),
        pytest.param("key 49002", partial(_move, progress=7), id="progress"),
        pytest.param("key 49002", partial(_move, status="completed"), id="completion"),
        pytest.param("key 49002", partial(_move, status="failed", error="x"), id="failure"),
        pytest.param("key 48000", _delete, id="deletion"),
        pytest.param("key 49003", _insert_child, id="one more child"),
    ],
)
def test_what_triggers_do_about_children_reads_a_few_rows(
    engine: sa.Engine, key: str, act: Callable[[UUID], Act]
) -> None:
    scans, fetched = _cost(engine, act(_id(engine, key)))
    assert scans == 0
    assert fetched <= 20


def test_jobs_that_end_by_the_thousand_cost_a_few_rows_each(engine: sa.Engine) -> None:
    """Also in a session that has planned for one at a time before."""
    one = _id(engine, "key 49002")
    with engine.connect() as connection:
        many = connection.scalars(sa.select(jobs.c.id).where(dispatching.is_ready()).limit(900)).all()

    def one_then_many(connection: sa.Connection) -> None:
        for _ in range(8):
            _move(one, status="completed")(connection)
            _move(one, status="queued")(connection)
        connection.execute(sa.update(jobs).where(jobs.c.id.in_(many)).values(status="cancelled"))

    scans, fetched = _cost(engine, one_then_many)
    assert scans == 0
    assert fetched < 900 * 10


@pytest.mark.parametrize("generic", [False, True])
def test_asking_for_what_is_live_already_goes_through_the_unique_index(
    engine: sa.Engine, settings: Settings, generic: bool
) -> None:
    def ask(connection: sa.Connection) -> None:
        with pytest.raises(JobAlreadyLive):
            queue.enqueue(connection, NewJob("scan", {}), settings)

    plans = _explained(engine, ask, generic=generic)
    assert "jobs" not in plans.read_whole
    assert plans.indexes == {"jobs_unique_while_live"}
