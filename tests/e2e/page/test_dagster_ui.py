"""What a person does in Dagster's own UI: each run is a job, within the budget, and ends in both places at once."""

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from playwright.sync_api import BrowserContext, Page

from jobqueue_bridge import adoption, dispatching, lifecycle, queue
from jobqueue_bridge.queue import Job
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import FINAL, ResourceCategory
from media_pipelines import run_process
from media_pipelines.media.ffmpeg import find_ffmpeg
from tests.e2e.conftest import Platform, eventually, ffmpeg_processes

_BACKFILL = 50
_SLOW: dict[str, Any] = {"preset": "veryslow", "crf": 0}


@pytest.fixture
def dagster(context: BrowserContext) -> Page:
    context.set_default_timeout(90_000)
    return context.new_page()


@pytest.fixture(scope="module")
def videos(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> list[UUID]:
    """Fifty short videos, no two of them alike."""
    folder = platform.settings.media_library_path / "library/fifty"
    folder.mkdir(parents=True)
    clip = _one_second(tmp_path_factory.mktemp("clip") / "a.mp4")
    for number in range(_BACKFILL):
        _copy(clip, folder / f"{number}.mp4", f"number {number}")
    job = platform.enqueue("scan", {"directoryType": "fifty"})
    assert platform.finished(job.id, 120).status == "completed"
    return [platform.video_id(f"library/fifty/{number}.mp4") for number in range(_BACKFILL)]


def _one_second(path: Path) -> Path:
    picture = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1", "-preset", "ultrafast")
    subprocess.run([find_ffmpeg(None), "-v", "error", *picture, f"file:{path}"], check=True)
    return path


def _copy(clip: Path, target: Path, comment: str) -> None:
    plain = ("-c", "copy", "-metadata", f"comment={comment}")
    subprocess.run([find_ffmpeg(None), "-v", "error", "-i", f"file:{clip}", *plain, f"file:{target}"], check=True)


def materialize(page: Page, platform: Platform, asset: str, partition: UUID, expected: str) -> None:
    """By its button on the partition's page."""
    page.goto(f"{_ui(platform)}/assets/{asset}?view=partitions&partition={partition}")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=expected).click()


def _ui(platform: Platform) -> str:
    return f"http://127.0.0.1:{platform.settings.dagster_port}"


