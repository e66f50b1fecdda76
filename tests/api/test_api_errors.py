"""What a client is told when something is wrong, and that no request is answered with a fault of the server."""

import json
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
from fastapi import APIRouter
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobqueue_bridge import tokens
from jobqueue_bridge.api import jobs as jobs_routes
from jobqueue_bridge.api.problems import STATUS_OF, problem_of
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import JobAlreadyLive, MoveForbidden, QueueError
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus

JOBS, VIDEOS = "/api/media/jobs", "/api/media/videos"
JSON = {"Content-Type": "application/json"}


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    return document


# The table


@pytest.mark.parametrize("kind", QueueError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_queue_has_a_status_code(kind: type[QueueError]) -> None:
    assert kind in STATUS_OF


def test_a_forbidden_move_names_the_state_that_forbids_it() -> None:
    job_id = uuid4()

    answer = problem_of(MoveForbidden(job_id, JobStatus.COMPLETED, JobStatus.PENDING))

    facts = {"status": 409, "jobId": str(job_id), "jobStatus": "completed", "wanted": "pending"}
    assert facts.items() <= json.loads(bytes(answer.body)).items()


def test_a_live_job_that_forbids_another_is_named() -> None:
    job_id = uuid4()

    answer = problem_of(JobAlreadyLive("key", job_id))

    assert {"status": 409, "jobId": str(job_id)}.items() <= json.loads(bytes(answer.body)).items()


# The framework's own errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/media/nothing", 404),
        ("GET", f"{JOBS}/", 404),
        ("GET", f"{JOBS}//stats", 404),
        ("GET", "/redoc", 404),
        ("GET", "/%00", 400),
        ("GET", f"{JOBS}?type=%00", 400),
        ("GET", f"{VIDEOS}?search=a%00b", 400),
        ("GET", f"{JOBS}/%00", 400),
        ("POST", "/health", 405),
        ("DELETE", JOBS, 405),
        ("OPTIONS", JOBS, 405),
        ("TRACE", JOBS, 405),
        ("BREW", JOBS, 400),
    ],
)
def test_the_frameworks_errors_are_problems_too(api: httpx.Client, method: str, path: str, status: int) -> None:
    problem(api.request(method, path), status)


def test_a_wrong_method_is_told_every_right_one(api: httpx.Client) -> None:
    assert api.put(JOBS).headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"not json", JSON, 400),
        (b'{"type": "scan", "priority": NaN}', JSON, 400),
        (b'{"type": "scan", "priority": -Infinity}', JSON, 400),
        (b'{"type": "\xff\xfe"}', JSON, 400),
        (b'"\xed\xa0\x80"', JSON, 400),
        (b"[" * 500_000, JSON, 400),
        (b'{"params":' * 50_000, JSON, 400),
        (b'{"type":"scan","params":{"a":' + b"[" * 100 + b"]" * 100 + b"}}", JSON, 400),
        (b'{"type": "scan", "priority": ' + b"1" * 5000 + b"}", JSON, 400),
        (b"[]", JSON, 422),
        (b"null", JSON, 422),
        (b"5", JSON, 422),
        (b'""', JSON, 422),
        (b"", JSON, 422),
        (b"", {}, 422),
        (b'{"type": "scan", "priority": 1e400}', JSON, 422),
        (b'{"type": "scan\\u0000"}', JSON, 422),
        (b'{"type": "\\ud800"}', JSON, 422),
        (b'{"\\ud800": 1}', JSON, 422),
        (b'{"type": "scan", "params": {"\\u0000": 1}}', JSON, 422),
        (b'{"type": "scan", "params": {"path": "a\\u0000b"}}', JSON, 422),
        (b'{"type": "scan"}', {}, 415),
        (b'{"type": "scan"}', {"Content-Type": "text/plain"}, 415),
        (b"type=scan", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"--x", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (b'{"type": "scan"}', {"Content-Type": "application/json; charset=utf-8"}, 201),
        (b'\xef\xbb\xbf{"type": "public_scan"}', JSON, 201),
    ],
)
def test_a_bad_body_is_told_from_bad_values(
    api: httpx.Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    response = api.post(JOBS, content=body, headers=headers)

    assert response.status_code == status, response.text


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1024 * 1024 + 1, 5 * 1024 * 1024])
def test_a_body_above_a_mebibyte_is_too_large(api: httpx.Client, size: int, chunked: bool) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(size // 1024):
            yield b" " * 1024
        yield b" " * (size % 1024)

    problem(api.post(JOBS, content=parts() if chunked else b" " * size, headers=JSON), 413)


def test_a_body_of_a_mebibyte_is_read(api: httpx.Client) -> None:
    body = b'{"type": "scan"}'.ljust(1024 * 1024)

    assert api.post(JOBS, content=body, headers=JSON).status_code == 201


def test_a_client_that_leaves_in_mid_body_harms_nobody(api: httpx.Client, address: str, admin_token: str) -> None:
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)) as connection:
        connection.sendall(
            f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin_token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
        )

    assert api.get(JOBS).json()["data"] == []


