"""The pages that need no token, the headers of every answer, and the server as a process."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

import jobqueue_bridge
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import webhooks
from jobqueue_bridge.webhook_target import Webhook
from tests.api.conftest import Serve

JOBS = "/api/media/jobs"
WEB = Path(jobqueue_bridge.__file__).parent / "web"


def test_the_health_check_needs_no_token(anonymous: httpx.Client) -> None:
    response = anonymous.get("/health")

    assert response.status_code == 200
    assert response.json() == {"status": "ok", "database": "ok"}


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health", JOBS, "/nothing"])
def test_every_answer_carries_the_security_headers(anonymous: httpx.Client, path: str) -> None:
    headers = anonymous.get(path, headers={"Origin": "https://evil.example"}).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_the_jobs_page_is_served_with_all_that_it_names(anonymous: httpx.Client) -> None:
    page = anonymous.get("/")

    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="(/web/[^"]+)"', page.text)
    assert any(name.endswith(".js") for name in named)
    assert page.headers["cache-control"] == "no-cache"
    assert any(name.endswith(".css") for name in named)
    assert {name: anonymous.get(name).status_code for name in named} == dict.fromkeys(named, 200)


def test_a_browser_asks_for_the_pages_files_once_until_they_change(anonymous: httpx.Client) -> None:
    modules = {file.relative_to(WEB).as_posix() for file in WEB.rglob("*.js")}
    preloaded = re.findall(r'<link rel="modulepreload" href="/web/([0-9a-f]+)/([^"]+)">', anonymous.get("/").text)
    [version] = {version for version, _ in preloaded}

    assert {name for _, name in preloaded} == modules
    kept = anonymous.get(f"/web/{version}/main.js")
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in ("/web/main.js", f"/web/{'0' * len(version)}/main.js"):  # of no version, and of one that is gone
        other = anonymous.get(path)
        assert (other.content, other.headers["cache-control"]) == (kept.content, "no-cache")


@pytest.mark.parametrize("path", ["%2e%2e/queue.py", "", "none.js", "%2e%2e/%2e%2e/queue.py", "/etc/x.js"])
def test_a_version_leads_to_no_file_outside_the_page(anonymous: httpx.Client, path: str) -> None:
    version = re.findall(r'"/web/([0-9a-f]+)/main.js"', anonymous.get("/").text)[0]

    assert anonymous.get(f"/web/{version}/{path}").status_code == 404


@pytest.mark.parametrize(
    ("host", "linked"),
    [("films.lan:4100", "films.lan"), ("[fd00::1]:4100", "[fd00::1]"), ("films.lan", "films.lan")],
)
def test_dagster_is_linked_on_the_host_that_the_reader_came_by(
    settings: Settings, serve: Any, admin_token: str, host: str, linked: str
) -> None:
    headers = {"Host": host, "Authorization": f"Bearer {admin_token}"}
    with serve(settings.model_copy(update={"dagster_host": "0.0.0.0", "dagster_port": 3001})) as address:
        session = httpx.get(f"{address}/api/media/session", headers=headers).json()

    assert session["dagsterUrl"] == f"http://{linked}:3001"


def test_the_documentation_shows_each_endpoint_with_examples_and_errors(anonymous: httpx.Client) -> None:
    document = anonymous.get("/openapi.json").json()

    create = document["paths"][JOBS]["post"]
    assert create["security"] == [{"HTTPBearer": []}]
    assert {"201", "401", "403", "409", "413", "415", "422", "503"} <= create["responses"].keys()
    assert set(create["responses"]["422"]["content"]) == {"application/problem+json"}
    assert document["components"]["schemas"]["CreateJob"]["examples"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_name_on_the_wire_is_camel_case(anonymous: httpx.Client) -> None:
    schemas = anonymous.get("/openapi.json").json()["components"]["schemas"]

    names = {name for schema in schemas.values() for name in schema.get("properties", {})}
    assert names
    assert not [name for name in names if "_" in name]


# As a process


@pytest.fixture
def process(settings: Settings, database: sa.Engine, free_port: Callable[[], int]) -> Iterator[subprocess.Popen[str]]:
    port = free_port()
    environment = {**os.environ, "MEDIA_PIPELINES_HOME": str(settings.home), "MEDIA_API_PORT": str(port)}
    command = [sys.executable, "-m", "jobqueue_bridge.api"]
    started = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    started.address = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
    _wait_for(started)
    yield started
    started.kill()
    started.communicate()


def _wait_for(process: Any) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{process.address}/health")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("it does not answer")


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_the_server_stops_though_a_client_stays(process: Any, asked: signal.Signals) -> None:
    with httpx.Client(base_url=process.address) as client:
        client.get("/health")
        process.send_signal(asked)
        output, errors = process.communicate(timeout=30)

    assert process.returncode == 0
    assert output == ""
    assert "GET /health" not in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MEDIA_API_PORT", "99999", "MEDIA_API_PORT"),
        ("MEDIA_JWT_PUBLIC_KEY", "/no/such/key.pem", "MEDIA_JWT_PUBLIC_KEY"),
    ],
)
def test_a_bad_setting_is_one_line(tmp_path: Path, variable: str, value: str, said: str) -> None:
    environment = {**os.environ, "MEDIA_PIPELINES_HOME": str(tmp_path), variable: value}

    ended = subprocess.run(
        [sys.executable, "-m", "jobqueue_bridge.api"], env=environment, capture_output=True, text=True, timeout=120
    )

    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_port_in_use_is_said_and_ends_it(process: Any, settings: Settings) -> None:
    port = process.address.rpartition(":")[2]
    environment = {**os.environ, "MEDIA_PIPELINES_HOME": str(settings.home), "MEDIA_API_PORT": port}

    ended = subprocess.run(
        [sys.executable, "-m", "jobqueue_bridge.api"], env=environment, capture_output=True, text=True, timeout=120
    )

    assert ended.returncode != 0
    assert "address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_metrics_are_served_and_need_no_token(anonymous: httpx.Client) -> None:
    scraped = anonymous.get("/metrics")
    assert scraped.headers["content-type"].startswith("text/plain")
    assert "\nmedia_jobs_pending 0.0\n" in scraped.text
    openmetrics = anonymous.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.text.endswith("# EOF\n")


def test_webhooks_are_sent_while_it_serves(
    settings: Settings, serve: Serve, connection: sa.Connection, add_job: Callable[..., UUID]
) -> None:
    came = threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()
            came.set()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        hook = Webhook(url=f"http://127.0.0.1:{receiver.server_port}/", events=("pending",))
        with serve(settings.model_copy(update={"webhooks": (hook,)})):
            deadline_s = time.monotonic() + 20
            while not connection.scalar(sa.select(webhooks.c.url)) and time.monotonic() < deadline_s:
                time.sleep(0.05)
            add_job()
            assert came.wait(20)
        receiver.shutdown()
