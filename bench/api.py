"""The API on a million jobs: reading by 8 clients at once, and 200 that follow a running job."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from bench.figures import Figure, percentile
from jobqueue_bridge import history, lease, queue, tokens
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.migrations import migrate
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from media_pipelines.platform.postgres import Cluster, ensure_database

_FINISHED, _WAITING = 999_000, 1_000
_CLIENTS, _REQUESTS_EACH, _PROMISED_MS = 8, 150, 50.0
_PROMISED_OF_TEXT_MS = 250.0  # a word that stands in 20,000 errors
_FOLLOWERS, _LINES = 200, 200

_BATCH = """
INSERT INTO jobs (type, status, params, resource_category, priority, origin, created_at, started_at, completed_at,
                  progress, error, result)
SELECT (ARRAY['scan', 'validate', 'reencode_streaming', 'compile_random', 'thumbnail_generate'])[1 + i % 5],
       CASE WHEN i >= :waiting_from THEN 'pending' WHEN i % 50 = 0 THEN 'failed' ELSE 'completed' END,
       '{"videoId": "660e8400-e29b-41d4-a716-446655440001", "targetBitrate": 2000}',
       (ARRAY['cpu', 'cpu', 'gpu_encode', 'gpu_encode', 'cpu'])[1 + i % 5],
       1 + i % 10, 'api',
       now() AT TIME ZONE 'utc' - (1000000 - i) * interval '2 s',
       CASE WHEN i < :waiting_from THEN now() AT TIME ZONE 'utc' - (1000000 - i) * interval '2 s' + interval '1 s' END,
       CASE WHEN i < :waiting_from THEN now() AT TIME ZONE 'utc' - (1000000 - i) * interval '2 s' + interval '9 s' END,
       CASE WHEN i < :waiting_from THEN 100 ELSE 0 END,
       CASE WHEN i < :waiting_from AND i % 50 = 0 THEN 'ffmpeg ended with 1: codec not supported' END,
       CASE WHEN i < :waiting_from AND i % 5 = 2 THEN '{"sourceSizeBytes": 1000000, "sizeBytes": 400000}'::jsonb END
FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS i
"""


def measure(settings: Settings) -> list[Figure]:
    with _queue_of_a_million(settings) as own, _served(own) as port:
        token = tokens.sign(own, tokens.ADMIN_ROLE, timedelta(hours=1))
        some_job = _some_job(own)
        figures = [_reading(port, token, what, path.replace("{id}", str(some_job))) for what, path in _READINGS.items()]
        return [*figures, *_following(own, port, token)]


_READINGS = {
    "list": "/api/media/jobs",
    "list, page 500": "/api/media/jobs?page=500",
    "filter by status and type": "/api/media/jobs?status=failed&type=scan",
    "filter by status, sorted by end": "/api/media/jobs?status=completed&sort=-completedAt",
    "filter by text": "/api/media/jobs?text=codec",
    "stats": "/api/media/jobs/stats",
    "detail": "/api/media/jobs/{id}",
}


@contextmanager
def _queue_of_a_million(settings: Settings) -> Iterator[Settings]:
    with own_database(settings, "bench_api") as own:
        with engine_for(own).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            fill(connection)
            history.fold(connection)  # as the reconciler does
            connection.execute(sa.text("VACUUM ANALYZE"))
        yield own


def fill(connection: sa.Connection) -> None:
    for first in range(0, _FINISHED + _WAITING, 50_000):
        rows = {"first": first, "last": first + 49_999, "waiting_from": _FINISHED}
        connection.execute(sa.text(_BATCH), rows)


@contextmanager
def own_database(settings: Settings, name: str) -> Iterator[Settings]:
    """A migrated database beside the platform's, which goes again."""
    cluster = Cluster(settings.postgres_data, settings.postgres_socket_dir)
    ensure_database(cluster, name)
    url = settings.queue_url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    own = settings.model_copy(update={"database_url": url, "api_writes_per_minute": 0, "api_port": _free_port()})
    try:
        migrate(own)
        yield own
    finally:
        engine_for(own).dispose()
        with engine_for(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def _served(own: Settings) -> Iterator[int]:
    environment = {
        **os.environ,
        "MEDIA_PIPELINES_HOME": str(own.home),
        "DATABASE_URL": own.database_url,
        "MEDIA_API_PORT": str(own.api_port),
        "MEDIA_API_WRITES_PER_MINUTE": "0",
    }
    serving = subprocess.Popen(
        [sys.executable, "-m", "jobqueue_bridge.api"], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(own.api_port)
        yield own.api_port
    finally:
        serving.terminate()
        serving.wait()


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
            return
        time.sleep(0.05)
    raise TimeoutError("the API does not answer")


def _some_job(own: Settings) -> UUID:
    with engine_for(own).connect() as connection:
        found: UUID = connection.scalars(sa.select(jobs.c.id).where(jobs.c.status == "failed").limit(1)).one()
    return found


def _request(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def _reading(port: int, token: str, what: str, path: str) -> Figure:
    """Each client asks again as soon as it is answered, as wrk does."""
    request = _request(path, token)
    took_ms: list[float] = []
    began_s = time.monotonic()
    clients = [threading.Thread(target=_ask, args=(port, request, took_ms)) for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    rate = len(took_ms) / (time.monotonic() - began_s)
    assert len(took_ms) == _CLIENTS * _REQUESTS_EACH
    p50, p95 = percentile(took_ms, 50), percentile(took_ms, 95)
    promised_ms = _PROMISED_OF_TEXT_MS if "text=" in path else _PROMISED_MS
    return Figure(
        f"1,000,000 jobs: {what}, 8 clients",
        f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, {rate:.0f}/s",
        f"p95 < {promised_ms:.0f} ms",
        p95 < promised_ms,
    )


def _ask(port: int, request: bytes, took_ms: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(_REQUESTS_EACH):
            began_s = time.perf_counter()
            connection.sendall(request)
            _read_answer(connection)
            took_ms.append((time.perf_counter() - began_s) * 1000)


def _read_answer(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head[:200]
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].partition(b":")[2]) - len(body)
    while missing > 0:
        missing -= len(_received(connection))


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the API closed the connection")
    return data


def _following(own: Settings, port: int, token: str) -> list[Figure]:
    with engine_for(own).begin() as connection:
        job = queue.enqueue(connection, NewJob("compile_random", {"seed": 1}), own)
        connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(status="queued", attempt=1))
        held = lease.claim(connection, job.id, 1, run_id="bench", host="bench")
    assert held is not None
    ready = threading.Event()
    working = threading.Thread(target=_work, args=(own, held, ready))
    working.start()
    heard = asyncio.run(_follow_all(port, token, job.id, ready))
    working.join()
    right = sum(one == heard[0] for one in heard)
    lines = [line for name, data in heard[0] if name == "log" for line in _lines(data)]
    complete = lines == [f"line {number}" for number in range(_LINES)]
    steps = [json.loads(data)["job"]["progress"] for name, data in heard[0] if name == "job"]
    in_order = steps == sorted(steps) and set(range(_LINES // 2)) <= set(steps)
    kept = right == len(heard) == _FOLLOWERS and complete and in_order
    said = f"{right} of {len(heard)} heard the same {len(heard[0])} events, "
    return [
        Figure(
            f"{_FOLLOWERS} clients follow a running job",
            said + ("none missing or out of order" if complete and in_order else "some missing or out of order"),
            "no event dropped or reordered",
            kept,
        )
    ]


def _lines(data: str) -> list[str]:
    return [line["line"] for line in json.loads(data)["lines"]]


def _work(own: Settings, held: lease.Lease, ready: threading.Event) -> None:
    """A run as it is seen from outside: lines and progress, then the end."""
    ready.wait(120)
    for number in range(_LINES):
        with engine_for(own).begin() as connection:
            lease.log(connection, held, [f"line {number}"])
            if number % 2 == 0:
                lease.beat(connection, held, number // 2, {"fps": 60.0})
        time.sleep(0.02)
    with engine_for(own).begin() as connection:
        lease.complete(connection, held, {})


async def _follow_all(port: int, token: str, job_id: UUID, ready: threading.Event) -> list[list[tuple[str, str]]]:
    begun = asyncio.Semaphore(0)
    path = f"/api/media/jobs/{job_id}/events"
    following = [asyncio.create_task(_follow(port, _request(path, token), begun)) for _ in range(_FOLLOWERS)]
    for _ in range(_FOLLOWERS):
        await begun.acquire()
    ready.set()
    return list(await asyncio.wait_for(asyncio.gather(*following), 120))


async def _follow(port: int, request: bytes, begun: asyncio.Semaphore) -> list[tuple[str, str]]:
    """Every event after the snapshot, to the end of the job."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    seen: list[tuple[str, str]] = []
    name = ""
    try:
        while True:
            line = (await reader.readline()).decode().rstrip("\r\n")
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data = line[6:]
                if name == "job" and '"snapshot"' in data:
                    begun.release()
                elif name in ("job", "log"):
                    seen.append((name, data))
                if name == "job" and json.loads(data)["job"]["status"] == "completed":
                    return seen
    finally:
        writer.close()
