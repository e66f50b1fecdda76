"""A browser on the page of a running platform. Wherever a Chromium is found; in CI there has to be one."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from bench.browser import ChromiumMissing, chromium
from jobqueue_bridge import lifecycle, queue
from jobqueue_bridge.tables import jobs
from tests.e2e.conftest import Platform, make_clip

_PATIENCE_MS = 30_000
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=_PATIENCE_MS)
    try:
        with chromium() as browser:
            yield browser
    except ChromiumMissing as error:
        pytest.fail(str(error)) if os.environ.get("CI") == "true" else pytest.skip(str(error))


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP, color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(_PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture(scope="module")
def token(platform: Platform) -> str:
    return platform.token()


@pytest.fixture
def blank(context: BrowserContext) -> Iterator[Page]:
    """A page that nobody has signed in on. An error in a script fails the test."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda told: "Content Security Policy" in told.text and errors.append(told.text))
    yield page
    assert errors == []


@pytest.fixture
def page(blank: Page, platform: Platform, token: str) -> Page:
    """The Jobs page, signed in by a pasted token."""
    sign_in(blank, platform, token)
    return blank


def sign_in(page: Page, platform: Platform, token: str, view: str = "") -> None:
    page.goto(f"{platform.address}/{view}")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


@pytest.fixture(scope="module")
def short_clip(platform: Platform) -> UUID:
    """A video that is re-encoded in no time."""
    return _brought_in(platform, "library/videos/garden.mp4", lambda path: make_clip(path, 2, "320x180"))


@pytest.fixture(scope="module")
def broken_clip(platform: Platform) -> UUID:
    """A video that no job can read."""
    return _brought_in(platform, "library/videos/broken.mp4", lambda path: path.write_bytes(b"not a video" * 999))


def _brought_in(platform: Platform, path: str, make: Callable[[Path], object]) -> UUID:
    file = platform.settings.media_library_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    make(file)
    job = platform.enqueue("scan", {"path": path})
    assert platform.finished(job.id, 60).status == "completed"
    return platform.video_id(path)


@pytest.fixture
def paused_jobs(platform: Platform) -> Iterator[list[UUID]]:
    """Three jobs that stay where they are."""
    paused = [platform.enqueue("compile_random", {"seed": seed}, priority=9) for seed in range(3)]
    with platform.engine.begin() as connection:
        for job in paused:
            lifecycle.pause(connection, job.id)
    yield [job.id for job in paused]
    with platform.engine.begin() as connection:
        for job in paused:
            if queue.get(connection, job.id).status == "paused":
                lifecycle.cancel(connection, job.id)


@pytest.fixture
def many_jobs(platform: Platform) -> Iterator[int]:
    """Old jobs that stay where they are, more than the API acts on at once; how many."""
    row = {"type": "compile_mega", "params": {}, "resource_category": "gpu_encode", "status": "paused"}
    rows = [{**row, "created_at": datetime(2020, 1, 1, tzinfo=UTC)} for _ in range(1_100)]
    with platform.engine.begin() as connection:
        connection.execute(sa.insert(jobs), rows)
    yield len(rows)
    with platform.engine.begin() as connection:
        connection.execute(sa.delete(jobs).where(jobs.c.type == "compile_mega"))


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Leave a picture of the page, where --screenshots names a folder."""
    folder: Path | None = request.config.getoption("--screenshots")

    def shoot(page: Page, name: str) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder / f"{name}.png")

    return shoot