# Addresses that no client library would send


@pytest.mark.parametrize(
    "target",
    [
        b"/api/media/jobs/%",
        b"/api/media/jobs/%zz",
        b"/api/media/jobs/%ff%fe",
        b"/api/media/jobs/%ED%A0%80",
        b"/api/media/jobs?status=%",
        b"/api/media/jobs?status=%zz&%",
        b"/api/media/jobs?&&==&=",
        b"/api/media/jobs?page=1&page=2",
        b"/api/media/jobs?" + b"a=1&" * 2000,
        b"/api/media/jobs/../../etc/passwd",
        b"//evil.example/api/media/jobs",
        b"http://evil.example/api/media/jobs",
        b"/\xc3\xa9",
        b"/\xff",
        b"*",
        b"/api/media/jobs#x",
        b"/" + b"a" * 60_000,
        b"/" + b"a" * 200_000,
    ],
)
@pytest.mark.parametrize("host", [b"x", b"", b"[", b"a b", b"\xff", b"x:99999999"])
def test_a_strange_address_is_no_fault_of_the_server(
    address: str, admin_token: str, database: sa.Engine, target: bytes, host: bytes
) -> None:
    answer = raw(
        address,
        b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n"
        b"Authorization: Bearer " + admin_token.encode() + b"\r\n\r\n",
    )

    assert b"HTTP/1.1 200" <= answer[:12] < b"HTTP/1.1 500", answer[:300]


_POST = b"POST /api/media/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"GET /" + b"a" * 100_000, id="address"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000, id="a header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 20_000, id="headers"),
        pytest.param(_POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: " + b"a" * 100_000, id="a trailer"),
        pytest.param(_POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-A: b\r\n" * 20_000, id="trailers"),
        pytest.param(_POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 100_000, id="a chunk's extension"),
    ],
)
def test_what_never_becomes_whole_is_not_kept_for_ever(address: str, database: sa.Engine, begun: bytes) -> None:
    """The request does not end, and yet the server answers and closes."""
    assert raw(address, begun)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 401")


def test_a_body_may_come_in_many_small_chunks(api: httpx.Client) -> None:
    body = b'{"type": "scan"}'.ljust(20_000)

    assert api.post(JOBS, content=(bytes([byte]) for byte in body), headers=JSON).status_code == 201


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length: +5\r\n",
        b"X-A: b\rX-C: d\r\n",
        b"X-A\r\n",
        b"Authorization: Bearer \x7f\r\n",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(address: str, database: sa.Engine, head: bytes) -> None:
    """Two programs in a row must not read two different requests out of it."""
    answer = raw(address, _POST + head + b"\r\n" + b"5\r\nhello\r\n0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"content-type: application/problem+json\r\n" in answer


@pytest.mark.parametrize("host", [b"[", b"a b", b"x:99999999", b'"><script>', b"\xff"])
def test_the_start_page_repeats_no_strange_host(address: str, host: bytes) -> None:
    answer = raw(address, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")

    assert answer[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 400")
    assert b"<script>" not in answer


def raw(address: str, request: bytes) -> bytes:
    answer = b""
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=10) as connection:
        connection.sendall(request)
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:  # it did not want to read all that
            pass
    return answer


# The database is down


@pytest.fixture(scope="module")
def without_database(settings: Settings, serve: Any, free_port: Callable[[], int]) -> Iterator[httpx.Client]:
    nowhere = settings.model_copy(
        update={"database_url": f"postgresql://nobody@127.0.0.1:{free_port()}/nothing", "jwt_secret": "s" * 32}
    )
    token = tokens.sign(nowhere, tokens.ADMIN_ROLE, timedelta(hours=1))
    with serve(nowhere) as address, httpx.Client(base_url=address) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield client
    engine_for(nowhere).dispose()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", JOBS, None),
        ("GET", f"{JOBS}/stats", None),
        ("GET", f"{JOBS}/{UUID(int=1)}", None),
        ("GET", f"{JOBS}/{UUID(int=1)}/log", None),
        ("GET", VIDEOS, None),
        ("GET", f"{VIDEOS}/{UUID(int=1)}", None),
        ("POST", JOBS, {"type": "scan"}),
        ("POST", f"{JOBS}/reencode", {"videoId": str(UUID(int=1))}),
    ],
)
def test_without_a_database_a_client_is_told_to_come_again(
    without_database: httpx.Client, method: str, path: str, body: Any
) -> None:
    response = without_database.request(method, path, json=body)

    document = problem(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert "nobody" not in response.text
    assert document["detail"] == "The database does not answer"


def test_without_a_database_the_health_check_says_so(without_database: httpx.Client) -> None:
    response = without_database.get("/health")

    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "database": "unreachable"}


