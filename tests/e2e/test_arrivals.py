"""Files that arrive in every way that people and programs have, on a real platform: each becomes one video, once.

MEDIA_PROOF=full: 200 files with the jobs that follow, some of them growing for half a minute.
"""

import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobqueue_bridge import queue
from jobqueue_bridge.queue import Filters, Job
from tests.e2e.conftest import Platform, eventually, kill, make_clip, running_platform

FULL = os.environ.get("MEDIA_PROOF") == "full"
GROWS_FOR_S = 30.0 if FULL else 5.0
STABLE_S = 2.0
pytestmark = pytest.mark.timeout(2_400 if FULL else 600)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 1, "160x90").read_bytes()


def content(clip: bytes, number: int) -> bytes:
    """A content of its own: a box at the end that players pass over."""
    return clip + struct.pack(">I4sQ", 16, b"free", number)


class Arriving:
    """Files on their way into a folder: most are there at once, some grow, some are renamed meanwhile."""

    def __init__(self, folder: Path, clip: bytes, numbers: range) -> None:
        self.folder = folder
        self.whole = {f"{number:03} it's.mp4": content(clip, number) for number in numbers}
        names = list(self.whole)
        self.growing, self.renamed = names[::10], names[5::10]
        self._threads = [threading.Thread(target=self._grow, args=(name,), daemon=True) for name in self.growing]
        self._threads += [threading.Thread(target=self._rename, args=(name,), daemon=True) for name in self.renamed]

    def begin(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for thread in self._threads:
            thread.start()
        for name in self.whole.keys() - {*self.growing, *self.renamed}:
            (self.folder / name).write_bytes(self.whole[name])

    def end(self) -> None:
        for thread in self._threads:
            thread.join()
        assert {name: (self.folder / name).read_bytes() for name in self.whole} == self.whole

    def _grow(self, name: str) -> None:
        """Never still for as long as the platform waits."""
        whole, pieces = self.whole[name], round(GROWS_FOR_S / 0.5)
        with (self.folder / name).open("wb", buffering=0) as writing:
            for piece in range(pieces):
                writing.write(whole[len(whole) * piece // pieces : len(whole) * (piece + 1) // pieces])
                time.sleep(0.5)

    def _rename(self, name: str) -> None:
        """Written under one name after another."""
        whole, path = self.whole[name], self.folder / f"{name}.part"
        with path.open("wb", buffering=0) as writing:
            for number, stage in enumerate((f"{name}.part", f"{name}.tmp.mp4", f"renamed {name}", name)):
                path = path.rename(self.folder / stage)
                writing.write(whole[len(whole) * number // 4 : len(whole) * (number + 1) // 4])
                time.sleep(1)


def rows(platform: Platform, folder: str) -> list[dict[str, Any]]:
    with platform.engine.begin() as connection:
        found = connection.execute(
            sa.text("SELECT * FROM videos WHERE starts_with(path, :folder) ORDER BY path"), {"folder": f"{folder}/"}
        )
        return [dict(row._mapping) for row in found]


def jobs(platform: Platform) -> list[Job]:
    with platform.engine.begin() as connection:
        return list(queue.page(connection, Filters(), limit=10_000).jobs)


def scans(platform: Platform, folder: str) -> list[Job]:
    """Those that the sensors have asked for below a folder."""
    found = [job for job in jobs(platform) if job.origin in ("inbox", "folder")]
    return [job for job in found if any(path.startswith(f"{folder}/") for path in job.params["paths"])]


def check_each_is_one_video(platform: Platform, arriving: Arriving, origin: str, kind: str) -> None:
    folder = str(arriving.folder.relative_to(platform.settings.media_library_path))
    found = rows(platform, folder)
    assert [(row["filename"], row["size_bytes"], row["is_valid"], row["missing_since"]) for row in found] == [
        (name, len(whole), True, None) for name, whole in sorted(arriving.whole.items())
    ]
    asked = [job for job in scans(platform, folder) if job.type == kind and job.origin == origin]
    assert asked == scans(platform, folder)
    assert Counter(path for job in asked for path in job.params["paths"]) == Counter(row["path"] for row in found)
    for job in asked:
        for path in job.params["paths"]:
            stood_still_for = job.created_at - written_at(platform, path, job.created_at)
            assert stood_still_for.total_seconds() > STABLE_S - 0.1, path


def written_at(platform: Platform, path: str, like: datetime) -> datetime:
    return datetime.fromtimestamp((platform.settings.media_library_path / path).stat().st_mtime, like.tzinfo)


def test_files_that_arrive_in_every_way_become_one_video_each(platform: Platform, clip: bytes) -> None:
    """200 of them, in three places, while the code server, in which the sensors live, and the daemon are killed."""
    root = platform.settings.media_library_path
    places = {
        "inbox": Arriving(root / "inbox/arriving", clip, range(100)),
        "folder": Arriving(root / "library/arriving/deep", clip, range(100, 180)),
        "gallery": Arriving(root / "library/public/arriving", clip, range(180, 200)),
    }
    for arriving in places.values():
        arriving.begin()
    time.sleep(3)
    kill(platform.pid_of("code-server"))
    kill(platform.pid_of("daemon"))
    for arriving in places.values():
        arriving.end()
    wanted = {"inbox/arriving": 100, "library/arriving": 80, "library/public/arriving": 20}
    eventually(
        lambda: {folder: len(rows(platform, folder)) for folder in wanted}, lambda seen: seen == wanted, timeout_s=90
    )
    folders = list(wanted)
    ended = [job for folder in folders for job in scans(platform, folder)]
    for job in ended:
        assert platform.finished(job.id, 30).status == "completed"
    check_each_is_one_video(platform, places["inbox"], "inbox", "scan")
    check_each_is_one_video(platform, places["folder"], "folder", "scan")
    check_each_is_one_video(platform, places["gallery"], "folder", "public_scan")
    assert len(ended) <= 20, "files that arrive together share a scan"


# The jobs that follow

CHAIN = ("validate", "thumbnail_generate", "reencode_streaming")
COUNT = 200 if FULL else 16


@pytest.fixture(scope="module")
def chained(_no_settings_from_outside: None) -> Iterator[Platform]:
    with running_platform(MEDIA_ON_NEW_VIDEO=",".join(CHAIN), MEDIA_SLOTS_GPU_ENCODE="4") as platform:
        yield platform


def hollow(whole: bytes) -> bytes:
    """Its header says what it is, and nothing in it can be decoded."""
    begin = whole.index(b"mdat") + 4
    end = whole.index(b"moov") - 4
    return whole[:begin] + bytes(end - begin) + whole[end:]


def test_each_video_that_arrives_gets_its_jobs_once_and_in_order(chained: Platform, clip: bytes) -> None:
    """One of them is hollow: what waits for its validation says so, and never starts."""
    root = chained.settings.media_library_path
    arriving = Arriving(root / "inbox", clip, range(COUNT))
    arriving.begin()
    (root / "inbox/hollow.mp4").write_bytes(hollow(content(clip, 1_000)))
    arriving.end()
    # the scan of those that grew waits behind what follows the others
    eventually(lambda: len(rows(chained, "inbox")), lambda seen: seen == COUNT + 1, timeout_s=600 if FULL else 60)
    eventually(
        lambda: Counter(f"{job.type} {job.status}" for job in jobs(chained) if job.origin == "chain"),
        lambda seen: sum(seen.values()) == 3 * (COUNT + 1) and seen["reencode_streaming completed"] == COUNT,
        timeout_s=1_500 if FULL else 240,
    )
    of_video: dict[str, list[Job]] = {str(row["id"]): [] for row in rows(chained, "inbox")}
    paths = {str(row["id"]): row["path"] for row in rows(chained, "inbox")}
    for job in jobs(chained):
        if job.origin == "chain":
            of_video[str(job.video_id)].append(job)
    for video_id, unsorted in of_video.items():
        chain = sorted(unsorted, key=lambda job: CHAIN.index(job.type))
        assert tuple(job.type for job in chain) == CHAIN, paths[video_id]
        assert [job.parent_id for job in chain] == [None, chain[0].id, chain[1].id]
        if paths[video_id] == "inbox/hollow.mp4":
            check_nothing_followed(chain)
        else:
            check_one_followed_the_other(chain)
    renditions = [row["source_video_id"] for row in rows(chained, "playback")]
    assert Counter(map(str, renditions)) == Counter(
        {video_id: 1 for video_id, path in paths.items() if path != "inbox/hollow.mp4"}
    )


def check_one_followed_the_other(chain: list[Job]) -> None:
    for before, after in pairwise(chain):
        assert before.completed_at is not None
        assert after.started_at is not None
        assert before.completed_at <= after.started_at
    assert {(job.status, job.attempt) for job in chain} == {("completed", 1)}


def check_nothing_followed(chain: list[Job]) -> None:
    validation, *held = chain
    assert validation.status == "failed"
    for job in held:
        assert (job.status, job.held, job.attempt) == ("pending", True, 0)
        assert f"validate {str(validation.id)[:8]}" in (job.waiting_reason or ""), job.waiting_reason
        assert "failed" in (job.waiting_reason or ""), job.waiting_reason
