"""The specification's own curl lines and JSON examples, replayed: the same fields with the same types come back."""

import json
import shlex
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

from jobqueue_bridge import lease, queue
from jobqueue_bridge.tables import jobs

JOBS = "/api/media/jobs"
Add = Callable[..., UUID]

LIST = """{"data": [{"id": "550e8400-e29b-41d4-a716-446655440000", "type": "reencode_streaming", "status": "running",
  "progress": 45, "resourceCategory": "gpu_encode", "vramRequired": 4000, "priority": 5,
  "params": {"videoId": "660e8400-e29b-41d4-a716-446655440001", "targetBitrate": 2000},
  "startedAt": "2026-02-13T10:30:00Z", "createdAt": "2026-02-13T10:25:00Z"}],
  "pagination": {"page": 1, "limit": 20, "total": 156, "totalPages": 8}}"""
DETAILS = """{"id": "550e8400-e29b-41d4-a716-446655440000", "type": "reencode_streaming", "status": "completed",
  "progress": 100, "log": "Starting re-encode...", "params": {"videoId": "660e8400-e29b-41d4-a716-446655440001",
  "inputPath": "inbox/original.mp4", "outputPath": "playback/encoded.mp4", "targetBitrate": 2000},
  "resourceCategory": "gpu_encode", "vramRequired": 4000, "priority": 5, "retryCount": 0, "maxRetries": 3,
  "createdAt": "2026-02-13T10:25:00Z", "startedAt": "2026-02-13T10:30:00Z", "completedAt": "2026-02-13T10:45:00Z"}"""
CREATE = """{"type": "reencode_streaming", "params": {"videoId": "VIDEO_ID", "targetBitrate": 2000}, "priority": 5,
  "resourceCategory": "gpu_encode", "vramRequired": 4000}"""
CREATED = """{"id": "770e8400-e29b-41d4-a716-446655440002", "type": "reencode_streaming", "status": "pending",
  "progress": 0, "createdAt": "2026-02-13T11:00:00Z"}"""
RETRIED = """{"id": "550e8400-e29b-41d4-a716-446655440000", "status": "pending", "retryCount": 1, "retryAfter": null,
  "log": "Starting re-encode...\\n[Previous logs...]\\n--- RETRY ATTEMPT 1 ---\\n"}"""
CANCELLED = """{"id": "550e8400-e29b-41d4-a716-446655440000", "status": "cancelled",
  "log": "Starting re-encode...\\nProgress: 25%\\n--- JOB CANCELLED BY ADMIN ---"}"""
PAUSED = '{"id": "550e8400-e29b-41d4-a716-446655440000", "status": "paused"}'
RESUMED = '{"id": "550e8400-e29b-41d4-a716-446655440000", "status": "pending"}'
STATS = """{"pending": 12, "queued": 2, "running": 3, "completed": 1458, "failed": 23, "paused": 1,
  "totalVramUsed": 12000, "totalVramAvailable": 16000, "averageProcessingTime": 245,
  "jobsByType": {"reencode_streaming": 45, "scan": 8, "compile_random": 12}}"""

CURL_CREATE = """curl -X POST http://localhost:4100/api/media/jobs \\
  -H "Authorization: Bearer YOUR_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{ "type": "reencode_streaming", "params": { "videoId": "VIDEO_ID", "targetBitrate": 2000 }, "priority": 5 }'"""
CURL_DETAILS = "curl -s http://localhost:4100/api/media/jobs/JOB_ID"
CURL_LOG = "curl http://localhost:4100/api/media/jobs/JOB_ID"
CURL_STATS = "curl http://localhost:4100/api/media/jobs/stats"


def is_like(example: Any, answer: Any, where: str = "") -> None:
    """Every field of the example is in the answer, with its type; an instant is one, an id too. More may be there."""
    match example:
        case dict():
            assert isinstance(answer, dict), where
            for name, value in example.items():
                assert name in answer, f"{where}.{name} is missing"
                is_like(value, answer[name], f"{where}.{name}")
        case list():
            assert isinstance(answer, list), where
            assert answer, f"{where} is empty"
            for item in answer:
                is_like(example[0], item, f"{where}[]")
        case str():
            assert isinstance(answer, str), f"{where}: {answer!r}"
            for kind in (UUID, datetime.fromisoformat):
                if _reads(kind, example):
                    assert _reads(kind, answer), f"{where}: {answer!r}"
        case bool() | None:
            assert answer is example, f"{where}: {answer!r}"
        case _:
            assert isinstance(answer, int | float), f"{where}: {answer!r}"
            assert not isinstance(answer, bool), where


