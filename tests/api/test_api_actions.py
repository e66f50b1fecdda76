"""What can be asked of jobs that are there, over HTTP; and that each asking leaves its entry."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa

from jobqueue_bridge import lease, lifecycle, listing, queue
from jobqueue_bridge.settings import Settings

JOBS, QUEUE, AUDIT = "/api/media/jobs", "/api/media/queue", "/api/media/audit"
Add = Callable[..., UUID]


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    return document


def running(connection: sa.Connection, job_id: UUID) -> lease.Lease:
    held = lease.claim(connection, job_id, 1, run_id="run-1", host="here")
    assert held is not None
    return held


def entries(api: httpx.Client, **query: str) -> list[tuple[str, str | None]]:
    listed = api.get(AUDIT, params=query).raise_for_status().json()["data"]
    return [(entry["action"], entry["jobId"]) for entry in listed]


# One job


def test_a_waiting_job_is_cancelled_at_once_with_the_specifications_words(api: httpx.Client, add_job: Add) -> None:
    job_id = add_job()

    answer = api.post(f"{JOBS}/{job_id}/cancel").raise_for_status().json()

    assert (answer["id"], answer["status"], answer["released"]) == (str(job_id), "cancelled", True)
    assert answer["log"].endswith("--- JOB CANCELLED BY ADMIN ---")


def test_cancelling_a_running_job_waits_until_its_run_has_let_go(
    api: httpx.Client, add_job: Add, connection: sa.Connection, database: sa.Engine
) -> None:
    job_id = add_job(status="queued", attempt=1)
    held = running(connection, job_id)
    gone = threading.Event()

    def let_go() -> None:
        with database.begin() as other:
            queue.let_go(other, job_id, held.token)
        gone.set()

    threading.Timer(0.3, let_go).start()
    answer = api.post(f"{JOBS}/{job_id}/cancel").raise_for_status().json()

    assert gone.is_set()
    assert (answer["status"], answer["released"]) == ("cancelled", True)


def test_a_run_that_does_not_let_go_is_told_as_such(
    api: httpx.Client, add_job: Add, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_CONFIRMED_WITHIN_S", 0.2)
    job_id = add_job(status="queued", attempt=1)
    running(connection, job_id)

    assert api.post(f"{JOBS}/{job_id}/cancel").json()["released"] is False


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_a_state_that_forbids_an_action_is_named(api: httpx.Client, add_job: Add, action: str) -> None:
    job_id = add_job(status="completed")

    told = problem(api.post(f"{JOBS}/{job_id}/{action}"), 409)

    assert (told["jobId"], told["jobStatus"]) == (str(job_id), "completed")


def test_a_job_is_paused_and_resumed(api: httpx.Client, add_job: Add) -> None:
    job_id = add_job()

    assert api.post(f"{JOBS}/{job_id}/pause").json()["status"] == "paused"
    assert api.post(f"{JOBS}/{job_id}/resume").json()["status"] == "pending"


def test_a_job_paused_in_mid_run_says_what_it_holds_and_runs_on(
    api: httpx.Client, add_job: Add, connection: sa.Connection
) -> None:
    job_id = add_job(status="queued", attempt=1)
    running(connection, job_id)

    assert "still holds" in api.post(f"{JOBS}/{job_id}/pause").json()["waitingReason"]
    assert api.post(f"{JOBS}/{job_id}/resume").json()["status"] == "running"


def test_a_retry_is_answered_as_in_the_specification(api: httpx.Client, add_job: Add) -> None:
    job_id = add_job(status="failed", log="Starting")

    answer = api.post(f"{JOBS}/{job_id}/retry").raise_for_status().json()

    assert (answer["id"], answer["status"], answer["retryCount"]) == (str(job_id), "pending", 1)
    assert answer["retryAfter"] is None
    assert answer["log"].endswith("--- RETRY ATTEMPT 1 ---")


def test_used_up_retries_are_told_and_may_be_forced(api: httpx.Client, add_job: Add) -> None:
    job_id = add_job(status="failed", retry_count=3)

    told = problem(api.post(f"{JOBS}/{job_id}/retry"), 409)

    assert told["type"].endswith("retries-used-up")
    assert api.post(f"{JOBS}/{job_id}/retry", json={"force": True}).json()["status"] == "pending"


def test_a_priority_is_changed(api: httpx.Client, add_job: Add) -> None:
    job_id = add_job()

    assert api.patch(f"{JOBS}/{job_id}", json={"priority": 1}).json()["priority"] == 1
    assert api.get(f"{JOBS}/{job_id}").json()["priority"] == 1


@pytest.mark.parametrize("body", [{}, {"priority": 0}, {"priority": 11}, {"priority": "1"}, {"status": "running"}, []])
def test_what_cannot_be_changed_is_refused(api: httpx.Client, add_job: Add, body: Any) -> None:
    problem(api.patch(f"{JOBS}/{add_job()}", json=body), 422)


def test_the_priority_of_an_ended_job_stays(api: httpx.Client, add_job: Add) -> None:
    assert problem(api.patch(f"{JOBS}/{add_job(status='failed')}", json={"priority": 1}), 409)["jobStatus"] == "failed"


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry"])
def test_a_job_that_is_not_there_is_not_found(api: httpx.Client, action: str) -> None:
    problem(api.post(f"{JOBS}/{uuid4()}/{action}"), 404)


# Many


def test_each_of_many_named_jobs_gets_its_own_result(api: httpx.Client, add_job: Add) -> None:
    waiting, ended, unknown = add_job(), add_job(status="completed"), uuid4()

    answer = api.post(f"{JOBS}/bulk", json={"action": "cancel", "ids": [str(waiting), str(ended), str(unknown)]}).json()

    assert (answer["matched"], answer["done"], answer["refused"], answer["remaining"]) == (3, 1, 2, 0)
    assert [(one["id"], one["ok"], one["status"]) for one in answer["results"]] == [
        (str(waiting), True, "cancelled"),
        (str(ended), False, None),
        (str(unknown), False, None),
    ]
    assert "completed" in answer["results"][1]["problem"]


def test_a_filter_chooses_oldest_first_up_to_the_limit(api: httpx.Client, add_job: Add) -> None:
    ids = [str(add_job(priority=number)) for number in (1, 2, 3)]
    add_job("scan")
    body = {"action": "pause", "filter": {"type": ["compile_random"]}, "limit": 2}

    answer = api.post(f"{JOBS}/bulk", json=body).json()

    assert [one["id"] for one in answer["results"]] == ids[:2]
    assert (answer["matched"], answer["remaining"]) == (3, 1)
    assert api.post(f"{JOBS}/bulk", json=body).json()["remaining"] == 0
    assert api.get(JOBS, params={"status": "paused"}).json()["pagination"]["total"] == 3


def test_many_are_acted_on_to_the_end_also_past_those_that_are_refused(api: httpx.Client, add_job: Add) -> None:
    ids = [str(add_job(status="failed", retry_count=3 if number < 3 else 0)) for number in range(7)]
    body: dict[str, Any] = {"action": "retry", "filter": {"status": ["failed"]}, "limit": 2}
    answers = [api.post(f"{JOBS}/bulk", json=body).json()]
    while cursor := answers[-1]["nextCursor"]:
        answers.append(api.post(f"{JOBS}/bulk", json={**body, "cursor": cursor}).json())

    assert [one["id"] for answer in answers for one in answer["results"]] == ids
    assert [(answer["done"], answer["refused"], answer["remaining"]) for answer in answers] == [
        (0, 2, 5), (1, 1, 3), (2, 0, 1), (1, 0, 0),
    ]  # fmt: skip


def test_an_action_that_leaves_jobs_in_the_filter_takes_each_once(api: httpx.Client, add_job: Add) -> None:
    ids = [str(add_job()) for _ in range(5)]
    body: dict[str, Any] = {"action": "priority", "priority": 1, "filter": {}, "limit": 3}

    first = api.post(f"{JOBS}/bulk", json=body).json()
    second = api.post(f"{JOBS}/bulk", json={**body, "cursor": first["nextCursor"]}).json()

    assert [one["id"] for one in (*first["results"], *second["results"])] == ids
    assert (first["remaining"], second["remaining"], second["nextCursor"]) == (2, 0, None)


def test_more_jobs_than_a_text_is_counted_for_are_not_passed_over_in_silence(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch, add_job: Add
) -> None:
    monkeypatch.setattr(listing, "FOUND_MOST", 2)
    ids = [str(add_job("scan", {"path": f"library/{number}"})) for number in range(4)]
    body: dict[str, Any] = {"action": "cancel", "filter": {"text": "scan"}, "limit": 2}

    first = api.post(f"{JOBS}/bulk", json=body).json()
    second = api.post(f"{JOBS}/bulk", json={**body, "cursor": first["nextCursor"]}).json()

    assert first["remaining"] == 2
    assert [one["id"] for one in (*first["results"], *second["results"])] == ids
    assert second["nextCursor"] is None


def test_a_dry_run_changes_nothing(api: httpx.Client, add_job: Add) -> None:
    add_job()

    answer = api.post(f"{JOBS}/bulk", json={"action": "cancel", "filter": {}, "dryRun": True}).json()

    assert (answer["matched"], answer["done"], answer["results"]) == (1, 0, [])
    assert api.get(JOBS, params={"status": "pending"}).json()["pagination"]["total"] == 1


def test_many_get_another_priority(api: httpx.Client, add_job: Add) -> None:
    job_id = add_job()

    api.post(f"{JOBS}/bulk", json={"action": "priority", "priority": 2, "ids": [str(job_id)]}).raise_for_status()

    assert api.get(f"{JOBS}/{job_id}").json()["priority"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {"action": "cancel"},
        {"action": "cancel", "ids": []},
        {"action": "cancel", "ids": [str(uuid4())], "filter": {}},
        {"action": "delete", "filter": {}},
        {"action": "priority", "filter": {}},
        {"action": "cancel", "priority": 1, "filter": {}},
        {"action": "cancel", "filter": {"status": ["done"]}},
        {"action": "cancel", "filter": {"nonsense": 1}},
        {"action": "cancel", "filter": {}, "limit": 0},
        {"action": "cancel", "filter": {}, "cursor": "nonsense"},
        {"action": "cancel", "filter": {}, "cursor": None},
        {"action": "cancel", "ids": [str(uuid4())], "cursor": "x"},
        {"action": "cancel", "filter": {}, "limit": 1001},
    ],
)
def test_a_bulk_request_that_says_no_clear_thing_is_refused(api: httpx.Client, body: Any) -> None:
    problem(api.post(f"{JOBS}/bulk", json=body), 422)


# The queue as a whole


def test_the_queue_is_paused_once_and_resumed(api: httpx.Client, add_job: Add) -> None:
    add_job(status="running", vram_required=6000)

    first = api.post(f"{QUEUE}/pause").raise_for_status().json()
    again = api.post(f"{QUEUE}/pause").json()

    assert first["pausedAt"] == again["pausedAt"] is not None
    assert first["pausedBy"] == "media-pipelines"
    assert (first["running"], first["vram"]) == (1, {"usedMb": 6000, "totalMb": 16000})
    assert first["slots"]["gpu_encode"] == {"used": 1, "total": 2}
    assert api.post(f"{QUEUE}/resume").json()["pausedAt"] is None
    assert api.get(QUEUE).json()["pausedAt"] is None


# Who did what


def test_every_action_leaves_its_entry(api: httpx.Client, add_video: Add) -> None:
    job_id = api.post(JOBS, json={"type": "scan"}).json()["id"]
    api.patch(f"{JOBS}/{job_id}", json={"priority": 3})
    for action in ("pause", "resume", "cancel", "retry"):
        api.post(f"{JOBS}/{job_id}/{action}").raise_for_status()
    api.post(f"{JOBS}/bulk", json={"action": "cancel", "ids": [job_id]})
    api.post(f"{QUEUE}/pause")
    api.post(f"{QUEUE}/resume")

    assert entries(api)[::-1] == [
        *((f"job.{action}", job_id) for action in ("create", "priority", "pause", "resume", "cancel", "retry")),
        ("job.bulk", None),
        ("job.cancel", job_id),
        ("queue.pause", None),
        ("queue.resume", None),
    ]
    assert entries(api, jobId=job_id, action="job.cancel") == [("job.cancel", job_id)] * 2
    entry = api.get(AUDIT, params={"action": "job.priority"}).json()["data"][0]
    assert (entry["who"], entry["details"]) == ("media-pipelines", {"priority": 3})


def test_what_was_refused_leaves_no_entry(api: httpx.Client, add_job: Add) -> None:
    api.post(f"{JOBS}/{add_job(status='completed')}/cancel")

    assert entries(api) == []


def test_entries_are_read_in_pages(api: httpx.Client) -> None:
    for _ in range(5):
        api.post(f"{QUEUE}/resume")
    seen: list[int] = []
    cursor = None
    while True:
        page = api.get(AUDIT, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [entry["id"] for entry in page["data"]]
        cursor = page["pagination"]["nextCursor"]
        if cursor is None:
            break

    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5


# A request that comes twice


def test_a_request_with_a_key_is_carried_out_once(api: httpx.Client) -> None:
    body, key = {"type": "compile_random", "params": {"count": 3}}, {"Idempotency-Key": "3f2a"}

    first, again = (api.post(JOBS, json=body, headers=key) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert api.get(JOBS).json()["pagination"]["total"] == 1


def test_a_key_stands_for_one_request(api: httpx.Client) -> None:
    key = {"Idempotency-Key": "3f2a"}
    api.post(JOBS, json={"type": "compile_random"}, headers=key).raise_for_status()

    told = problem(api.post(JOBS, json={"type": "scan"}, headers=key), 422)

    assert told["type"].endswith("key-reused")


def test_a_refused_request_leaves_its_key_free(api: httpx.Client) -> None:
    key = {"Idempotency-Key": "3f2a"}
    problem(api.post(JOBS, json={"type": "compile_random", "params": {"count": 0}}, headers=key), 422)

    assert api.post(JOBS, json={"type": "compile_random"}, headers=key).status_code == 201


def test_of_two_requests_with_a_key_at_the_same_time_one_is_carried_out(api: httpx.Client) -> None:
    ids: list[str] = []

    def ask() -> None:
        answer = api.post(JOBS, json={"type": "compile_random"}, headers={"Idempotency-Key": "k"})
        ids.append(answer.raise_for_status().json()["id"])

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()

    assert len(ids) == 4
    assert len(set(ids)) == 1


# How often


def test_too_many_changes_are_put_off_and_reading_is_not(settings: Settings, serve: Any, admin_token: str) -> None:
    limited = settings.model_copy(update={"api_writes_per_minute": 2})
    as_admin = {"Authorization": f"Bearer {admin_token}"}
    with serve(limited) as address, httpx.Client(base_url=address, headers=as_admin) as client:
        statuses = [client.post(f"{QUEUE}/resume").status_code for _ in range(3)]
        refused = client.post(f"{QUEUE}/resume")

        assert statuses == [200, 200, 429]
        problem(refused, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert client.get(QUEUE).status_code == 200
