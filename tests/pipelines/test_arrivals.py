"""The two sensors that notice files: what they ask for, what they never ask for twice, what a restart costs."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import queue, videos
from jobqueue_bridge.queue import Filters, Job, NewJob
from jobqueue_bridge.settings import Settings, Watching
from jobqueue_bridge.vocabulary import JobStatus, Origin
from media_pipelines.media import files, mounts
from media_pipelines.media.mounts import Mount
from media_pipelines.sensors import arrivals, inbox, library_folders
from media_pipelines.sensors.arrivals import Ground
from tests.pipelines.conftest import make_clip, run_in_process

STABLE_S = 0.4


@dataclass
class Sensor:
    """One of the two, ticked as the daemon does it: with the cursor that it returned the last time."""

    ground: Ground
    settings: Settings
    cursor: str | None = None
    said: list[str] = field(default_factory=list)

    def tick(self) -> str:
        result = arrivals.evaluate(self.ground, self.settings, self.cursor)
        self.cursor = result.cursor
        assert isinstance(result.skip_reason, dg.SkipReason)
        self.said.append(str(result.skip_reason.skip_message))
        return self.said[-1]

    def tick_until(self, good: Callable[[], Any], timeout_s: float = 15) -> None:
        deadline_s = time.monotonic() + timeout_s
        while True:
            self.tick()
            if good():
                return
            assert time.monotonic() < deadline_s, self.said[-3:]
            time.sleep(0.05)

    def restart(self) -> None:
        """Another process goes on with the cursor that was stored last."""
        arrivals.forget()

    def lose(self) -> None:
        """The process dies after it has enqueued, before its cursor is stored."""
        kept = self.cursor
        self.tick()
        self.cursor = kept
        self.restart()


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return settings.model_copy(update={"inbox_stable_seconds": STABLE_S, "watch": Watching.EVENTS})


@pytest.fixture(autouse=True)
def _forgetting(library: Path) -> Iterator[None]:
    yield
    arrivals.forget()


@pytest.fixture
def of_inbox(library: Path, database: sa.Engine, quick: Settings) -> Sensor:
    (library / "inbox").mkdir()
    return Sensor(inbox.GROUND, quick)


@pytest.fixture
def of_library(library: Path, database: sa.Engine, quick: Settings) -> Sensor:
    (library / "library/videos").mkdir(parents=True)
    return Sensor(library_folders.GROUND, quick)


@pytest.fixture
def jobs(database: sa.Engine) -> Callable[[], list[Job]]:
    def all_of_them() -> list[Job]:
        with database.begin() as connection:
            return list(reversed(queue.page(connection, Filters(), limit=100).jobs))

    return all_of_them


Jobs = Callable[[], list[Job]]


def listed(jobs: Jobs) -> list[list[str]]:
    return [job.params["paths"] for job in jobs()]


def wait_and_tick(sensor: Sensor) -> str:
    sensor.tick()
    time.sleep(STABLE_S + 0.1)
    return sensor.tick()


def know(database: sa.Engine, library: Path, *paths: str) -> None:
    """As a scan leaves them."""
    rows = [
        {"path": path, "filename": Path(path).name, "size_bytes": status.st_size, "mtime": files.modified_at(status)}
        for path in paths
        for status in [(library / path).stat()]
    ]
    with database.begin() as connection:
        videos.upsert(connection, rows)


def finish(database: sa.Engine, status: str = "completed") -> None:
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET status = :status"), {"status": status})


# What has arrived


def test_a_file_in_the_inbox_is_taken_once_it_no_longer_changes(of_inbox: Sensor, library: Path, jobs: Jobs) -> None:
    clip = library / "inbox/new 'clip'\n--it.mp4"
    for size in range(8):
        clip.write_bytes(b"x" * size)
        of_inbox.tick()
        time.sleep(STABLE_S / 2)
    assert jobs() == [], "it grew all the time"
    of_inbox.tick_until(jobs)
    (job,) = jobs()
    assert (job.type, job.params["paths"], job.origin) == ("scan", ["inbox/new 'clip'\n--it.mp4"], Origin.INBOX)
    assert wait_and_tick(of_inbox).startswith("Scans enqueued: 0"), "asked for once"
    assert len(jobs()) == 1


def test_files_that_arrive_together_share_a_scan(of_inbox: Sensor, library: Path, jobs: Jobs) -> None:
    for number in range(200):
        (library / f"inbox/{number:03}.mp4").write_bytes(b"x")
    assert wait_and_tick(of_inbox).startswith("Scans enqueued: 1, of 200 files; on their way in: 0")
    assert [len(paths) for paths in listed(jobs)] == [200]


def test_a_scan_lists_no_more_than_it_may(of_inbox: Sensor, library: Path, jobs: Jobs) -> None:
    for number in range(1_100):
        (library / f"inbox/{number:04}.mp4").write_bytes(b"x")
    of_inbox.tick_until(lambda: sum(map(len, listed(jobs))) == 1_100)
    assert max(len(paths) for paths in listed(jobs)) == 500
    assert len({path for paths in listed(jobs) for path in paths}) == 1_100


def test_a_row_stays_small_though_names_are_long(of_inbox: Sensor, library: Path, jobs: Jobs) -> None:
    for number in range(400):
        (library / f"inbox/{number:03}{'é' * 120}.mp4").write_bytes(b"x")
    wait_and_tick(of_inbox)
    assert len(listed(jobs)) == 2
    assert max(len("".join(paths).encode()) for paths in listed(jobs)) <= 60_000


def test_a_file_that_is_renamed_while_it_is_copied_is_taken_under_its_last_name(
    of_inbox: Sensor, library: Path, jobs: Jobs
) -> None:
    path = library / "inbox/film.mp4.part"
    for name in ("film.mp4.part", "film.temp.mp4", ".film.mp4", "film (1).mp4", "film.mp4"):
        path = path.rename(path.with_name(name)) if path.exists() else path
        with path.open("ab") as growing:
            growing.write(b"more")
        of_inbox.tick()
        time.sleep(STABLE_S / 2)
    of_inbox.tick_until(jobs)
    wait_and_tick(of_inbox)
    assert listed(jobs) == [["inbox/film.mp4"]]


def test_a_file_that_vanishes_on_its_way_is_no_error(of_inbox: Sensor, library: Path, jobs: Jobs) -> None:
    (library / "inbox/a.mp4").write_bytes(b"x")
    of_inbox.tick_until(lambda: "on their way in: 1" in of_inbox.said[-1])
    (library / "inbox/a.mp4").unlink()
    of_inbox.tick_until(lambda: "on their way in: 0" in of_inbox.said[-1])
    assert jobs() == []


def test_what_leads_out_of_the_library_is_not_taken(
    of_inbox: Sensor, library: Path, tmp_path: Path, jobs: Jobs
) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (library / "inbox/file.mp4").symlink_to(tmp_path / "secret.mp4")
    (library / "inbox/folder").symlink_to(tmp_path)
    (library / "inbox/loop.mp4").symlink_to("loop.mp4")
    wait_and_tick(of_inbox)
    wait_and_tick(of_inbox)
    assert jobs() == []


def test_what_the_library_knows_as_it_is_has_arrived(
    of_inbox: Sensor, library: Path, database: sa.Engine, jobs: Jobs
) -> None:
    for name in ("old.mp4", "ancient.mp4"):
        (library / "inbox" / name).write_bytes(b"x")
    os.utime(library / "inbox/ancient.mp4", (400_000_000_000, 400_000_000_000))
    know(database, library, "inbox/old.mp4", "inbox/ancient.mp4")
    wait_and_tick(of_inbox)
    assert jobs() == []
    (library / "inbox/old.mp4").write_bytes(b"changed")
    of_inbox.tick_until(jobs)
    assert listed(jobs) == [["inbox/old.mp4"]]


def test_a_file_that_no_scan_can_read_is_asked_for_once(
    of_inbox: Sensor, library: Path, database: sa.Engine, jobs: Jobs
) -> None:
    (library / "inbox/a.mp4").write_bytes(b"x")
    wait_and_tick(of_inbox)
    finish(database, "failed")
    wait_and_tick(of_inbox)
    of_inbox.restart()
    wait_and_tick(of_inbox)
    assert len(jobs()) == 1
    (library / "inbox/a.mp4").write_bytes(b"better")
    of_inbox.tick_until(lambda: len(jobs()) == 2)


def test_a_file_that_changes_while_its_scan_is_live_is_asked_for_again_afterwards(
    of_inbox: Sensor, library: Path, database: sa.Engine, jobs: Jobs
) -> None:
    (library / "inbox/a.mp4").write_bytes(b"x")
    wait_and_tick(of_inbox)
    (library / "inbox/a.mp4").write_bytes(b"xy")
    for _ in range(3):
        wait_and_tick(of_inbox)
    assert len(jobs()) == 1
    finish(database)
    of_inbox.tick_until(lambda: len(jobs()) == 2)


def test_a_scan_of_the_whole_folder_that_somebody_asked_for_is_waited_for(
    of_library: Sensor, library: Path, database: sa.Engine, settings: Settings, jobs: Jobs
) -> None:
    with database.begin() as connection:
        queue.enqueue(connection, NewJob("scan", {}), settings)
    (library / "library/videos/a.mp4").write_bytes(b"x")
    (library / "library/curated").mkdir()
    (library / "library/curated/b.mp4").write_bytes(b"x")
    of_library.tick_until(lambda: len(jobs()) == 2)
    assert jobs()[1].params["paths"] == ["library/curated/b.mp4"]
    know(database, library, "library/videos/a.mp4", "library/curated/b.mp4")
    finish(database)
    wait_and_tick(of_library)
    assert len(jobs()) == 2


def test_what_a_job_is_changing_is_left_to_it(
    of_library: Sensor, library: Path, database: sa.Engine, jobs: Jobs
) -> None:
    """Between the file and its row a run may have died: who recovers the change lets the row follow."""
    for name in "ab":
        (library / f"library/videos/{name}.mp4").write_bytes(b"x")
    with database.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO file_changes (action, path, target, state) "
                "VALUES ('replace', 'library/videos/a.mkv', 'library/videos/a.mp4', 'intended')"
            )
        )
    wait_and_tick(of_library)
    assert listed(jobs) == [["library/videos/b.mp4"]]
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE file_changes SET state = 'done'"))
    of_library.tick_until(lambda: listed(jobs)[1:] == [["library/videos/a.mp4"]])


# Restarts


def test_the_cursor_of_one_process_is_gone_on_with_by_another(of_inbox: Sensor, library: Path, jobs: Jobs) -> None:
    (library / "inbox/a.mp4").write_bytes(b"x")
    of_inbox.tick()
    time.sleep(STABLE_S + 0.1)
    of_inbox.restart()
    of_inbox.tick()
    assert listed(jobs) == [["inbox/a.mp4"]], "it had stood still long enough when the other process began"


def test_of_a_process_that_dies_before_its_cursor_is_stored_nothing_is_lost_or_doubled(
    of_inbox: Sensor, library: Path, database: sa.Engine, jobs: Jobs
) -> None:
    for name in "ab":
        (library / f"inbox/{name}.mp4").write_bytes(b"x")
    of_inbox.tick()
    time.sleep(STABLE_S + 0.1)
    of_inbox.lose()
    assert listed(jobs) == [["inbox/a.mp4", "inbox/b.mp4"]]
    (library / "inbox/c.mp4").write_bytes(b"x")  # so that the next scan would be of another list
    for _ in range(3):
        wait_and_tick(of_inbox)
    assert listed(jobs)[1:] == [["inbox/c.mp4"]]
    know(database, library, *(f"inbox/{name}.mp4" for name in "abc"))
    finish(database)
    wait_and_tick(of_inbox)
    assert len(jobs()) == 2


def test_what_comes_while_no_process_looks_is_found_by_the_next(of_inbox: Sensor, library: Path, jobs: Jobs) -> None:
    of_inbox.tick()
    of_inbox.restart()
    (library / "inbox/deep/er").mkdir(parents=True)
    (library / "inbox/deep/er/a.mp4").write_bytes(b"x")
    wait_and_tick(of_inbox)
    assert listed(jobs) == [["inbox/deep/er/a.mp4"]]


@pytest.mark.parametrize(
    "cursor",
    [
        "", "null", "[]", "{}", "no JSON", "\0", '{"version": 2}',
        '{"inbox/a.mp4": [1, 2, 3.0, false]}',
        '{"version": 1, "memory": 3, "boot": "x"}',
        '{"version": 1, "memory": "x", "boot": "x", "pending": {"inbox/a.mp4": [1, 2]}}',
        '{"version": 1, "memory": "x", "boot": "x", "pending": {"../../etc/passwd": [1, 2, 3, -1e300]}}',
        '{"version": 1, "memory": "x", "boot": "", "pending": {"inbox/a.mp4": [1, 1, 1, 1e300]}, "more": 9}',
    ],
)  # fmt: skip
def test_garbage_in_the_cursor_costs_no_file(of_inbox: Sensor, library: Path, jobs: Jobs, cursor: str) -> None:
    (library / "inbox/a.mp4").write_bytes(b"x")
    of_inbox.cursor = cursor
    of_inbox.tick_until(jobs)
    assert listed(jobs) == [["inbox/a.mp4"]]


def test_the_cursor_stays_small_however_many_files_come_at_once(of_inbox: Sensor, library: Path, jobs: Jobs) -> None:
    for number in range(3_000):
        (library / f"inbox/{number}{'x' * 100}.mp4").write_bytes(b"")
    of_inbox.tick_until(lambda: "on their way in: 3000" in of_inbox.said[-1])
    assert of_inbox.cursor is not None
    assert len(of_inbox.cursor) < 20_000
    kept = json.loads(of_inbox.cursor)
    assert kept["more"] == 3_000 - len(kept["pending"])
    of_inbox.restart()
    of_inbox.tick_until(lambda: sum(map(len, listed(jobs))) == 3_000)
    assert len({path for paths in listed(jobs) for path in paths}) == 3_000


def test_a_tick_that_fails_is_made_up_for(
    of_inbox: Sensor, library: Path, jobs: Jobs, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_inbox.tick()
    (library / "inbox/a.mp4").write_bytes(b"x")
    time.sleep(0.3)
    of_inbox.settings = quick.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    with pytest.raises(sa.exc.OperationalError):
        of_inbox.tick()
    of_inbox.settings = quick
    of_inbox.tick_until(jobs)


def test_two_looks_never_go_on_at_once(of_inbox: Sensor) -> None:
    of_inbox.tick()
    with arrivals._locks["inbox"]:
        assert of_inbox.tick() == "The look before this one is not over."
    assert "By events" in of_inbox.tick()


# Events, and what serves in their place


def test_the_first_tick_watches_and_an_idle_tick_asks_nothing(
    of_library: Sensor, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_library.tick_until(lambda: "going on" not in of_library.said[-1])
    looks: list[str] = []
    monkeypatch.setattr(arrivals.Arrivals, "_examine", lambda self, found: looks.append(str(found)) or [])
    for _ in range(5):
        assert of_library.tick() == "Scans enqueued: 0, of 0 files; on their way in: 0. By events."
    assert [look for look in looks if look != "{}"] == []


def test_events_alone_bring_a_file_in(of_library: Sensor, library: Path, jobs: Jobs) -> None:
    of_library.tick()
    (library / "library/videos/shelf").mkdir()
    shutil.copy(__file__, library / "library/videos/shelf/a.mp4")
    of_library.tick_until(jobs, timeout_s=10)
    assert listed(jobs) == [["library/videos/shelf/a.mp4"]]


@pytest.mark.parametrize("watch", list(Watching))
def test_every_way_of_noticing_finds_the_same(
    of_inbox: Sensor, library: Path, quick: Settings, jobs: Jobs, watch: Watching
) -> None:
    of_inbox.settings = quick.model_copy(update={"watch": watch})
    said = of_inbox.tick()
    assert said.endswith("By polling: MEDIA_WATCH says so." if watch == "polling" else "By events.")
    (library / "inbox/a.mp4").write_bytes(b"x")
    of_inbox.tick_until(jobs)
    assert listed(jobs) == [["inbox/a.mp4"]]


def test_what_lies_on_a_network_is_polled_unless_told_otherwise(
    of_inbox: Sensor, library: Path, quick: Settings, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Mount(library / "inbox", "nfs4")
    monkeypatch.setattr(mounts, "mounts", lambda: [network])
    of_inbox.settings = quick.model_copy(update={"watch": Watching.AUTO})
    assert f"By polling: {network.point} is nfs4" in of_inbox.tick()
    (library / "inbox/a.mp4").write_bytes(b"x")
    of_inbox.tick_until(jobs)
    of_inbox.settings = quick
    assert of_inbox.tick().endswith("By events.")


def test_a_disk_that_is_mounted_later_is_noticed(
    of_inbox: Sensor, library: Path, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_inbox.settings = quick.model_copy(update={"watch": Watching.AUTO})
    assert of_inbox.tick().endswith("By events.")
    monkeypatch.setattr(mounts, "mounts", lambda: [Mount(Path("/"), "ext4"), Mount(library / "inbox/nas", "cifs")])
    assert "inbox/nas is cifs" in of_inbox.tick()


def test_a_limit_of_the_system_leads_to_polling_and_is_named(
    of_inbox: Sensor, library: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from watchdog.observers.inotify_c import Inotify

    def full(self: Inotify, path: bytes) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(Inotify, "add_watch", full)
    assert "By polling: the limit fs.inotify.max_user_watches is reached" in of_inbox.tick()
    (library / "inbox/a.mp4").write_bytes(b"x")
    of_inbox.tick_until(jobs)


def test_an_inbox_that_is_made_later_is_watched_then(
    library: Path, database: sa.Engine, quick: Settings, jobs: Jobs
) -> None:
    sensor = Sensor(inbox.GROUND, quick)
    assert "there is no folder inbox/ yet" in sensor.tick()
    (library / "inbox").mkdir()
    assert sensor.tick().endswith("By events.")
    shutil.rmtree(library / "inbox")
    sensor.tick_until(lambda: "no folder inbox/" in sensor.said[-1])
    (library / "inbox").mkdir()
    (library / "inbox/a.mp4").write_bytes(b"x")
    sensor.tick_until(jobs)


def test_a_folder_that_is_moved_takes_its_files_along(
    of_library: Sensor, library: Path, database: sa.Engine, jobs: Jobs
) -> None:
    (library / "library/videos/one").mkdir()
    (library / "library/videos/one/a.mp4").write_bytes(b"x")
    know(database, library, "library/videos/one/a.mp4")
    of_library.tick_until(lambda: "going on" not in of_library.said[-1])
    (library / "library/videos/one").rename(library / "library/videos/two")
    of_library.tick_until(jobs)
    assert listed(jobs) == [["library/videos/one/a.mp4", "library/videos/two/a.mp4"]], "one scan, which sees the move"


def test_where_folders_are_links_every_hint_leads_to_a_look_everywhere(
    of_library: Sensor, library: Path, jobs: Jobs
) -> None:
    """The file is known by the path by which scans come first, which is not where the kernel tells of it."""
    (library / "library/videos/z real").mkdir()
    (library / "library/videos/a link").symlink_to("z real")
    of_library.tick_until(lambda: "going on" not in of_library.said[-1])
    (library / "library/videos/z real/a.mp4").write_bytes(b"x")
    of_library.tick_until(jobs)
    wait_and_tick(of_library)
    assert listed(jobs) == [["library/videos/a link/a.mp4"]]


def test_a_look_everywhere_finds_what_no_event_told(
    of_library: Sensor, library: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_library.tick_until(lambda: "going on" not in of_library.said[-1])
    monkeypatch.setattr(arrivals.Watch, "hints", lambda self: ([], True))
    (library / "library/videos/a.mp4").write_bytes(b"x")
    for _ in range(2):
        wait_and_tick(of_library)
    assert jobs() == [], "nobody said anything, and the next look is due in minutes"
    monkeypatch.setattr(arrivals, "_SAFETY_NET_S", 0.0)
    of_library.tick_until(jobs)


# The library's folders


def test_each_directory_type_has_its_own_scan_and_the_gallery_its_own_kind(
    of_library: Sensor, library: Path, jobs: Jobs
) -> None:
    for path in ("videos/a.mp4", "videos/deep/b.mp4", "public/c.mp4", "not a type/d.mp4", "e.mp4", ".hidden/f.mp4"):
        (library / "library" / path).parent.mkdir(exist_ok=True)
        (library / "library" / path).write_bytes(b"x")
    wait_and_tick(of_library)
    found = sorted((job.type, job.params["paths"], job.origin) for job in jobs())
    assert found == [
        ("public_scan", ["library/public/c.mp4"], Origin.FOLDER),
        ("scan", ["library/not a type/d.mp4"], Origin.FOLDER),
        ("scan", ["library/videos/a.mp4", "library/videos/deep/b.mp4"], Origin.FOLDER),
    ]


def test_files_that_keep_coming_are_gathered(of_library: Sensor, library: Path, quick: Settings, jobs: Jobs) -> None:
    of_library.tick()
    for number in range(60):
        (library / f"library/videos/{number:02}.mp4").write_bytes(b"x")
        of_library.tick()
        time.sleep(0.03)
    of_library.tick_until(jobs)
    assert [len(paths) for paths in listed(jobs)] == [60]


def test_the_patience_with_what_keeps_coming_ends(
    library: Path, database: sa.Engine, quick: Settings, jobs: Jobs
) -> None:
    (library / "inbox").mkdir()
    sensor = Sensor(Ground("inbox", Origin.INBOX, patience_s=1.0, by_type=False), quick)
    (library / "inbox/a.mp4").write_bytes(b"x")

    def grown() -> list[Job]:
        with (library / "inbox/growing.mp4").open("ab") as growing:
            growing.write(b"more")
        return jobs()

    began_s = time.monotonic()
    sensor.tick_until(grown)
    assert listed(jobs) == [["inbox/a.mp4"]]
    assert time.monotonic() - began_s >= STABLE_S + 1.0


def test_a_file_that_has_vanished_is_told_and_one_whose_disk_is_away_is_not(
    of_library: Sensor, library: Path, database: sa.Engine, tmp_path: Path, jobs: Jobs
) -> None:
    paths = ["library/videos/a.mp4", "library/videos/b.mp4", "library/nas/deep/c.mp4"]
    for path in paths:
        (library / path).parent.mkdir(parents=True, exist_ok=True)
        (library / path).write_bytes(b"x")
    know(database, library, *paths)
    of_library.tick_until(lambda: "going on" not in of_library.said[-1])
    (library / "library/videos/a.mp4").unlink()
    (library / "library/nas").rename(tmp_path / "disk")
    (library / "library/nas").mkdir()
    os.utime(library / "library/nas", (1_000_000, 1_000_000))
    of_library.tick_until(jobs)
    for _ in range(3):
        wait_and_tick(of_library)
    assert listed(jobs) == [["library/videos/a.mp4"]]


def test_a_folder_that_was_deleted_is_told_with_all_that_was_in_it(
    of_library: Sensor, library: Path, database: sa.Engine, jobs: Jobs
) -> None:
    paths = [f"library/videos/shelf/{number}.mp4" for number in range(3)]
    (library / "library/videos/shelf").mkdir()
    for path in [*paths, "library/videos/stays.mp4"]:
        (library / path).write_bytes(b"x")
    know(database, library, *paths, "library/videos/stays.mp4")
    of_library.tick_until(lambda: "going on" not in of_library.said[-1])
    shutil.rmtree(library / "library/videos/shelf")
    of_library.tick_until(jobs)
    assert listed(jobs) == [paths]


# As Dagster calls them, and to the end


@pytest.mark.parametrize(
    ("sensor", "folder", "kind"),
    [(inbox.inbox, "inbox", "scan"), (library_folders.library_folders, "library/public", "public_scan")],
    ids=["inbox", "library_folders"],
)
def test_from_a_file_to_its_one_row_and_from_its_end_to_the_mark_on_it(
    sensor: dg.SensorDefinition, folder: str, kind: str, library: Path, database: sa.Engine, settings: Settings,
    instance: dg.DagsterInstance, ffmpeg: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MEDIA_INBOX_STABLE_SECONDS", str(STABLE_S))
    gone, _ = (make_clip(ffmpeg, library / folder / f"{color}.mp4", color=color) for color in ("green", "red"))
    cursor: str | None = None

    def tick_until_there_are(count: int) -> Job:
        nonlocal cursor
        deadline_s = time.monotonic() + 20
        while True:
            result = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
            assert isinstance(result, dg.SensorResult)
            assert not result.run_requests
            cursor = result.cursor
            if len(jobs()) == count:
                return jobs()[-1]
            assert time.monotonic() < deadline_s, result.skip_reason
            time.sleep(0.1)

    done = run_in_process(settings, instance, tick_until_there_are(1))
    assert (done.type, done.status, done.error) == (kind, JobStatus.COMPLETED, None)
    assert _rows(database) == {f"{folder}/green.mp4": False, f"{folder}/red.mp4": False}
    for _ in range(5):
        tick_until_there_are(1)  # what a scan has found is known
        time.sleep(STABLE_S / 2)

    gone.unlink()
    done = run_in_process(settings, instance, tick_until_there_are(2))
    assert done.result is not None
    assert done.result["missing"] == 1
    assert _rows(database) == {f"{folder}/green.mp4": True, f"{folder}/red.mp4": False}


def _rows(database: sa.Engine) -> dict[str, bool]:
    """Each path, and whether its file is missing."""
    with database.begin() as connection:
        rows = connection.execute(
            sa.text("SELECT path, missing_since IS NOT NULL AS is_missing FROM videos ORDER BY path")
        )
        return {row.path: row.is_missing for row in rows}