def test_a_database_that_waits_for_its_migration_is_told_apart(
    settings: Settings, serve: Any, database: sa.Engine, admin_token: str
) -> None:
    empty = settings.model_copy(update={"database_url": _other_database(settings)})
    with serve(empty) as address:
        health = httpx.get(f"{address}/health")
        listing = httpx.get(f"{address}{JOBS}", headers={"Authorization": f"Bearer {admin_token}"})
    engine_for(empty).dispose()

    assert (health.status_code, health.json()["database"]) == (503, "not migrated")
    problem(listing, 503)


def _other_database(settings: Settings) -> str:
    """Postgres's own database, which holds no queue."""
    return settings.queue_url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)


# Anything at all

_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _TEXT
    | st.sampled_from(
        [10**30, -(10**30), 2**31, 2**63, "\0", "\ud800", "scan", "550e8400-e29b-41d4-a716-446655440000"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=10,
)
_NAMES = ("type", "params", "priority", "resourceCategory", "vramRequired", "maxRetries", "videoId", "crf", "preset")
_PARAMS = (
    *("path", "directoryType", "videoId", "inputPath", "outputPath", "count", "seed", "timestamp", "minDuration"),
    *("videoIds", "tags", "fps", "format", "crossfade", "maxBytes"),
)
_TYPES = (
    *("scan", "compile_random", "reencode_streaming", "thumbnail_generate", "validate", "public_scan"),
    *("compile_quad", "compile_mega", "compile_gif"),
)
_BODY = st.one_of(
    _JSON,
    st.dictionaries(st.sampled_from(_NAMES), _JSON),
    st.fixed_dictionaries(
        {"type": st.sampled_from(_TYPES), "params": st.dictionaries(st.sampled_from(_PARAMS), _JSON, max_size=4)}
    ),
)
_QUERY = st.dictionaries(
    st.sampled_from(["page", "limit", "status", "type", "resourceCategory", "videoId", "search", "tail"]),
    st.one_of(_TEXT, st.integers().map(str), st.sampled_from(["", "1e9", "NaN", "running", "\0"])),
    max_size=4,
)
_PATH = st.one_of(
    st.sampled_from([JOBS, f"{JOBS}/stats", f"{JOBS}/reencode", VIDEOS, "/", "/health", "/docs"]),
    st.builds(
        lambda start, end: start + quote(end.encode(errors="surrogatepass")),
        st.sampled_from([f"{JOBS}/", f"{VIDEOS}/", "/"]),
        _TEXT,
    ),
    st.just(f"{JOBS}/{UUID(int=1)}/log"),
)


@examples(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["GET", "POST", "POST", "PATCH"]), path=_PATH, query=_QUERY, body=_BODY)
def test_no_request_is_answered_with_a_fault_of_the_server(
    api: httpx.Client, method: str, path: str, query: dict[str, str], body: Any
) -> None:
    encoded = "&".join(f"{name}={quote(value.encode(errors='surrogatepass'))}" for name, value in query.items())
    content = json.dumps(body).encode() if method != "GET" else None

    response = api.request(method, f"{path}?{encoded}", content=content, headers=JSON)

    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"


def test_a_fault_of_the_server_is_a_problem_that_tells_nothing(
    settings: Settings, serve: Any, admin_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = APIRouter(prefix="/api/broken")

    @broken.get("")
    def fail() -> None:
        raise ZeroDivisionError("a detail for the log alone")

    monkeypatch.setattr(jobs_routes, "router", broken)
    with serve(settings) as address:
        response = httpx.get(f"{address}/api/broken", headers={"Authorization": f"Bearer {admin_token}"})

    document = problem(response, 500)
    assert "ZeroDivision" not in response.text
    assert "a detail" not in document["detail"]
