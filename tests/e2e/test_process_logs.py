"""What the processes of a platform write when they are told to write JSON."""

import json
from datetime import datetime
from typing import Any

import httpx

from tests.e2e.conftest import Platform, eventually

# What speaks for itself: Postgres, and the supervisor.
_OTHERS = {"postgres.log", "supervisord.log", "platform.log"}


def _lines(platform: Platform) -> list[dict[str, Any]]:
    files = [file for file in platform.settings.logs_dir.glob("*.log") if file.name not in _OTHERS]
    texts = {file.name: file.read_text().splitlines() for file in files}
    odd = [(name, text) for name, lines in texts.items() for text in lines if not text.startswith("{")]
    assert not odd
    return [{**json.loads(text), "file": name} for name, lines in texts.items() for text in lines]


def test_the_lines_of_a_job_carry_its_id_and_that_of_its_run(platform: Platform) -> None:
    (platform.settings.media_library_path / "library/videos").mkdir(parents=True, exist_ok=True)
    headers = {"Authorization": f"Bearer {platform.token()}", "X-Request-Id": "from-the-proxy-1"}
    created = httpx.post(
        f"{platform.address}/api/media/jobs", headers=headers, json={"type": "scan", "params": {}}
    ).json()
    job = platform.finished(created["id"], 60)

    def its_lines() -> list[dict[str, Any]]:
        return [line for line in _lines(platform) if line.get("job_id") == str(job.id)]

    lines = eventually(its_lines, lambda seen: any(line["message"] == "Completed" for line in seen), timeout_s=20)
    said = {(line["file"], line["message"]): line for line in lines}
    assert all(datetime.fromisoformat(line["time"]).utcoffset() is not None for line in lines)
    request = said["api.log", "POST /api/media/jobs 201"]
    assert (request["request_id"], request["status"], request["level"]) == ("from-the-proxy-1", 201, "info")
    assert said["code-server.log", "Admitted"]["attempt"] == 1
    for of_run in (said["daemon.log", "A process was forked for the run"], said["runs.log", "Completed"]):
        assert (of_run["run_id"], of_run["type"], of_run["attempt"]) == (job.run_id, "scan", 1)


def test_a_token_in_an_address_is_in_no_log(platform: Platform) -> None:
    token = platform.token()

    with httpx.stream("GET", f"{platform.address}/api/media/jobs/events", params={"token": token}) as answer:
        assert answer.status_code == 200
    refused = httpx.get(f"{platform.address}/api/media/jobs", params={"token": token})

    assert refused.status_code == 401

    def of_request() -> list[dict[str, Any]]:
        return [line for line in _lines(platform) if line.get("request_id") == refused.headers["x-request-id"]]

    [line] = eventually(of_request, bool, timeout_s=10)
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/media/jobs", 401)
    assert "uvicorn.access" not in {each["logger"] for each in _lines(platform)}
    assert token not in "".join(file.read_text() for file in platform.settings.logs_dir.iterdir())
