"""A Chromium that opens pages of the Dagster UI, and what those ask of the webserver."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Page, Request, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: CI is root in a container. The rest keeps the browser from talking to anyone but the page.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_PATIENCE_MS = 120_000
# The UI asks again every few seconds; what it asks to show a page comes without such a pause.
_QUIET_S = 1.0


@dataclass
class Asked:
    """The GraphQL operations of a page, each as it was first sent, and when the last of them was answered."""

    bodies: dict[str, str] = field(default_factory=dict)
    waiting: int = 0
    answered_at_s: float = 0.0

    def sent(self, request: Request) -> None:
        if (name := _operation(request)) is not None:
            self.bodies.setdefault(name, request.post_data or "")
            self.waiting += 1

    def ended(self, request: Request) -> None:
        if _operation(request) is not None:
            self.waiting -= 1
            self.answered_at_s = time.monotonic()

    def settle(self, page: Page) -> float:
        """Until all is answered and nothing more is asked for a while. When the last answer came, by the clock."""
        while self.waiting or time.monotonic() - self.answered_at_s < _QUIET_S:
            page.wait_for_timeout(50)
        return self.answered_at_s


def _operation(request: Request) -> str | None:
    if request.method != "POST" or "/graphql" not in request.url:
        return None
    body = request.post_data_json
    return str(body["operationName"]) if isinstance(body, dict) else None


class ChromiumMissing(FileNotFoundError):
    """There is none on this machine."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """CHROMIUM_BINARY, or one on PATH. Raises ChromiumMissing."""
    found = os.environ.get("CHROMIUM_BINARY") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise ChromiumMissing("No Chromium is on PATH, and CHROMIUM_BINARY does not name one")
    # Chromium's own setting: a proxy of this machine must not stand between the browser and the page.
    environment: dict[str, str | float | bool] = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS, env=environment)
        yield browser
        browser.close()


def opened(
    browser: Browser, url: str, shown: str, then: Callable[[Page], None] | None = None
) -> tuple[float, float | None, Asked]:
    """With nothing cached, as on the first visit of a day. Seconds until that text is shown; where something is done
    `then`, seconds until all that it asked for is answered; and all that was asked."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(_PATIENCE_MS)
    page, asked = context.new_page(), Asked()
    page.on("request", asked.sent)
    page.on("requestfinished", asked.ended)
    page.on("requestfailed", asked.ended)
    try:
        began_s = time.monotonic()
        page.goto(url)
        page.get_by_text(shown).first.wait_for()
        shown_s = time.monotonic() - began_s
        asked.settle(page)
        if then is None:
            return shown_s, None, asked
        began_s = asked.answered_at_s = time.monotonic()
        then(page)
        return shown_s, asked.settle(page) - began_s, asked
    finally:
        context.close()
