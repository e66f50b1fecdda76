"""The endpoints for jobs, over HTTP."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa

from jobqueue_bridge import history, lease, queue, retention
from jobqueue_bridge.params import MODELS
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs, utcnow
from jobqueue_bridge.vocabulary import NEEDS, JobStatus, JobType, ResourceCategory
from tests.job_params import least

JOBS = "/api/media/jobs"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
Add = Callable[..., UUID]


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of a response that must be one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert {"type", "title", "detail"} <= document.keys()
    return document


# What can be asked for


def test_every_type_that_can_be_run_is_listed_with_a_schema_of_its_params(api: httpx.Client) -> None:
    listed = {entry["type"]: entry for entry in api.get(f"{JOBS}/types").raise_for_status().json()}
    assert set(listed) == set(MODELS)
    for kind, model in MODELS.items():
        entry = listed[kind]
        assert entry["description"]
        assert (entry["resourceCategory"], entry["vramRequired"]) == (NEEDS[kind].category, NEEDS[kind].vram_mb)
        assert set(entry["params"]["properties"]) == {field.alias for field in model.model_fields.values()}
        assert entry["params"]["additionalProperties"] is False


def test_a_schema_tells_defaults_limits_and_meaning(api: httpx.Client) -> None:
    listed = {entry["type"]: entry["params"] for entry in api.get(f"{JOBS}/types").raise_for_status().json()}
    width = listed["thumbnail_generate"]["properties"]["width"]
    assert (width["default"], width["minimum"], width["maximum"]) == (640, 16, 7680)
    assert listed["thumbnail_generate"]["required"] == ["videoId"]
    assert "0 is lossless" in listed["reencode_streaming"]["properties"]["crf"]["description"]


# Creating


def test_a_created_job_is_answered_with_what_the_specification_names(api: httpx.Client) -> None:
    response = api.post(JOBS, json={"type": "scan", "params": {"directoryType": "videos", "skipExisting": True}})

    assert response.status_code == 201
    job = response.json()
    assert {"type": "scan", "status": "pending", "progress": 0}.items() <= job.items()
    assert INSTANT.fullmatch(job["createdAt"])
    assert response.headers["location"] == f"{JOBS}/{job['id']}"
    assert api.get(response.headers["location"]).json()["id"] == job["id"]


def test_the_specifications_own_example_body_is_accepted(api: httpx.Client, add_video: Add) -> None:
    video_id = str(add_video())
    body = {
        "type": "reencode_streaming",
        "params": {"videoId": video_id, "targetBitrate": 2000},
        "priority": 5,
        "resourceCategory": "gpu_encode",
        "vramRequired": 4000,
    }

    job = api.post(JOBS, json=body).raise_for_status().json()

    assert (job["videoId"], job["vramRequired"], job["origin"]) == (video_id, 4000, "api")


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_category_and_vram_come_from_the_type_where_they_are_left_out(
    api: httpx.Client, add_video: Add, kind: JobType
) -> None:
    job = api.post(JOBS, json={"type": kind, "params": least(kind, add_video())}).raise_for_status().json()

    assert (job["resourceCategory"], job["vramRequired"]) == (NEEDS[kind].category, NEEDS[kind].vram_mb)


def test_what_is_asked_for_is_what_the_row_says(api: httpx.Client) -> None:
    body = {
        "type": "compile_random",
        "params": {"count": 3, "seed": 7},
        "priority": 1,
        "resourceCategory": "cpu",
        "vramRequired": 0,
        "maxRetries": 0,
    }

    job = api.post(JOBS, json=body).raise_for_status().json()

    assert {**body, "params": job["params"]}.items() <= job.items()
    assert job["params"] == {"count": 3, "seed": 7}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "no_such_type"}, "type"),
        ({"type": ""}, "type"),
        ({"type": None}, "type"),
        ({"type": 5}, "type"),
        ({"type": "x" * 200}, "type"),
        ({"params": []}, "params"),
        ({"params": None}, "params"),
        ({"params": "{}"}, "params"),
        ({"params": {"directoryType": "../etc"}}, "params.directoryType"),
        ({"params": {"directoryType": 5}}, "params.directoryType"),
        ({"params": {"path": "/etc/passwd"}}, "params.path"),
        ({"params": {"path": "a/../../b"}}, "params.path"),
        ({"params": {"path": ""}}, "params.path"),
        ({"params": {"path": "x/" + "y" * 300}}, "params.path"),
        ({"params": {"skipExisting": "perhaps"}}, "params.skipExisting"),
        ({"params": {"typo": 1}}, "params.typo"),
        ({"priority": 0}, "priority"),
        ({"priority": 11}, "priority"),
        ({"priority": 10**30}, "priority"),
        ({"priority": -(10**30)}, "priority"),
        ({"priority": "5"}, "priority"),
        ({"priority": 5.5}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": None}, "priority"),
        ({"resourceCategory": "gpu"}, "resourceCategory"),
        ({"resourceCategory": 1}, "resourceCategory"),
        ({"vramRequired": -1}, "vramRequired"),
        ({"vramRequired": 16001}, "vramRequired"),
        ({"vramRequired": 10**30}, "vramRequired"),
        ({"vramRequired": "4000"}, "vramRequired"),
        ({"maxRetries": -1}, "maxRetries"),
        ({"maxRetries": 101}, "maxRetries"),
        ({"maxRetries": [3]}, "maxRetries"),
        ({"status": "running"}, "status"),
        ({"resource_category": "cpu"}, "resource_category"),
    ],
)
def test_a_bad_field_is_refused_by_its_name(api: httpx.Client, change: dict[str, Any], field: str) -> None:
    response = api.post(JOBS, json={"type": "scan", **change})

    assert [item["field"] for item in problem(response, 422)["errors"]] == [field]
    assert api.get(JOBS).json()["pagination"]["total"] == 0


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"targetBitrate": 99}, "params.targetBitrate"),
        ({"targetBitrate": 1e400}, "params.targetBitrate"),
        ({"preset": "placebo"}, "params.preset"),
        ({"crf": 52}, "params.crf"),
        ({"outputPath": "playback/x.mkv"}, "params.outputPath"),
        ({"videoId": "no-uuid"}, "params.videoId"),
        ({"videoId": str(uuid4())}, "params.videoId"),
        ({"inputPath": "inbox/unknown.mp4"}, "params.inputPath"),
        ({}, "params"),
    ],
)
def test_bad_params_of_a_reencode_are_refused_by_their_names(
    api: httpx.Client, add_video: Add, params: dict[str, Any], field: str
) -> None:
    source = {} if not params or {"videoId", "inputPath"} & params.keys() else {"videoId": str(add_video())}

    body = json_with_infinity({"type": "reencode_streaming", "params": {**source, **params}})
    response = api.post(JOBS, content=body, headers={"Content-Type": "application/json"})

    assert [item["field"] for item in problem(response, 422)["errors"]] == [field]


def json_with_infinity(value: Any) -> str:
    """1e400 is good JSON, and infinity to Python."""
    return json.dumps(value).replace("Infinity", "1e400")


def test_every_bad_param_is_named_at_once(api: httpx.Client) -> None:
    response = api.post(JOBS, json={"type": "compile_random", "params": {"count": 0, "seed": -1, "orientation": "up"}})

    named = {item["field"] for item in problem(response, 422)["errors"]}
    assert named == {"params.count", "params.seed", "params.orientation"}


def test_a_second_live_job_that_does_the_same_is_refused_with_the_first_ones_id(api: httpx.Client) -> None:
    first = api.post(JOBS, json={"type": "scan"}).json()

    document = problem(api.post(JOBS, json={"type": "scan"}), 409)

    assert document["jobId"] == first["id"]
    assert document["type"] == "urn:media-pipelines:problem:job-already-live"


def test_of_many_requests_for_the_same_one_becomes_a_job(api: httpx.Client) -> None:
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda _: api.post(JOBS, json={"type": "scan"}).status_code, range(40)))

    assert sorted(answers) == [201] + [409] * 39


# Re-encoding, as in the specification's example


def test_a_reencode_takes_its_input_from_the_video(api: httpx.Client, add_video: Add) -> None:
    video_id = str(add_video("inbox/a film.mov"))

    response = api.post(f"{JOBS}/reencode", json={"videoId": video_id})

    assert response.status_code == 201
    job = response.json()
    assert {"type": "reencode_streaming", "resourceCategory": "gpu_encode", "vramRequired": 4000}.items() <= job.items()
    assert job["params"] == {
        "videoId": video_id,
        "inputPath": "inbox/a film.mov",
        "targetBitrate": 2000,
        "preset": "medium",
        "crf": 23,
        "verify": "sampled",
    }


def test_a_reencode_keeps_what_it_is_told(api: httpx.Client, add_video: Add) -> None:
    told = {"targetBitrate": 900, "preset": "fast", "crf": 30, "outputPath": "playback/b.mp4"}

    job = api.post(f"{JOBS}/reencode", json={"videoId": str(add_video()), "priority": 2, **told}).json()

    assert told.items() <= job["params"].items()
    assert job["priority"] == 2


def test_a_reencode_of_an_unknown_video_is_not_found(api: httpx.Client) -> None:
    problem(api.post(f"{JOBS}/reencode", json={"videoId": str(uuid4())}), 404)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"videoId": "x"}, "videoId"),
        ({"targetBitrate": 0}, "targetBitrate"),
        ({"preset": ""}, "preset"),
        ({"crf": -1}, "crf"),
        ({"outputPath": "../x.mp4"}, "outputPath"),
        ({"priority": 11}, "priority"),
        ({"bitrate": 1}, "bitrate"),
    ],
)
def test_a_bad_field_of_a_reencode_is_refused_by_its_name(
    api: httpx.Client, add_video: Add, change: dict[str, Any], field: str
) -> None:
    response = api.post(f"{JOBS}/reencode", json={"videoId": str(add_video()), **change})

    assert [item["field"] for item in problem(response, 422)["errors"]] == [field]


# Listing


def test_the_list_has_the_specifications_shape(api: httpx.Client, add_job: Add) -> None:
    job_id = add_job(status="running", progress=45, started_at=utcnow())

    listing = api.get(JOBS).json()

    assert listing["pagination"].items() >= {"page": 1, "limit": 20, "total": 1, "totalPages": 1}.items()
    (job,) = listing["data"]
    named = {"id", "type", "status", "progress", "resourceCategory", "vramRequired", "priority", "params"}
    assert named | {"startedAt", "createdAt"} <= job.keys()
    assert (job["id"], job["status"], job["progress"]) == (str(job_id), "running", 45)
    assert INSTANT.fullmatch(job["startedAt"])


def test_pages_cover_every_job_once_newest_first(api: httpx.Client, add_job: Add) -> None:
    added = [str(add_job()) for _ in range(7)]

    pages = [api.get(JOBS, params={"page": page, "limit": 3}).json() for page in (1, 2, 3, 4)]

    assert [len(page["data"]) for page in pages] == [3, 3, 1, 0]
    assert [job["id"] for page in pages for job in page["data"]] == added[::-1]
    assert pages[0]["pagination"].items() >= {"page": 1, "limit": 3, "total": 7, "totalPages": 3}.items()


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_status_filters_the_list(api: httpx.Client, add_job: Add, status: JobStatus) -> None:
    ids = {each: str(add_job(status=each.value)) for each in JobStatus}

    assert [job["id"] for job in api.get(JOBS, params={"status": status.value}).json()["data"]] == [ids[status]]


@pytest.mark.parametrize("category", list(ResourceCategory))
def test_a_category_filters_the_list(api: httpx.Client, add_job: Add, category: ResourceCategory) -> None:
    ids = {each: str(add_job(resource_category=each.value)) for each in ResourceCategory}

    found = api.get(JOBS, params={"resourceCategory": category.value}).json()

    assert [job["id"] for job in found["data"]] == [ids[category]]
    assert found["pagination"]["total"] == 1


def test_type_and_video_filter_the_list(api: httpx.Client, add_job: Add, add_video: Add) -> None:
    video_id = str(add_video())
    validate = str(add_job("validate", {"videoId": video_id}))
    add_job("scan")

    assert [job["id"] for job in api.get(JOBS, params={"type": "validate"}).json()["data"]] == [validate]
    assert [job["id"] for job in api.get(JOBS, params={"videoId": video_id}).json()["data"]] == [validate]


def test_an_empty_filter_is_none(api: httpx.Client, add_job: Add) -> None:
    add_job()

    found = api.get(JOBS, params={"status": "", "type": "", "resourceCategory": "", "videoId": ""}).json()

    assert found["pagination"]["total"] == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1.5", "page"),
        ("page=x", "page"),
        ("page=", "page"),
        (f"page={10**30}", "page"),
        (f"page={'9' * 5000}", "page"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        (f"limit={10**30}", "limit"),
        ("limit=NaN", "limit"),
        ("status=done", "status"),
        ("type=nonsense", "type"),
        ("resourceCategory=gpu", "resourceCategory"),
        ("videoId=1", "videoId"),
        ("status=%ff%fe", "status"),
        ("status=%ED%A0%80", "status"),
    ],
)
def test_a_bad_query_is_refused_by_its_name(api: httpx.Client, query: str, field: str) -> None:
    document = problem(api.get(f"{JOBS}?{query}"), 422)

    assert [item["field"] for item in document["errors"]] == [field]


def test_the_last_possible_page_is_empty(api: httpx.Client, add_job: Add) -> None:
    add_job()

    assert api.get(JOBS, params={"page": 10**9, "limit": 500}).json()["data"] == []


# One job


def test_a_completed_job_tells_its_log_and_its_attempts(
    api: httpx.Client, add_job: Add, connection: sa.Connection
) -> None:
    job_id = add_job(status="queued", attempt=1)
    held = lease.claim(connection, job_id, 1, run_id="run-1", host="here")
    assert held is not None
    lease.log(connection, held, ["Starting", "Done ✓"])
    lease.complete(connection, held, {"outputPath": "compilations/x.mp4"})

    job = api.get(f"{JOBS}/{job_id}").json()

    assert (job["status"], job["progress"], job["result"]) == (
        "completed",
        100,
        {"outputPath": "compilations/x.mp4"},
    )
    assert re.fullmatch(r"\[.{19}\] Starting\n\[.{19}\] Done ✓", job["log"])
    (attempt,) = job["attempts"]
    assert {"attempt": 1, "runId": "run-1", "host": "here", "outcome": "completed"}.items() <= attempt.items()
    assert INSTANT.fullmatch(attempt["startedAt"])
    assert INSTANT.fullmatch(attempt["endedAt"])
    assert (job["retryCount"], job["maxRetries"], job["runId"]) == (0, 3, "run-1")


def test_a_pending_jobs_position_is_computed_where_the_row_has_none(api: httpx.Client, add_job: Add) -> None:
    add_job()
    second = add_job()

    assert api.get(f"{JOBS}/{second}").json()["queuePosition"] == 2


def test_a_written_position_and_reason_are_told_as_they_are(api: httpx.Client, add_job: Add) -> None:
    job_id = add_job(queue_position=9, waiting_reason="needs 8000 MB")

    job = api.get(f"{JOBS}/{job_id}").json()

    assert (job["queuePosition"], job["waitingReason"]) == (9, "needs 8000 MB")


def test_a_job_that_is_not_pending_has_no_position(api: httpx.Client, add_job: Add) -> None:
    assert api.get(f"{JOBS}/{add_job(status='running')}").json()["queuePosition"] is None


def test_an_unknown_job_is_not_found(api: httpx.Client) -> None:
    unknown = uuid4()

    for path in (f"{JOBS}/{unknown}", f"{JOBS}/{unknown}/log"):
        assert str(unknown) in problem(api.get(path), 404)["detail"]


@pytest.mark.parametrize(
    "reference", ["x", "1234", "%20", "%C3%A9", "%ff", "stats2", "550e8400-e29b-41d4-a716-44665544000"]
)
def test_an_id_that_is_no_uuid_is_refused_by_its_name(api: httpx.Client, reference: str) -> None:
    document = problem(api.get(f"{JOBS}/{reference}"), 422)

    assert [item["field"] for item in document["errors"]] == ["id"]


def test_a_row_that_another_program_wrote_is_told_as_it_is(api: httpx.Client, connection: sa.Connection) -> None:
    row = sa.text(
        """INSERT INTO jobs (type, status, params, resource_category, log, progress, retry_count, created_at)
        VALUES ('homemade', 'pending', '[1e400, "x"]', 'tpu', E'old\nlog', NULL, NULL, now()) RETURNING id"""
    )
    job_id = connection.scalar(row)

    job = api.get(f"{JOBS}/{job_id}").json()

    assert (job["type"], job["resourceCategory"], job["log"]) == ("homemade", "tpu", "old\nlog")
    assert (job["progress"], job["retryCount"], job["maxRetries"], job["origin"]) == (0, 0, 3, "sql")
    assert api.get(JOBS).json()["data"][0]["id"] == str(job_id)


# The log as text


def test_a_log_is_plain_text_and_may_be_cut_to_its_tail(
    api: httpx.Client, add_job: Add, connection: sa.Connection
) -> None:
    job_id = add_job(status="queued", attempt=1)
    held = lease.claim(connection, job_id, 1, run_id="r", host="h")
    assert held is not None
    lease.log(connection, held, [f"<b>line {number}</b>" for number in range(5)])

    whole = api.get(f"{JOBS}/{job_id}/log")
    tail = api.get(f"{JOBS}/{job_id}/log", params={"tail": 2})

    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert [line[-13:] for line in whole.text.splitlines()] == [f"<b>line {number}</b>" for number in range(5)]
    assert tail.text.splitlines() == whole.text.splitlines()[-2:]


def test_the_log_that_another_program_wrote_may_be_cut_too(api: httpx.Client, add_job: Add) -> None:
    job_id = add_job(log="one\ntwo\nthree")

    assert api.get(f"{JOBS}/{job_id}/log").text == "one\ntwo\nthree"
    assert api.get(f"{JOBS}/{job_id}/log?tail=1").text == "three"


@pytest.mark.parametrize("tail", ["0", "-1", "x", str(10**30)])
def test_a_bad_tail_is_refused_by_its_name(api: httpx.Client, add_job: Add, tail: str) -> None:
    document = problem(api.get(f"{JOBS}/{add_job()}/log?tail={tail}"), 422)

    assert [item["field"] for item in document["errors"]] == ["tail"]


# Statistics


def test_statistics_count_what_is_there(api: httpx.Client, add_job: Add, settings: Settings) -> None:
    started = datetime.now(UTC) - timedelta(minutes=5)
    add_job()
    add_job("scan")
    add_job(status="running", vram_required=6000)
    add_job(status="running", vram_required=2000)
    add_job(status="queued", vram_required=4000)
    add_job(status="completed", started_at=started, completed_at=started + timedelta(seconds=30))
    add_job(status="completed", started_at=started, completed_at=started + timedelta(seconds=61))
    add_job(status="cancelled")

    assert (
        api.get(f"{JOBS}/stats").json().items()
        >= {
            "pending": 2,
            "queued": 1,
            "running": 2,
            "completed": 2,
            "failed": 0,
            "cancelled": 1,
            "paused": 0,
            "totalVramUsed": 8000,
            "totalVramAvailable": 16000,
            "gpus": [{"gpu": 0, "name": "", "vramUsed": 8000, "vramAvailable": 16000}],
            "averageProcessingTime": 45.5,
            "jobsByType": {"compile_random": 7, "scan": 1},
        }.items()
    )


def test_statistics_of_an_empty_queue_are_zeros(api: httpx.Client) -> None:
    stats = api.get(f"{JOBS}/stats").json()

    assert stats.pop("jobsByType") == {}
    assert stats.pop("totalVramAvailable") == 16000
    assert stats.pop("gpus") == [{"gpu": 0, "name": "", "vramUsed": 0, "vramAvailable": 16000}]
    assert stats.pop("slots")["cpu"] == {"used": 0, "total": 5}
    assert stats.pop("throughput")["lastDay"] == {"completed": 0, "failed": 0}
    assert [stats.pop(name) for name in ("byType", "byCategory", "waitingReasons")] == [{}, {}, []]
    assert [stats.pop(name) for name in ("oldestWaitSeconds", "queuePaused")] == [None, None]
    assert set(stats.values()) == {0}


def test_statistics_say_how_long_and_for_what_jobs_wait(api: httpx.Client, add_job: Add) -> None:
    now = datetime.now(UTC)
    add_job(created_at=now - timedelta(seconds=90), queue_position=1, waiting_reason="needs 8000 MB")
    add_job(created_at=now - timedelta(seconds=30), queue_position=2, waiting_reason="needs 8000 MB")
    add_job(created_at=now - timedelta(hours=1), retry_after=now + timedelta(hours=1))

    stats = api.get(f"{JOBS}/stats").json()

    assert 90 <= stats["oldestWaitSeconds"] < 150
    assert stats["waitingReasons"] == [{"reason": "needs 8000 MB", "jobs": 2}]


def test_statistics_tell_what_ended_jobs_took_and_saved(
    api: httpx.Client, add_job: Add, connection: sa.Connection
) -> None:
    created = datetime.now(UTC) - timedelta(minutes=10)
    times = {"created_at": created, "started_at": created + timedelta(seconds=20)}
    saved = {"sourceSizeBytes": 1000, "sizeBytes": 400}
    for took_s in (10, 20):
        job_id = add_job(**times, status="running")
        ended = {"completed_at": times["started_at"] + timedelta(seconds=took_s), "result": saved}
        connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(status="completed", **ended))
    add_job("scan", **times, status="failed")

    stats = api.get(f"{JOBS}/stats").json()
    chart = api.get(f"{JOBS}/stats/history", params={"hours": 2}).json()
    of_scans = api.get(f"{JOBS}/stats/history", params={"hours": 2, "type": "scan"}).json()

    of_type = stats["byType"]["compile_random"]
    assert (of_type["completed"], of_type["averageRunSeconds"], of_type["averageWaitSeconds"]) == (2, 15, 20)
    assert stats["bytesSaved"] == of_type["bytesSaved"] == stats["byCategory"]["gpu_encode"]["bytesSaved"] == 1200
    assert stats["throughput"]["lastHour"] == {"completed": 2, "failed": 1}
    assert len(chart["buckets"]) == 2
    assert [sum(each[name] for each in chart["buckets"]) for name in ("completed", "failed")] == [2, 1]
    assert [sum(each[name] for each in of_scans["buckets"]) for name in ("completed", "failed")] == [0, 1]


def test_sums_of_outcomes_stay_the_same_when_they_are_folded(
    api: httpx.Client, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_FOLDED_ABOVE", 2)
    row = {"params": {}, "resource_category": "cpu", "status": "completed", "type": "scan"}
    for _ in range(2):
        for _ in range(4):
            connection.execute(sa.insert(jobs).values(row))
        before = api.get(f"{JOBS}/stats").json()
        history.fold(connection)
        assert connection.scalar(sa.text("SELECT count(*) FROM job_outcomes_new")) == 0
        assert api.get(f"{JOBS}/stats").json() == before
    assert before["throughput"]["lastHour"]["completed"] == 8


def test_a_late_page_of_ten_thousand_jobs_is_a_full_one(api: httpx.Client, connection: sa.Connection) -> None:
    rows = [{"type": "scan", "params": {}, "resource_category": "cpu", "status": "completed"}] * 10_000
    connection.execute(sa.insert(jobs), rows)

    listing = api.get(JOBS, params={"limit": 500, "page": 20})

    assert len(listing.json()["data"]) == 500


def test_a_job_of_the_queues_own_making_keeps_every_field(api: httpx.Client, add_job: Add) -> None:
    """A column added to queue.Job must reach the wire, or be left out there on purpose."""
    job_id = add_job()

    told = {re.sub("(?=[A-Z])", "_", name).lower() for name in api.get(f"{JOBS}/{job_id}").json()}

    assert told >= set(queue.Job.__dataclass_fields__)


def test_an_archived_job_and_its_log_are_still_read_by_id(api: httpx.Client, add_job: Add, database: sa.Engine) -> None:
    job_id = add_job(status="failed", log="the end", error="bad")
    before = api.get(f"/api/media/jobs/{job_id}").json()
    assert sum(retention.archive_finished(database)) == 1
    after = api.get(f"/api/media/jobs/{job_id}").json()
    assert before.pop("archivedAt") is None
    assert after.pop("archivedAt") is not None
    assert after == before
    assert api.get(f"/api/media/jobs/{job_id}/log").text == "the end"
    assert api.get("/api/media/jobs").json()["pagination"]["total"] == 0


# Where Dagster shows it


def test_a_job_leads_to_its_run_and_to_the_partition_of_what_it_makes(
    api: httpx.Client, add_job: Add, add_video: Add, connection: sa.Connection
) -> None:
    video = add_video()
    job = add_job("thumbnail_generate", {"videoId": str(video)})
    found = api.get(f"{JOBS}/{job}").json()
    assert (found["dagsterUrl"], found["assetUrl"]) == (None, None), "there is no run yet"
    connection.execute(sa.update(jobs).where(jobs.c.id == job).values(run_id="r-1"))
    found = api.get(f"{JOBS}/{job}").json()
    dagster = api.get("/api/media/session").json()["dagsterUrl"]
    assert found["dagsterUrl"] == f"{dagster}/runs/r-1"
    assert found["assetUrl"] == f"{dagster}/assets/thumbnail?view=partitions&partition={video}"


def test_a_compilation_leads_to_a_partition_of_its_own_and_an_unknown_type_to_none(
    api: httpx.Client, add_job: Add, connection: sa.Connection
) -> None:
    job = add_job(run_id="r-1")
    found = api.get(f"{JOBS}/{job}").json()
    assert found["assetUrl"].endswith(f"/assets/random_compilation?view=partitions&partition={job}")
    connection.execute(sa.update(jobs).where(jobs.c.id == job).values(type="somebody's own"))
    assert api.get(f"{JOBS}/{job}").json()["assetUrl"] is None
