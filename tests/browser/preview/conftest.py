"""Pages of the stand-in server; after each test nothing of theirs may be in the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.browser.preview.page import StandPage
from tests.browser.preview.stand import Stand, serving
from tests.unit.trajectory import plain

# Keeps count of the timers that wait.
_TIMERS = """() => {
    const waiting = window.waitingTimers = new Set();
    const [set, clear] = [window.setTimeout, window.clearTimeout];
    window.setTimeout = (call, pause, ...rest) => {
        const timer = set(() => { waiting.delete(timer); call(...rest); }, pause);
        waiting.add(timer);
        return timer;
    };
    window.clearTimeout = timer => { waiting.delete(timer); clear(timer); };
}"""

Opened = Callable[..., StandPage]


@pytest.fixture
def stand() -> Stand:
    return Stand(plain())


@pytest.fixture
def url(stand: Stand) -> Iterator[str]:
    with serving(stand) as url:
        yield url


@pytest.fixture
def said() -> list[str]:
    """What the pages' consoles said; a test that lets the server refuse clears it of the browser's own words."""
    return []


@pytest.fixture
def open_stand(url: str, browser: Browser, said: list[str]) -> Iterator[Opened]:
    """Opens pages (theme, width), each as another visitor, or in the context given."""
    contexts: list[BrowserContext] = []

    def opened(
        theme: str = "light", width: int = 1280, modules: str = "all", context: BrowserContext | None = None
    ) -> StandPage:
        if context is None:
            context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
            context.add_init_script(f"({_TIMERS})()")
            contexts.append(context)
        page = context.new_page()
        watch(page, said)
        page.goto(f"{url}/?theme={theme}&modules={modules}")
        page.locator("#img2img_generate").wait_for()
        if modules == "all":
            page.locator(".diversity-dt-status").first.wait_for()
        return StandPage(page)

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def watch(page: Page, said: list[str]) -> None:
    def heard(message: ConsoleMessage) -> None:
        said.append(f"{message.type}: {message.text}")

    page.on("console", heard)
    page.on("pageerror", lambda error: said.append(str(error.stack)))


@pytest.fixture
def site(open_stand: Opened) -> StandPage:
    """A page with the DT-preview ticked."""
    opened = open_stand()
    opened.tick()
    return opened
