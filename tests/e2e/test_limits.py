"""Forty jobs of all six types at once: slots and VRAM hold in every sample, and reasons name true blockers."""

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge.vocabulary import FINAL, JobStatus
from tests.e2e.conftest import Platform, eventually, make_clip

_SAMPLE_S = 0.5
_REASON_MAY_BE_OLD_S = 6
_NAMED = re.compile(r"(?:scan|validate|generate|streaming|compile_random) ([0-9a-f]{8})")
_ROWS = sa.text(
    "SELECT id, status, resource_category, coalesce(vram_required, 0) AS vram_mb, waiting_reason, "
    "status IN ('queued', 'running') OR completed_at > timezone('utc', now()) - interval '6 seconds' AS lately "
    "FROM jobs WHERE id = ANY(:ids)"
)


@dataclass
class Samples:
    """What was seen, twice a second."""

    running: list[Counter[str]] = field(default_factory=list)
    vram_mb: list[int] = field(default_factory=list)
    active: list[tuple[float, set[str]]] = field(default_factory=list)
    reasons: list[tuple[float, str, str]] = field(default_factory=list)

    def take(self, platform: Platform, ids: list[UUID]) -> bool:
        with platform.engine.begin() as connection:
            rows = connection.execute(_ROWS, {"ids": ids}).all()
        now_s = time.monotonic()
        running = [row for row in rows if row.status == JobStatus.RUNNING]
        self.running.append(Counter(row.resource_category for row in running))
        self.vram_mb.append(sum(row.vram_mb for row in running))
        self.active.append((now_s, {str(row.id)[:8] for row in rows if row.lately}))
        self.reasons += [
            (now_s, row.waiting_reason, row.resource_category)
            for row in rows
            if row.status == "pending" and row.waiting_reason
        ]
        return all(row.status in FINAL for row in rows)


@pytest.fixture(scope="module")
def videos(platform: Platform) -> list[UUID]:
    root = platform.settings.media_library_path
    paths = [make_clip(root / f"library/mixed/clip {number}.mp4", 2, "320x180") for number in range(8)]
    (root / "library/public").mkdir(parents=True, exist_ok=True)
    scan = platform.enqueue("scan", {"directoryType": "mixed"})
    assert platform.finished(scan.id, 60).status == JobStatus.COMPLETED
    return [platform.video_id(str(path.relative_to(root))) for path in paths]


def test_forty_mixed_jobs_never_exceed_slots_or_budget(platform: Platform, videos: list[UUID]) -> None:
    samples = Samples()
    ids = [platform.enqueue(kind, params, **options).id for kind, params, options in _forty(videos)]
    assert len(ids) == 40

    over = threading.Event()
    sampler = threading.Thread(target=_sample_until, args=(over, samples, platform, ids))
    sampler.start()
    try:
        eventually(lambda: samples.active and samples.take(platform, ids), bool, timeout_s=280)
    finally:
        over.set()
        sampler.join()

    assert max(count["cpu"] for count in samples.running) <= 5
    assert max(count["gpu_encode"] for count in samples.running) <= 2
    assert max(count["gpu_ai"] for count in samples.running) <= 1
    assert max(samples.vram_mb) <= 16_000
    failed = [job for job_id in ids if (job := platform.job(job_id)).status != JobStatus.COMPLETED]
    assert not failed, [(job.type, job.error) for job in failed]
    _assert_reasons_are_true(samples)


def _forty(videos: list[UUID]) -> list[tuple[str, dict[str, object], dict[str, object]]]:
    jobs: list[tuple[str, dict[str, object], dict[str, object]]] = []
    for number, video in enumerate(videos):
        jobs.append(("validate", {"videoId": str(video)}, {}))
        jobs.append(("thumbnail_generate", {"videoId": str(video)}, {"priority": 3}))
        vram = {"vram_required": (8000, 7000, 6000, 4000)[number % 4]}
        jobs.append(("reencode_streaming", {"videoId": str(video), "preset": "ultrafast"}, vram))
    for number in range(9):
        category = {"resource_category": ("gpu_encode", "gpu_ai", "gpu_ai")[number % 3]}
        jobs.append(
            ("compile_random", {"count": 3, "seed": number}, {"vram_required": 2000 + 750 * number, **category})
        )
    for number in range(6):
        jobs.append(("scan", {"path": f"library/mixed/clip {number}.mp4"}, {}))
    jobs.append(("public_scan", {}, {"priority": 1}))
    return jobs


def _sample_until(over: threading.Event, samples: Samples, platform: Platform, ids: list[UUID]) -> None:
    while not over.wait(_SAMPLE_S):
        samples.take(platform, ids)


def _assert_reasons_are_true(samples: Samples) -> None:
    """Whoever a reason names was active when it was written, and a VRAM reason appeared at all."""
    assert any("MB" in reason for _, reason, _ in samples.reasons)
    assert any("slots are taken" in reason for _, reason, _ in samples.reasons)
    for at_s, reason, _ in samples.reasons:
        lately = set().union(*(ids for seen_s, ids in samples.active if at_s - _REASON_MAY_BE_OLD_S <= seen_s <= at_s))
        named = set(_NAMED.findall(reason))
        assert named, reason
        assert named <= lately, (reason, named - lately)
