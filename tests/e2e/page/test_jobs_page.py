"""The Jobs page in a real browser, against a running platform."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psutil
import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from jobqueue_bridge import lifecycle
from jobqueue_bridge.tables import jobs
from tests.e2e.conftest import Platform, eventually
from tests.e2e.page.conftest import PHONE, sign_in

Shoot = Callable[[Page, str], None]
VIEWS = {"jobs": "Jobs", "library": "Library", "activity": "Activity", "report": "Report"}


def row_of(page: Page, job_id: UUID | str) -> Locator:
    return page.locator(f'[data-row="{job_id}"]')


def opened_id(page: Page) -> str:
    """The id of the job whose details are shown, from the address."""
    page.wait_for_url("**job=*")
    return page.url.partition("job=")[2].partition("&")[0]


def confirm(page: Page, name: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=name).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


# Signing in


def test_a_link_from_the_terminal_signs_in_and_leaves_no_trace_in_the_address(blank: Page, platform: Platform) -> None:
    link = platform.command("signin").stdout.strip()

    blank.goto(link)

    expect(blank.get_by_text("Live", exact=True)).to_be_visible()
    assert "signin" not in blank.url
    assert blank.evaluate("Object.keys(localStorage).some((key) => localStorage[key].startsWith('eyJ'))") is False


def test_a_token_that_is_not_accepted_is_told(blank: Page, platform: Platform, shoot: Shoot) -> None:
    blank.goto(platform.address)
    shoot(blank, "sign-in")

    blank.get_by_label("Token").fill("eyJ.nonsense.token")
    blank.get_by_role("button", name="Sign in").click()

    expect(blank.get_by_role("alert")).to_contain_text("not valid here")


def test_an_expired_session_leads_to_the_sign_in_and_nothing_is_lost(
    blank: Page, platform: Platform, token: str
) -> None:
    sign_in(blank, platform, platform.token("--expires", "6s"))
    blank.keyboard.press("n")
    blank.get_by_label("CRF").fill("31")

    expect(blank.get_by_role("dialog", name="Sign in")).to_contain_text("Your session has ended")
    blank.get_by_label("Token").fill(token)
    blank.get_by_role("button", name="Sign in").click()

    expect(blank.get_by_role("dialog", name="Sign in")).to_have_count(0)
    expect(blank.get_by_label("CRF")).to_have_value("31")
    expect(blank.get_by_text("Live", exact=True)).to_be_visible()


# Creating and watching


def test_a_re_encode_is_created_watched_and_cancelled_without_a_reload(
    page: Page, platform: Platform, long_clip: UUID, shoot: Shoot
) -> None:
    page.evaluate("window.sameDocument = true")
    page.get_by_role("button", name="Create job").first.click()
    page.get_by_role("dialog").get_by_label("Type").select_option("reencode_streaming")
    page.get_by_role("combobox", name="Video").fill("long")
    page.get_by_role("option", name="long").first.click()
    page.get_by_label("Preset").select_option("veryslow")
    shoot(page, "create")
    page.get_by_role("button", name="Create", exact=True).click()

    job_id = opened_id(page)
    row, panel = row_of(page, job_id), page.get_by_role("complementary", name="Job details")
    expect(row).to_have_attribute("data-status", "running")
    bar, log = row.locator("progress"), panel.get_by_role("log")
    seen = eventually(lambda: float(bar.get_attribute("value") or 0), lambda now: now > 0, 40)
    eventually(lambda: float(bar.get_attribute("value") or 0), lambda now: now > seen, 40)
    expect(log).to_contain_text(re.compile(r"Progress: \d+%"))
    lines = len(log.inner_text().splitlines())
    eventually(lambda: len(log.inner_text().splitlines()), lambda now: now > lines, 40)
    shoot(page, "running")

    panel.get_by_role("button", name="Cancel").click()
    confirm(page, "Cancel job")

    expect(row).to_have_attribute("data-status", "cancelled")
    expect(log).to_contain_text("--- JOB CANCELLED BY ADMIN ---")
    assert platform.job(UUID(job_id)).status == "cancelled"
    assert page.evaluate("window.sameDocument") is True


def test_a_job_whose_answer_was_lost_is_made_once_however_often_it_is_sent(page: Page, platform: Platform) -> None:
    keys: list[str | None] = []
    before = _scans_asked_for(platform)

    def lose_the_answer(route: Route) -> None:
        keys.append(route.request.headers.get("idempotency-key"))
        route.fetch()
        route.abort()

    page.keyboard.press("n")
    page.get_by_role("dialog").get_by_label("Type").select_option("scan")
    create = page.get_by_role("button", name="Create", exact=True)
    page.route("**/api/media/jobs", lose_the_answer, times=1)
    create.click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    with page.expect_request(lambda request: request.method == "POST") as again:
        create.click()

    job_id = opened_id(page)
    assert keys == [again.value.headers["idempotency-key"]]
    assert len(keys[0] or "") == 32
    assert _scans_asked_for(platform) - before == {UUID(job_id)}


def _scans_asked_for(platform: Platform) -> set[UUID]:
    with platform.engine.connect() as connection:
        return set(connection.scalars(sa.select(jobs.c.id).where(jobs.c.type == "scan", jobs.c.origin == "api")))


def test_a_double_click_makes_one_job(page: Page, platform: Platform) -> None:
    sent: list[str] = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    page.keyboard.press("n")
    page.get_by_role("dialog").get_by_label("Type").select_option("compile_quad")
    page.get_by_role("button", name="Create", exact=True).dblclick()

    opened_id(page)
    assert [url.rpartition("/")[2] for url in sent] == ["jobs"]


def test_what_the_api_refuses_stands_at_its_field(page: Page, short_clip: UUID) -> None:
    page.keyboard.press("n")
    page.get_by_role("combobox", name="Video").fill("garden")
    page.get_by_role("option", name="garden").first.click()
    page.get_by_label("CRF").fill("99")
    page.get_by_role("button", name="Create", exact=True).click()

    crf = page.get_by_label("CRF")
    expect(crf).to_be_focused()
    expect(crf).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#field-crf-hint")).to_contain_text("51")


def test_an_expert_writes_params_as_json(page: Page, platform: Platform, short_clip: UUID) -> None:
    page.keyboard.press("n")
    page.get_by_role("dialog").get_by_label("Type").select_option("thumbnail_generate")
    page.get_by_role("button", name="JSON").click()
    page.get_by_label("Params as JSON").fill(f'{{"videoId": "{short_clip}", "width": 320}}')
    page.get_by_role("button", name="Create", exact=True).click()

    job_id = opened_id(page)
    expect(row_of(page, job_id)).to_have_attribute("data-status", "completed")
    expect(page.get_by_role("img", name="What the job made")).to_be_visible()
    assert platform.job(UUID(job_id)).params["width"] == 320


def test_a_report_is_asked_for_and_drawn_when_it_is_made(page: Page, short_clip: UUID, shoot: Shoot) -> None:
    page.get_by_role("link", name="Report").click()
    expect(page.get_by_text("There is no report yet")).to_be_visible()

    page.get_by_role("button", name="Make a new report").click()

    expect(page.get_by_role("meter", name=re.compile("h264: "))).to_be_visible()
    expect(page.get_by_role("figure").filter(has_text="Size of the library").locator("canvas")).to_be_visible()
    expect(page.get_by_role("button", name="Make a new report")).to_be_enabled()
    shoot(page, "report")
    page.get_by_role("link", name="garden.mp4").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Library")


def test_the_library_asks_for_a_job_and_leads_to_it(page: Page, short_clip: UUID, shoot: Shoot) -> None:
    page.get_by_role("link", name="Library").click()
    page.get_by_label("Search videos").fill("library/videos/garden")
    video = page.get_by_role("row", name="garden")
    expect(video).to_have_count(1)
    shoot(page, "library")
    page.get_by_role("button", name="Actions for garden").click()
    page.get_by_role("menuitem", name="Validate metadata").click()
    page.get_by_role("button", name="Create", exact=True).click()

    expect(row_of(page, opened_id(page))).to_have_attribute("data-status", "completed")


# Acting on jobs


def test_a_failed_job_is_retried(page: Page, platform: Platform, broken_clip: UUID, shoot: Shoot) -> None:
    job = platform.enqueue("thumbnail_generate", {"videoId": str(broken_clip)})
    row = row_of(page, job.id)
    expect(row).to_have_attribute("data-status", "failed")
    row.get_by_role("button", name="Thumbnail", exact=True).click()
    expect(page.get_by_label("Error", exact=True)).to_contain_text("cannot be read")
    shoot(page, "failed")

    row.get_by_role("button", name="Retry").click()
    confirm(page, "Retry job")

    expect(page.locator(".attempts li")).to_have_count(2)
    expect(page.get_by_role("log")).to_contain_text("--- RETRY ATTEMPT 1 ---")


def test_why_moments_were_chosen_is_shown_with_the_result(
    page: Page, platform: Platform, short_clip: UUID, shoot: Shoot
) -> None:
    params = {"videoId": str(short_clip), "targetLength": 1, "reel": False}
    job = platform.enqueue("highlight_generate", params)
    assert platform.finished(job.id, 60).status == "completed"
    page.goto(f"{platform.address}/#/jobs?job={job.id}")
    panel = page.get_by_role("complementary", name="Job details")
    picture = panel.get_by_alt_text("The score over time, and what was chosen")
    expect(picture).to_have_js_property("naturalWidth", 960)
    expect(panel.locator(".segments li")).to_have_count(1)
    expect(panel.locator(".engines li")).to_have_count(5)
    shoot(page, "why")


def test_jobs_that_wait_for_another_lead_to_it_and_back(
    page: Page, platform: Platform, paused_jobs: list[UUID], shoot: Shoot
) -> None:
    parent = paused_jobs[0]
    child = platform.enqueue("compile_random", {"seed": 77}, parent_id=parent).id
    panel = page.get_by_role("complementary", name="Job details")
    waits = row_of(page, child).get_by_role("link", name="waits for its parent: compile_random")
    waits.click()

    expect(panel.get_by_role("heading", level=2)).to_contain_text(str(parent)[:8])
    expect(panel.get_by_role("listitem").filter(has_text="Before")).to_contain_text("Pending")
    shoot(page, "children")
    panel.get_by_role("link", name=str(child)[:8]).click()
    expect(panel.get_by_role("heading", level=2)).to_contain_text(str(child)[:8])
    expect(panel.get_by_role("listitem").filter(has_text="After")).to_contain_text("Paused")
    with platform.engine.begin() as connection:
        lifecycle.cancel(connection, parent)
    expect(row_of(page, child)).to_contain_text("was cancelled; retry it, or cancel this")
    with platform.engine.begin() as connection:
        lifecycle.cancel(connection, child)
    expect(row_of(page, child)).to_have_attribute("data-status", "cancelled")


def test_a_scan_names_the_place_that_it_looks_through(page: Page, platform: Platform, short_clip: UUID) -> None:
    asked = {
        "library/videos": {},
        "library": {"path": "library"},
        "library/videos/garden.mp4": {"paths": ["library/videos/garden.mp4"]},
        "2 files": {"paths": ["library/videos/garden.mp4", "library/videos/gone.mp4"]},
    }
    for place, params in asked.items():
        job = platform.enqueue("scan", params)
        expect(row_of(page, job.id).get_by_text(place, exact=True)).to_be_visible()
        platform.finished(job.id, 60)


def test_who_started_the_platform_is_told(page: Page) -> None:
    page.goto(f"{page.url.partition('#')[0]}#/activity")
    expect(page.get_by_text("started the platform").first).to_be_visible()


def test_a_priority_is_changed(page: Page, platform: Platform, paused_jobs: list[UUID]) -> None:
    row = row_of(page, paused_jobs[0])
    row.get_by_role("button", name="Compile random", exact=True).click()
    page.get_by_role("complementary").get_by_role("button", name="Priority").click()
    page.get_by_role("slider", name="Priority").fill("2")
    confirm(page, "Change")

    expect(row.locator(".priority")).to_contain_text("2")
    assert platform.job(paused_jobs[0]).priority == 2


def test_selected_jobs_are_cancelled_together_each_with_its_result(
    page: Page, platform: Platform, paused_jobs: list[UUID]
) -> None:
    for job_id in paused_jobs[:2]:
        row_of(page, job_id).get_by_role("checkbox").check()
    page.get_by_role("region", name="Selected jobs").get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel 2 jobs").click()

    expect(page.get_by_role("dialog")).to_contain_text("2 jobs done")
    assert [platform.job(job_id).status for job_id in paused_jobs] == ["cancelled", "cancelled", "paused"]


def test_more_jobs_than_the_api_takes_at_once_are_cancelled_to_the_end_also_after_a_break(
    page: Page, platform: Platform, many_jobs: int
) -> None:
    requests: list[str] = []

    def break_once(route: Route) -> None:
        requests.append(route.request.post_data or "")
        route.abort() if len(requests) == 2 else route.continue_()

    page.route("**/api/media/jobs/bulk", break_once)
    page.get_by_label("Type", exact=True).select_option("compile_mega")
    page.locator("[data-row]").first.get_by_role("checkbox").check()
    page.get_by_role("button", name=f"All {many_jobs:,} of this filter instead").click()
    page.get_by_role("region", name="Selected jobs").get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel them all").click()

    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text(f"{many_jobs - 1000} jobs left")
    dialog.get_by_role("button", name="Go on with the rest").click()

    expect(dialog).to_contain_text(f"{many_jobs:,} jobs done")
    assert len(requests) == 3
    with platform.engine.connect() as connection:
        kinds = sa.select(jobs.c.status).where(jobs.c.type == "compile_mega").distinct()
        assert connection.scalars(kinds).all() == ["cancelled"]


def test_filters_narrow_the_table_and_stand_in_the_address(
    page: Page, paused_jobs: list[UUID], short_clip: UUID
) -> None:
    page.get_by_label("Status", exact=True).select_option("paused")
    expect(page.locator("[data-row]")).to_have_count(3)

    page.get_by_label("Search jobs").fill(str(paused_jobs[1])[:8])
    expect(page.locator("[data-row]")).to_have_count(1)
    expect(row_of(page, paused_jobs[1])).to_be_visible()
    assert "status=paused" in page.url

    page.reload()
    expect(page.locator("[data-row]")).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    expect(row_of(page, paused_jobs[0])).to_be_visible()


def test_the_queue_is_paused_and_resumed(page: Page, platform: Platform) -> None:
    page.get_by_role("button", name="Pause queue").click()
    confirm(page, "Pause queue")
    expect(page.get_by_text("The queue is paused")).to_be_visible()

    page.get_by_role("button", name="Resume queue").click()
    expect(page.get_by_text("The queue is paused")).to_have_count(0)


# Reading


def test_the_keyboard_is_enough(page: Page, paused_jobs: list[UUID]) -> None:
    for job_id in paused_jobs:  # they come one by one
        expect(row_of(page, job_id)).to_be_visible()
    focused_row = "document.activeElement.closest('[data-row]')?.dataset.row"

    page.keyboard.press("j")
    assert page.evaluate(focused_row) == str(paused_jobs[2])
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    assert opened_id(page) == str(paused_jobs[1])
    page.keyboard.press("k")
    assert opened_id(page) == str(paused_jobs[2])
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary")).to_have_count(0)
    assert page.evaluate(focused_row) == str(paused_jobs[2])

    page.keyboard.press("/")
    expect(page.get_by_label("Search jobs")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next, previous row")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    scheme: str, page: Page, paused_jobs: list[UUID], broken_clip: UUID, shoot: Shoot
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    found = {}
    for view, title in VIEWS.items():
        page.get_by_role("link", name=title, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.get_by_role("status", name="Loading")).to_have_count(0)
        shoot(page, f"{view}-{scheme}")
        found[view] = serious(page, scheme)
    page.get_by_role("link", name="Jobs", exact=True).click()
    row_of(page, paused_jobs[0]).get_by_role("button", name="Compile random", exact=True).click()
    expect(page.get_by_role("log")).to_be_visible()
    shoot(page, f"details-{scheme}")
    found["details"] = serious(page, scheme)
    page.keyboard.press("n")
    found["create"] = serious(page, scheme)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    found["help"] = serious(page, scheme)

    assert found == {place: [] for place in found}


def serious(page: Page, scheme: str) -> list[str]:
    """What axe calls serious or critical, each with the elements that it is about. Of the dark page, colours only."""
    rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    violations = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
    return [
        f"{one['id']}: {', '.join(node['html'] for node in one['nodes'])}"
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]


def test_a_phone_needs_no_scrolling_sideways(page: Page, paused_jobs: list[UUID], shoot: Shoot) -> None:
    page.set_viewport_size(PHONE)
    for view, title in VIEWS.items():
        page.get_by_role("link", name=title, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        shoot(page, f"{view}-phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_role("link", name="Jobs", exact=True).click()
    row_of(page, paused_jobs[0]).get_by_role("button", name="Compile random", exact=True).click()
    expect(page.get_by_role("log")).to_be_visible()
    shoot(page, "details-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


MANY = 10_000
A_WEEK_AGO = f"{datetime.now(UTC) - timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}"


def test_ten_thousand_jobs_are_leafed_through(page: Page, platform: Platform) -> None:
    with platform.engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO jobs (type, status, params, priority, resource_category, created_at, completed_at, origin)"
                " SELECT 'validate', 'completed', '{}', 10, 'cpu', now() - interval '9 days' + n * interval '1 second',"
                " now() - interval '8 days', 'cli' FROM generate_series(1, :many) AS n"
            ),
            {"many": MANY},
        )
    try:
        page.goto(f"{platform.address}/#/jobs?type=validate&createdTo={A_WEEK_AGO}")
        expect(page.get_by_role("navigation", name="Pages of jobs")).to_contain_text(f"of {MANY:,}")
        expect(page.locator("[data-row]")).to_have_count(50)
        page.get_by_role("button", name="Next page").click()
        expect(page.get_by_role("navigation", name="Pages of jobs")).to_contain_text("51–100")
        expect(page.locator("[data-row]")).to_have_count(50)
    finally:
        with platform.engine.begin() as connection:
            connection.execute(sa.delete(jobs).where(jobs.c.type == "validate", jobs.c.priority == 10))


def test_a_lost_connection_is_shown_and_taken_up_again(
    page: Page, platform: Platform, context: BrowserContext, paused_jobs: list[UUID]
) -> None:
    expect(row_of(page, paused_jobs[0])).to_have_attribute("data-status", "paused")

    psutil.Process(platform.pid_of("api")).kill()
    expect(page.get_by_text("Connection lost")).to_be_visible()
    assert platform.command("jobs", "cancel", str(paused_jobs[0])).returncode == 0

    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(row_of(page, paused_jobs[0])).to_have_attribute("data-status", "cancelled")
