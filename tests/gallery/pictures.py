"""Pictures of the pages, as a visitor sees them once all is loaded and a thing or two is opened."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Error, Page, TimeoutError

from bench.browser import Asked, chromium
from jobqueue_bridge.settings import Settings
from media_pipelines.cli.signin import link_for
from media_pipelines.platform.lock import addresses
from tests.gallery import arrivals
from tests.gallery.day import Told

_WIDTH, _HEIGHT = 1600, 1000
_PATIENCE_MS = 30_000
_PATIENCE_S, _QUIET_S, _BEGINS_S = 20.0, 1.0, 1.5
# What is drawn after the last answer: fonts, layouts, a dialog that opens.
_DRAWN_MS = 800
_LOADED_MS = 10_000
# Where the graph begins, below the page's head.
_GRAPH_FROM, _ZOOM_STEPS = 120, 60
_TIME = re.compile(r":\d\d [AP]M")


@dataclass(frozen=True)
class Sight:
    """A page, what is to be seen on it, and what is done before the picture is taken."""

    name: str
    path: str
    shows: str
    then: Sequence[Callable[[Page], None]] = ()


@dataclass(frozen=True)
class Taken:
    file: Path
    shows: str
    problem: str = ""


def require_chromium() -> None:
    """Before the day, not after it. Raises ChromiumMissing."""
    with chromium():
        pass


def pages(settings: Settings) -> Sequence[tuple[str, str]]:
    api, dagster = addresses(settings)
    return (("Jobs page", f"{api}/"), ("Dagster UI", f"{dagster}/"))


def take(settings: Settings, told: Told, folder: Path, said: Callable[[str], None]) -> list[Taken]:
    """All of them, numbered, in a folder that holds nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for older in folder.glob("[0-9][0-9]-*.png"):
        older.unlink()
    api, dagster = addresses(settings)
    with chromium() as browser, _visitor(browser) as (page, asked):
        wanted = [(dagster, sight) for sight in of_dagster(told)] + [(api, sight) for sight in of_jobs(told)]
        page.goto(link_for(settings, api))  # its session ends with the tab, so that one tab visits all
        page.get_by_text("Live", exact=True).wait_for()
        return [
            _take(page, asked, address, sight, folder / f"{number:02}-{sight.name}.png", said)
            for number, (address, sight) in enumerate(wanted, 1)
        ]


def of_dagster(told: Told) -> list[Sight]:
    feature, launch = told.videos[arrivals.FEATURE], told.videos["launch-day"]
    return [
        Sight(
            "lineage",
            "/asset-groups?expanded=global@global:library,global@global:videos",
            "the global lineage, two of its groups opened",
            [_smaller],
        ),
        Sight(
            "lineage-of-one",
            "/assets/digest?view=lineage&lineageScope=upstream&lineageDepth=5",
            "the lineage of digest",
        ),
        Sight(
            "partitions",
            f"/assets/video_metadata?view=partitions&partition={feature}",
            "video_metadata: a partition for each of thousands of videos, those that have any chosen",
            [_without_missing],
        ),
        Sight(
            "storyboard",
            f"/assets/thumbnail?view=partitions&partition={feature}",
            "a materialization of thumbnail with its storyboard opened",
            [_without_missing, _opened("storyboard")],
        ),
        Sight(
            "rendition",
            f"/assets/streaming_rendition?view=partitions&partition={launch}",
            "a materialization of streaming_rendition: sizes, encoder, job, frame",
            [_without_missing],
        ),
        Sight(
            "digest",
            f"/assets/digest?view=partitions&partition={feature}",
            "a materialization of digest: why it shows what it shows",
            [_without_missing, _opened("why")],
        ),
        Sight("plots", "/assets/library_report", "library_report: its figures plotted over three reports", [_plotted]),
        Sight(
            "overview", "/assets/library_report", "library_report: the plots of the newest one", [_opened("overview")]
        ),
        Sight("checks", "/assets/streaming_rendition?view=checks", "streaming_rendition: its checks", [_verified]),
        Sight("catalog", "/assets", "the catalog"),
        Sight("timeline", "/overview", "the runs of the last hour", [_an_hour]),
        Sight("run", f"/runs/{told.jobs['digest'].run_id}", "a run, its steps and its events"),
        Sight("failed-run", f"/runs/{told.first_run_of_retried}", "a run that failed: ffmpeg was killed"),
        Sight("runs", "/runs", "the runs with their tags"),
        Sight("backfill", f"/runs/b/{told.backfill}", "the backfill that was launched in Dagster's UI"),
        Sight("automation", "/automation", "schedules and sensors"),
        Sight(
            "schedule",
            "/locations/media_pipelines/schedules/inbox_rescan",
            "a schedule that fires each minute: what its newest tick did",
            [_newest_tick],
        ),
        Sight(
            "condition",
            "/assets/thumbnail?view=automation",
            "thumbnail: what its condition has asked for",
            [_newest_evaluation],
        ),
    ]


