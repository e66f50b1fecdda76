"""What the events of a stream hold."""

import json
from typing import Any

from jobqueue_bridge import queue
from jobqueue_bridge.api.events import Event
from jobqueue_bridge.api.wire import Job
from jobqueue_bridge.vocabulary import FINAL

# Of a job's row: they may be large, and change nothing on the way; `waitingReason` tells who is held. Texts are cut.
UNTOLD = {"params", "result", "gpu", "held"}
_TEXT_MOST = 1000


def snapshot(job: queue.Job) -> Event:
    """The present state of a job, as an event without a number of its own."""
    news = Job.model_validate({**vars(job), "error": _cut(job.error), "waiting_reason": _cut(job.waiting_reason)})
    data = {"change": "snapshot", "from": None, "job": news.model_dump(mode="json", exclude=UNTOLD)}
    is_final = job.status in FINAL
    return Event(0, "job", json.dumps(data, separators=(",", ":")), job.id, version=job.version, is_final=is_final)


def _cut(text: str | None) -> str | None:
    return text and text[:_TEXT_MOST]


def _example(name: str, data: dict[str, Any], summary: str) -> dict[str, Any]:
    return {"summary": summary, "value": f"id: 3f2a9c01-17\nevent: {name}\ndata: {json.dumps(data)}\n\n"}


_SOME_ID = "550e8400-e29b-41d4-a716-446655440000"
EXAMPLES: dict[str, Any] = {
    "hello": _example(
        "hello",
        {"resumed": False, "at": "2026-02-13T10:30:00.000Z"},
        "First. Unless `resumed`: fetch your list now",
    ),
    "job": _example(
        "job",
        {"change": "changed", "from": "running", "job": {"id": _SOME_ID, "version": 17, "status": "running", "…": "…"}},
        "A job came or changed",
    ),
    "log": _example(
        "log",
        {"jobId": _SOME_ID, "lines": [{"seq": 17, "at": "2026-02-13T10:30:00.000Z", "line": "Progress: 5%"}]},
        "Lines of its log",
    ),
    "removed": _example("removed", {"id": _SOME_ID}, "It left the queue for the archive"),
    "queue": _example("queue", {"pausedAt": None, "pausedBy": None}, "The queue was paused or resumed"),
    "reload": _example("reload", {"reason": "more changed at once than is told one by one"}, "Fetch your list again"),
    "lost": _example("lost", {"reason": "the server stops: connect again"}, "Last: connect again"),
    "signout": _example("signout", {"reason": "the token has expired"}, "Last: sign in again"),
}
