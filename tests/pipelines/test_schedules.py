"""Schedules: one instant makes one job, by Dagster's real scheduler and storage, also where clocks change."""

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.scheduler.instigation import InstigatorTick, InstigatorType, TickStatus
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from jobqueue_bridge import queue
from jobqueue_bridge.queue import Filters, Job
from jobqueue_bridge.schedules import Schedule, defaults
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.tables import schedule_ticks
from jobqueue_bridge.vocabulary import JobType, Origin
from media_pipelines import schedules
from media_pipelines.platform import dagster_home

_DEFINITIONS = ModuleTarget("media_pipelines.definitions", None, None, "media_pipelines")
_LOGGER = logging.getLogger("scheduler")
_HALF_AN_HOUR = timedelta(minutes=30)
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
_ZONES = {"berlin": BERLIN, "new_york": NEW_YORK}
_CRONS = {"half_past_one": "30 1 * * *", "half_past_two": "30 2 * * *", "three": "0 3 * * *", "hourly": "0 * * * *"}
_OF_THE_TESTS = {
    **{name: {"enabled": False} for name in defaults("@daily", "UTC")},
    **{
        f"{place}_{name}": {"cron": cron, "timezone": zone, "type": "compile_random", "params": {"count": 2}}
        for place, zone in _ZONES.items()
        for name, cron in _CRONS.items()
    },
}


def _jobs(database: sa.Engine) -> list[Job]:
    with database.begin() as connection:
        return list(queue.page(connection, Filters(), limit=1000).jobs)


def _ticks(database: sa.Engine, name: str) -> list[Any]:
    of_schedule = sa.select(schedule_ticks).where(schedule_ticks.c.schedule == name).order_by(schedule_ticks.c.at)
    with database.begin() as connection:
        return list(connection.execute(of_schedule))


@pytest.fixture
def two_videos(database: sa.Engine) -> None:
    with database.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO videos (path, filename, is_valid, directory_type) "
                "SELECT 'library/videos/' || n, n, true, 'videos' FROM generate_series(1, 2) n"
            )
        )


# One instant


NIGHT = datetime(2025, 6, 1, 3, tzinfo=UTC)


def _named(settings: Settings, name: str, **changes: Any) -> Schedule:
    return replace(next(one for one in settings.schedule_table if one.name == name), **changes)


def test_the_nightly_schedule_only_inserts_a_row(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    nightly = schedules.definition(_named(settings, "nightly_compilation"))
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NIGHT)
    assert "nothing to compile" in str(nightly.evaluate_tick(context).skip_message)
    assert _jobs(database) == []


def test_an_instant_makes_one_job_however_often_its_tick_is_evaluated(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance, two_videos: None
) -> None:
    nightly = schedules.definition(_named(settings, "nightly_compilation"))
    said = set()
    for _ in range(3):
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NIGHT)
        data = nightly.evaluate_tick(context)
        assert not data.run_requests
        said.add(data.skip_message)
    (job,) = _jobs(database)
    assert said == {f"Enqueued job {job.id}."}
    assert (job.type, job.origin, job.params["count"]) == ("compile_random", Origin.SCHEDULE, 10)
    assert job.params["outputPath"] == "compilations/nightly-2025-06-01-0300.mp4"