def _reads(kind: Callable[[str], Any], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def curl(api: httpx.Client, line: str, **words: str) -> httpx.Response:
    """What the command would send, with its placeholders filled in."""
    for placeholder, word in words.items():
        line = line.replace(placeholder, word)
    arguments = iter(shlex.split(line.replace("\\\n", " "))[1:])
    method, headers, content, url = "GET", dict(api.headers), None, ""
    for argument in arguments:
        match argument:
            case "-X":
                method = next(arguments)
            case "-H":
                name, _, value = next(arguments).partition(": ")
                headers[name.lower()] = value
            case "-d":
                content = next(arguments)
            case "-s":
                pass
            case _:
                url = argument
    return httpx.request(
        method, url.replace("http://localhost:4100", str(api.base_url)), headers=headers, content=content
    )


@pytest.fixture
def token(admin_token: str) -> str:
    return admin_token


def test_the_curl_lines_work_as_they_stand(api: httpx.Client, add_video: Add, token: str) -> None:
    created = curl(api, CURL_CREATE, YOUR_TOKEN=token, VIDEO_ID=str(add_video()))
    assert created.status_code == 201
    is_like(json.loads(CREATED), created.json())
    job_id = created.json()["id"]

    assert curl(api, CURL_DETAILS, JOB_ID=job_id).json()["progress"] == 0
    assert curl(api, CURL_LOG, JOB_ID=job_id).json()["log"] == ""
    is_like({**json.loads(STATS), "jobsByType": {"reencode_streaming": 1}}, curl(api, CURL_STATS).json())


def test_a_created_job_is_like_the_example(api: httpx.Client, add_video: Add) -> None:
    body = CREATE.replace("VIDEO_ID", str(add_video()))

    created = api.post(JOBS, content=body, headers={"Content-Type": "application/json"})

    is_like(json.loads(CREATED), created.json())


def test_the_list_is_like_the_example(api: httpx.Client, a_run: Add) -> None:
    a_run()

    query = {
        "page": 1,
        "limit": 20,
        "status": "running",
        "type": "reencode_streaming",
        "resourceCategory": "gpu_encode",
    }
    is_like(json.loads(LIST), api.get(JOBS, params=query).json())


def test_the_details_are_like_the_example(api: httpx.Client, a_run: Add) -> None:
    job_id = a_run(ends="completed")

    is_like(json.loads(DETAILS), api.get(f"{JOBS}/{job_id}").json())


def test_retry_cancel_pause_and_resume_are_like_the_examples(api: httpx.Client, a_run: Add, add_job: Add) -> None:
    failed, running, waiting = a_run(ends="failed"), a_run(), add_job("scan")

    is_like(json.loads(RETRIED), api.post(f"{JOBS}/{failed}/retry").json())
    is_like(json.loads(CANCELLED), api.post(f"{JOBS}/{running}/cancel").json())
    paused, resumed = (api.post(f"{JOBS}/{waiting}/{action}").json() for action in ("pause", "resume"))
    is_like(json.loads(PAUSED), paused)
    is_like(json.loads(RESUMED), resumed)
    assert [paused["status"], resumed["status"]] == ["paused", "pending"]


def test_the_statistics_are_like_the_example(api: httpx.Client, a_run: Add, add_job: Add) -> None:
    a_run(ends="completed")
    add_job("scan")
    add_job("compile_random")

    is_like(json.loads(STATS), api.get(f"{JOBS}/stats").json())


def test_the_reencode_route_answers_with_the_whole_row(api: httpx.Client, add_video: Add) -> None:
    answer = api.post(f"{JOBS}/reencode", json={"videoId": str(add_video()), "targetBitrate": 1500})

    job = answer.json()
    assert (job["type"], job["status"], job["resourceCategory"], job["vramRequired"], job["priority"]) == (
        "reencode_streaming",
        "pending",
        "gpu_encode",
        4000,
        5,
    )
    assert {"inputPath": "inbox/original.mp4", "targetBitrate": 1500, "preset": "medium", "crf": 23}.items() <= job[
        "params"
    ].items()


@pytest.fixture
def a_run(add_job: Add, add_video: Add, connection: sa.Connection) -> Add:
    """A re-encode that runs, or has run, as runs do it."""
    made = iter(range(100))

    def run(ends: str | None = None) -> UUID:
        source = f"inbox/original-{next(made)}.mp4"
        params = {"inputPath": source, "outputPath": f"playback/{source[6:]}", "targetBitrate": 2000}
        job_id = add_job(
            "reencode_streaming", {"videoId": str(add_video(source)), **params}, status="queued", attempt=1
        )
        held = lease.claim(connection, job_id, 1, run_id="run", host="here")
        assert held is not None
        lease.log(connection, held, ["Starting re-encode...", "Progress: 25%"])
        lease.beat(connection, held, 45, None)
        if ends == "completed":
            lease.complete(connection, held, {})
        elif ends == "failed":
            queue.move(connection, job_id, queue.JobStatus.FAILED)
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(error="a fault"))
        return job_id

    return run