def ask(platform: Platform, query: str, **variables: Any) -> Any:
    answer = httpx.post(f"{_ui(platform)}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
    assert "errors" not in answer, answer
    return answer["data"]


def status_of(platform: Platform, run_id: str) -> str:
    query = "query Q($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
    return str(ask(platform, query, id=run_id)["runOrError"]["status"])


def newest(platform: Platform, kind: str, video: UUID) -> Job | None:
    with platform.engine.begin() as connection:
        found = queue.page(connection, queue.Filters(type=kind, video_id=video), limit=1).jobs
    return found[0] if found else None


def in_api(platform: Platform, job: Job, token: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(f"{platform.address}/api/media/jobs/{job.id}", headers=headers, timeout=30)
    assert answer.status_code == 200
    return dict(answer.json())


@contextmanager
def watched(platform: Platform) -> Iterator[list[tuple[Counter[str], int]]]:
    """What holds slots and VRAM, sampled all the while."""
    seen: list[tuple[Counter[str], int]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            with suppress(sa.exc.SQLAlchemyError), platform.engine.begin() as connection:
                active = dispatching.active(connection)
                running = connection.scalars(sa.select(jobs.c.resource_category).where(jobs.c.status == "running"))
                seen.append((Counter(running), sum(job.vram_mb for job in active)))

    thread = threading.Thread(target=look)
    thread.start()
    yield seen
    over.set()
    thread.join()


def nothing_is_left(platform: Platform) -> None:
    def left() -> list[object]:
        with platform.engine.begin() as connection:
            waiting = adoption.waiting(connection)
            live = connection.scalars(sa.select(jobs.c.id).where(jobs.c.status.not_in([one.value for one in FINAL])))
            unfinished = ask(
                platform,
                "{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]})"
                " { ... on Runs { results { runId } } } }",
            )
            return [*waiting, *live, *unfinished["runsOrError"]["results"]]

    eventually(left, lambda found: not found, timeout_s=60)


def test_a_partition_that_is_materialized_there_is_a_job(
    dagster: Page, platform: Platform, token: str, videos: list[UUID]
) -> None:
    materialize(dagster, platform, "thumbnail", videos[0], "Launch 1 run")
    job = eventually(lambda: newest(platform, "thumbnail_generate", videos[0]), bool, timeout_s=60)
    done = platform.finished(job.id, 90)
    told = in_api(platform, done, token)
    assert (told["status"], told["origin"], told["progress"]) == ("completed", "dagster", 100)
    assert "Frame at" in told["log"]
    assert eventually(lambda: status_of(platform, str(done.run_id)), lambda status: status == "SUCCESS", timeout_s=30)
    nothing_is_left(platform)


def test_a_backfill_of_fifty_is_fifty_jobs_within_the_slots(
    dagster: Page, platform: Platform, videos: list[UUID]
) -> None:
    dagster.goto(f"{_ui(platform)}/assets/video_metadata")
    dagster.get_by_role("button", name="Materialize").first.click()
    dialog = dagster.get_by_role("dialog")
    dialog.get_by_role("button", name="All", exact=True).click()
    with watched(platform) as seen:
        dialog.get_by_role("button", name="Launch backfill").click()

        def ended() -> Counter[str]:
            with platform.engine.begin() as connection:
                rows = connection.execute(
                    sa.select(jobs.c.status, jobs.c.origin).where(
                        jobs.c.type == "validate", jobs.c.video_id.in_(videos), jobs.c.origin == "dagster"
                    )
                )
                return Counter(row.status for row in rows)

        eventually(ended, lambda counts: counts["completed"] >= _BACKFILL, timeout_s=240)
    assert ended() == {"completed": _BACKFILL}
    slots = platform.settings.slots
    assert max(held[ResourceCategory.CPU.value] for held, _ in seen) <= slots[ResourceCategory.CPU]  # the look-ahead
    assert max(vram_mb for _, vram_mb in seen) <= platform.settings.total_vram_mb
    nothing_is_left(platform)


def test_a_failed_run_that_is_executed_again_there_retries_its_job(
    dagster: Page, platform: Platform, token: str, videos: list[UUID]
) -> None:
    video, file = videos[1], platform.settings.media_library_path / "library/fifty/1.mp4"
    aside = file.with_suffix(".aside")
    file.rename(aside)
    failed = platform.finished(platform.enqueue("compile_gif", {"videoId": str(video)}, max_retries=0).id, 90)
    assert failed.status == "failed"
    aside.rename(file)
    dagster.goto(f"{_ui(platform)}/runs/{failed.run_id}")
    dagster.get_by_role("button", name="Re-execute all").click()
    again = eventually(
        lambda: platform.job(failed.id), lambda job: job.run_id != failed.run_id and job.status in FINAL, timeout_s=120
    )
    told = in_api(platform, again, token)
    assert (told["status"], told["retryCount"]) == ("completed", 1)
    assert "--- RETRY ATTEMPT 1 ---" in told["log"]
    query = "query Q($id: ID!) { runOrError(runId: $id) { ... on Run { parentRunId status } } }"
    run = eventually(
        lambda: ask(platform, query, id=again.run_id)["runOrError"],
        lambda run: run["status"] == "SUCCESS",
        timeout_s=30,
    )
    assert run["parentRunId"] == failed.run_id
    nothing_is_left(platform)


def test_a_run_goes_on_from_the_step_that_failed(dagster: Page, platform: Platform, videos: list[UUID]) -> None:
    """Its earlier steps are not executed again, and the job that failed is the one that completes."""
    library, video = platform.settings.media_library_path, videos[2]
    target = "blocked/a.mp4"
    (library / "blocked").write_text("a file where a folder must be")
    asked = {"videoId": str(video), "outputPath": target}
    failed = platform.finished(platform.enqueue("reencode_streaming", asked, max_retries=0).id, 90)
    assert failed.status == "failed", failed.error
    (library / "blocked").unlink()
    dagster.goto(f"{_ui(platform)}/runs/{failed.run_id}")
    dagster.get_by_role("button", name="Re-execute").locator("xpath=following::button[1]").click()
    dagster.get_by_role("menuitem", name="From failure").click()
    again = eventually(
        lambda: platform.job(failed.id), lambda job: job.run_id != failed.run_id and job.status in FINAL, timeout_s=120
    )
    assert again.status == "completed", again.error
    assert (library / target).is_file()
    query = "query Q($id: ID!) { runOrError(runId: $id) { ... on Run { stepKeysToExecute } } }"
    steps = ask(platform, query, id=again.run_id)["runOrError"]["stepKeysToExecute"]
    assert "streaming_rendition.find_source" not in steps
    assert "streaming_rendition.encode_rendition" in steps
    nothing_is_left(platform)


def test_a_run_that_is_terminated_there_cancels_its_job(
    dagster: Page, platform: Platform, token: str, long_clip: UUID
) -> None:
    asked = {"videoId": str(long_clip), "outputPath": "playback/terminated.mp4", **_SLOW}
    job = platform.enqueue("reencode_streaming", asked)
    eventually(lambda: platform.job(job.id), lambda job: job.progress > 0, timeout_s=120)
    run_id = str(platform.job(job.id).run_id)
    dagster.goto(f"{_ui(platform)}/runs/{run_id}")
    dagster.get_by_role("button", name="Terminate").click()
    dagster.get_by_role("dialog").get_by_role("button", name="Terminate 1 run").click()
    ended = platform.finished(job.id, 60)
    told = in_api(platform, ended, token)
    assert told["status"] == "cancelled"
    assert told["log"].splitlines()[-1].endswith("--- JOB CANCELLED BY ADMIN ---")
    assert eventually(lambda: status_of(platform, run_id), lambda status: status == "CANCELED", timeout_s=60)
    root = platform.settings.media_library_path
    eventually(lambda: ffmpeg_processes(root), lambda found: not found, timeout_s=30)
    assert not list(root.rglob("*.partial*"))
    time.sleep(2 * 2**1)  # longer than a retry would wait
    assert platform.job(job.id).status == "cancelled"
    nothing_is_left(platform)


def test_a_job_that_is_cancelled_in_the_queue_ends_its_run(platform: Platform, long_clip: UUID) -> None:
    asked = {"videoId": str(long_clip), "outputPath": "playback/cancelled.mp4", **_SLOW}
    job = platform.enqueue("reencode_streaming", asked)
    eventually(lambda: platform.job(job.id), lambda job: job.progress > 0, timeout_s=120)
    run_id = str(platform.job(job.id).run_id)
    assert platform.command("jobs", "cancel", str(job.id)).returncode == 0
    assert eventually(lambda: status_of(platform, run_id), lambda status: status == "CANCELED", timeout_s=60)
    nothing_is_left(platform)


def test_a_run_whose_process_is_killed_while_it_waits_leaves_its_job_to_another(
    dagster: Page, platform: Platform, videos: list[UUID]
) -> None:
    with platform.engine.begin() as connection:
        lifecycle.pause_queue(connection, "a test")
    try:
        materialize(dagster, platform, "gif", videos[3], "Launch 1 run")
        job = eventually(
            lambda: newest(platform, "compile_gif", videos[3]), lambda job: job and not job.held, timeout_s=90
        )
        os.kill(_pid(platform, str(job.waiting_run_id)), 9)
        eventually(lambda: platform.job(job.id), lambda job: job.waiting_run_id is None, timeout_s=60)
    finally:
        with platform.engine.begin() as connection:
            lifecycle.resume_queue(connection)
    done = platform.finished(job.id, 90)
    assert (done.status, done.run_id == job.waiting_run_id) == ("completed", False)
    nothing_is_left(platform)


def _pid(platform: Platform, run_id: str) -> int:
    pid = run_process.pid_of(platform.settings.runs_dir, run_id)
    assert pid is not None
    return pid