def test_of_two_daemons_at_one_instant_one_enqueues(database: sa.Engine, settings: Settings, two_videos: None) -> None:
    schedule = _named(settings, "nightly_compilation", params={"count": 2})
    both, said = threading.Barrier(8), []

    def tick() -> None:
        both.wait()
        said.append(schedules.ask_for(schedule, NIGHT, settings))

    threads = [threading.Thread(target=tick) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = _jobs(database)
    assert said == [f"Enqueued job {job.id}."] * 8


def test_what_still_runs_from_the_last_time_is_not_asked_for_twice(
    database: sa.Engine, settings: Settings, library: Path
) -> None:
    (library / "library").mkdir()
    schedule = _named(settings, "daily_rescan")
    schedules.ask_for(schedule, NIGHT, settings)
    (job,) = _jobs(database)
    said = schedules.ask_for(schedule, NIGHT + timedelta(days=1), settings)
    assert said == f"Job {job.id} already does this (scan:library:True) and has not ended: nothing was enqueued."
    assert [tick.job_id for tick in _ticks(database, "daily_rescan")] == [job.id, job.id]


def test_a_folder_that_is_not_there_is_not_scanned_each_day(
    database: sa.Engine, settings: Settings, library: Path
) -> None:
    said = schedules.ask_for(_named(settings, "daily_public_rescan"), NIGHT, settings)
    assert said == "There is no library/public/ in the library: nothing to scan."
    assert _jobs(database) == []


def test_an_instant_that_is_still_to_come_enqueues_nothing(
    database: sa.Engine, settings: Settings, two_videos: None
) -> None:
    """Dagster's page evaluates a schedule at an instant of the reader's choice."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    schedule = _named(settings, "nightly_compilation")
    assert schedules.ask_for(schedule, tomorrow, settings).endswith("is still to come: nothing was enqueued.")
    assert (_jobs(database), _ticks(database, schedule.name)) == ([], [])


def test_an_instant_whose_job_cannot_be_made_is_not_taken(database: sa.Engine, settings: Settings) -> None:
    """The tick fails, for all to see, and may be tried again."""
    params = {"videoIds": ["00000000-0000-4000-8000-000000000000"] * 4}
    schedule = _named(settings, "nightly_compilation", type=JobType.COMPILE_QUAD, params=params)
    with pytest.raises(queue.InvalidJob, match="there is no video"):
        schedules.ask_for(schedule, NIGHT, settings)
    assert _ticks(database, schedule.name) == []


def test_two_instants_that_the_clock_shows_alike_have_two_names(
    database: sa.Engine, settings: Settings, two_videos: None
) -> None:
    schedule = _named(settings, "nightly_compilation")
    for hour in (0, 1):
        at = datetime(2025, 10, 26, hour, 30, tzinfo=UTC).astimezone(ZoneInfo(BERLIN))
        schedules.ask_for(schedule, at, settings)
    assert sorted(job.params["outputPath"] for job in _jobs(database)) == [
        "compilations/nightly-2025-10-26-0230+0100.mp4",
        "compilations/nightly-2025-10-26-0230+0200.mp4",
    ]


def test_what_was_made_of_old_instants_is_forgotten(database: sa.Engine, settings: Settings, library: Path) -> None:
    schedule = _named(settings, "daily_rescan")
    for days in (0, 20, 40):
        schedules.ask_for(schedule, NIGHT + timedelta(days=days), settings)
    assert [tick.at for tick in _ticks(database, "daily_rescan")] == [NIGHT + timedelta(days=days) for days in (20, 40)]


# By the real scheduler


@dataclass
class Scheduler:
    """Dagster's own, at the times that the test sets the clock to."""

    context: WorkspaceProcessContext
    times: dict[str, Any] = field(default_factory=dict)

    def at(self, now: datetime, *, expecting_problems: bool = False, **options: Any) -> None:
        with freeze_time(now):
            for problem in launch_scheduled_runs(self.context, _LOGGER, now, self.times, **options):
                assert problem is None or expecting_problems, problem

    def restart(self) -> None:
        """As after a crash: what the daemon had in memory is gone."""
        self.times = {}

    def latest_tick(self, name: str) -> InstigatorTick:
        states = self.context.instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
        state = next(one for one in states if one.instigator_name == name)
        return self.context.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)[0]


@contextmanager
def _code_server(settings: Settings) -> Iterator[WorkspaceProcessContext]:
    dagster_home.render(settings, settings.home / "sock")
    with (
        dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance,
        create_test_daemon_workspace_context(_DEFINITIONS, instance) as context,
    ):
        yield context


@pytest.fixture(scope="module")
def code_server(settings: Settings) -> Iterator[WorkspaceProcessContext]:
    os.environ["MEDIA_SCHEDULES"] = json.dumps(_OF_THE_TESTS)
    try:
        with _code_server(settings) as context:
            yield context
    finally:
        del os.environ["MEDIA_SCHEDULES"]


@pytest.fixture
def scheduler(code_server: WorkspaceProcessContext, database: sa.Engine, two_videos: None) -> Scheduler:
    assert code_server.instance.schedule_storage is not None
    code_server.instance.schedule_storage.wipe()
    return Scheduler(code_server)


def _through(scheduler: Scheduler, zone: str, day: datetime) -> None:
    """From the evening before to the morning after, by the local clock."""
    now = (day - timedelta(hours=2)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) + timedelta(minutes=15)
    while now < (day + timedelta(hours=28)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC):
        scheduler.at(now)
        now += _HALF_AN_HOUR


_DAYS = [
    ("berlin", "2025-03-30", {"half_past_one": "00:30", "half_past_two": "01:00", "three": "01:00"}, 23),
    ("berlin", "2025-10-26", {"half_past_one": "23:30", "half_past_two": "01:30", "three": "02:00"}, 25),
    ("new_york", "2025-03-09", {"half_past_one": "06:30", "half_past_two": "07:00", "three": "07:00"}, 23),
    ("new_york", "2025-11-02", {"half_past_one": "06:30", "half_past_two": "07:30", "three": "08:00"}, 25),
]