def of_jobs(told: Told) -> list[Sight]:
    job = told.jobs["retried"].id
    return [
        Sight("jobs-page", "/#/jobs", "the Jobs page: the same jobs"),
        Sight("job", f"/#/jobs?job={job}", "the encode whose ffmpeg was killed: its film, its checks, its log"),
        Sight("library", "/#/library?search=inbox", "what has arrived, in the library on the Jobs page"),
        Sight("activity", "/#/activity", "the activity on the Jobs page"),
        Sight("report", "/#/report", "the newest report on the Jobs page"),
    ]


# A visit


@contextmanager
def _visitor(browser: Browser) -> Iterator[tuple[Page, Asked]]:
    context = browser.new_context(
        viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme="light", reduced_motion="reduce"
    )
    context.set_default_timeout(_PATIENCE_MS)
    page, asked = context.new_page(), Asked()
    page.on("request", asked.sent)
    page.on("requestfinished", asked.ended)
    page.on("requestfailed", asked.ended)
    yield page, asked
    context.close()


def _take(page: Page, asked: Asked, address: str, sight: Sight, file: Path, said: Callable[[str], None]) -> Taken:
    """A picture is taken of what is there even where something on the way was not."""
    said(sight.shows)
    problem = ""
    try:
        page.goto(address + sight.path)
        asked.waiting = 0  # what the page before asked for is not answered any more
        _settle(page, asked)
        for step in sight.then:
            step(page)
            _settle(page, asked)
    except Error as error:
        problem = error.message.splitlines()[0]
    page.screenshot(path=file)
    return Taken(file, sight.shows, problem)


def _settle(page: Page, asked: Asked) -> None:
    """Until all is answered and nothing more was asked for a while; a page that never rests is taken as it is."""
    deadline_s = time.monotonic() + _PATIENCE_S
    page.wait_for_timeout(_BEGINS_S * 1000)
    while time.monotonic() < deadline_s and (asked.waiting or time.monotonic() - asked.answered_at_s < _QUIET_S):
        page.wait_for_timeout(50)
    with suppress(TimeoutError):
        page.get_by_text("Loading").first.wait_for(state="hidden", timeout=_LOADED_MS)
    page.wait_for_timeout(_DRAWN_MS)


# What is done on it


def _smaller(page: Page) -> None:
    """Until the uppermost and the lowest of the graph's names are to be seen."""
    names = [page.get_by_text(name, exact=True).last for name in ("insights", "video_metadata")]
    page.mouse.move(_WIDTH * 0.67, _HEIGHT * 0.55)
    page.keyboard.down("Control")
    for _ in range(_ZOOM_STEPS):
        boxes = [name.bounding_box() if name.count() else None for name in names]  # what is outside is not drawn
        if all(box and _GRAPH_FROM < box["y"] < _HEIGHT - 2 * box["height"] for box in boxes):
            break
        page.mouse.wheel(0, 20)
        page.wait_for_timeout(200)
    page.keyboard.up("Control")


def _without_missing(page: Page) -> None:
    page.get_by_text("Missing (").click()


def _opened(name: str) -> Callable[[Page], None]:
    """The Markdown of the metadata of that name."""

    def opened(page: Page) -> None:
        row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
        row.get_by_text("[Show Markdown]").first.click()

    return opened


def _plotted(page: Page) -> None:
    page.get_by_text("Plots", exact=True).click()


def _verified(page: Page) -> None:
    page.get_by_text("verified", exact=True).first.click()


def _an_hour(page: Page) -> None:
    page.get_by_text("1hr", exact=True).click()


def _newest_tick(page: Page) -> None:
    """Of the three places that tell what it did, the one in the list that opens."""
    page.get_by_text("runs requested").nth(2).click()


def _newest_evaluation(page: Page) -> None:
    page.get_by_text(_TIME).first.click()