@pytest.mark.parametrize(
    ("place", "day", "expected", "hours"), _DAYS, ids=[f"{place}-{day}" for place, day, *_ in _DAYS]
)
def test_a_day_on_which_the_clocks_change_makes_one_job_of_each_schedule(
    scheduler: Scheduler, database: sa.Engine, place: str, day: str, expected: dict[str, str], hours: int
) -> None:
    """Instants are UTC. In spring 02:30 does not come: its job is made when the clock jumps, at 03:00. In autumn what
    comes twice makes its job the second time."""
    zone = ZoneInfo(_ZONES[place])
    _through(scheduler, _ZONES[place], datetime.fromisoformat(day))
    for name, time_of_day in expected.items():
        of_day = [tick for tick in _ticks(database, f"{place}_{name}") if str(tick.at.astimezone(zone).date()) == day]
        assert [f"{tick.at.astimezone(UTC):%H:%M}" for tick in of_day] == [time_of_day], name
    instants = [tick.at for tick in _ticks(database, f"{place}_hourly") if str(tick.at.astimezone(zone).date()) == day]
    assert len(instants) == hours
    assert {later - earlier for earlier, later in pairwise(instants)} == {timedelta(hours=1)}
    with database.begin() as connection:
        made = connection.scalars(sa.select(schedule_ticks.c.job_id)).all()
    assert sorted(map(str, made)) == sorted(str(job.id) for job in _jobs(database)), "a row for each instant"


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_tick_tells_the_job_and_requests_no_run(scheduler: Scheduler, database: sa.Engine) -> None:
    scheduler.at(_at("2025-06-01T00:45"))
    scheduler.at(_at("2025-06-01T01:00:30"))
    tick = scheduler.latest_tick("berlin_three")
    (made,) = _ticks(database, "berlin_three")
    assert (tick.status, tick.skip_reason) == (TickStatus.SKIPPED, f"Enqueued job {made.job_id}.")
    assert scheduler.context.instance.get_runs(dg.RunsFilter(tags={"dagster/schedule_name": "berlin_three"})) == []


def test_a_tick_that_dies_between_our_commit_and_its_record_enqueues_nothing_when_it_is_taken_up(
    scheduler: Scheduler, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler.at(_at("2025-06-01T00:45"))

    def die(*_: object) -> None:
        raise SystemExit("the daemon is killed before it has written what became of the tick")

    with monkeypatch.context() as patched:
        patched.setattr(dg.DagsterInstance, "update_tick", die)
        with pytest.raises(SystemExit):
            scheduler.at(_at("2025-06-01T01:00:30"))
    made = [tick for place in _ZONES for name in _CRONS for tick in _ticks(database, f"{place}_{name}")]
    assert len(made) == len(_jobs(database)) == 1, "it died at the first schedule that was due"
    assert scheduler.latest_tick(made[0].schedule).status == TickStatus.STARTED

    scheduler.restart()
    scheduler.at(_at("2025-06-01T01:01:30"))
    assert [tick.job_id for tick in _ticks(database, made[0].schedule)] == [made[0].job_id]
    tick = scheduler.latest_tick(made[0].schedule)
    assert (tick.status, tick.skip_reason) == (TickStatus.SKIPPED, f"Enqueued job {made[0].job_id}.")
    due = {"berlin_three", "berlin_hourly", "new_york_hourly"}
    assert {name for name in _OF_THE_TESTS if _ticks(database, name)} == due
    assert len(_jobs(database)) == len(due)


def test_of_the_instants_that_passed_while_the_platform_was_down_the_latest_is_made_up_for(
    scheduler: Scheduler, database: sa.Engine
) -> None:
    scheduler.at(_at("2025-06-01T00:45"))
    scheduler.restart()
    scheduler.at(_at("2025-06-08T12:20"))
    assert [tick.at for tick in _ticks(database, "berlin_three")] == [_at("2025-06-08T01:00")]
    assert [tick.at for tick in _ticks(database, "berlin_hourly")] == [_at("2025-06-08T12:00")]


def test_a_tick_that_fails_is_evaluated_again_and_its_job_is_made(
    scheduler: Scheduler, database: sa.Engine, code_server: WorkspaceProcessContext
) -> None:
    retries = code_server.instance.scheduler.max_tick_retries  # type: ignore[union-attr]
    scheduler.at(_at("2025-06-01T00:45"))
    with _no_inserts(database):
        scheduler.at(_at("2025-06-01T01:00:30"), expecting_problems=True, max_tick_retries=retries)
    assert scheduler.latest_tick("berlin_three").status == TickStatus.FAILURE
    assert _ticks(database, "berlin_three") == []
    scheduler.at(_at("2025-06-01T01:01:30"), max_tick_retries=retries)
    assert scheduler.latest_tick("berlin_three").status == TickStatus.SKIPPED
    assert [tick.at for tick in _ticks(database, "berlin_three")] == [_at("2025-06-01T01:00")]


@contextmanager
def _no_inserts(database: sa.Engine) -> Iterator[None]:
    """Of jobs, as on a disk that is full."""
    statements = (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON jobs EXECUTE FUNCTION refuse()",
    )
    with database.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    try:
        yield
    finally:
        with database.begin() as connection:
            connection.execute(sa.text("DROP FUNCTION refuse CASCADE"))


def test_a_schedule_that_is_switched_off_is_not_there(code_server: WorkspaceProcessContext) -> None:
    location = code_server.create_request_context().code_locations[0]
    (repository,) = location.get_repositories().values()
    names = {schedule.name for schedule in repository.get_schedules()}
    assert names == {name for name, entry in _OF_THE_TESTS.items() if entry.get("enabled", True)}
    assert {one.name for one in load_settings().schedule_table if one.enabled} == names
