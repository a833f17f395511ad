"""Pages of the stand-in server; after each test nothing of theirs may be in the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.browser.patience import patient
from tests.browser.preview.page import StandPage
from tests.browser.preview.stand import Stand, serving
from tests.unit.trajectory import plain

# Keeps count of the timers that wait and of the questions under way; what the stand-in for the host's page does by
# `hostTimeout` does not count.
_COUNTS = """() => {
    const counts = window.counts = { timers: new Set(), asking: 0, asked: 0, failed: 0 };
    const [set, clear, ask] = [window.setTimeout, window.clearTimeout, window.fetch];
    window.hostTimeout = set;
    window.setTimeout = (call, pause, ...rest) => {
        const timer = set(() => { counts.timers.delete(timer); call(...rest); }, pause);
        counts.timers.add(timer);
        return timer;
    };
    window.clearTimeout = timer => { counts.timers.delete(timer); clear(timer); };
    window.fetch = async (url, ...rest) => {
        const ours = String(url).includes("/dt/");
        counts.asking += ours;
        counts.asked += ours;
        try {
            return await ask(url, ...rest);
        } catch (error) {
            counts.failed += ours;
            throw error;
        } finally {
            counts.asking -= ours;
        }
    };
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
    """Opens pages (theme, width), each as another visitor."""
    contexts: list[BrowserContext] = []

    def opened(theme: str = "light", width: int = 1280, modules: str = "all", own_time: bool = True) -> StandPage:
        """Args: own_time: the test can let the page's time go by; the page's `performance` is the test's then."""
        context = patient(browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce"))
        if own_time:
            context.clock.install()
        context.add_init_script(f"({_COUNTS})()")
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


def forgive(said: list[str], status: int | None = None) -> None:
    """The browser itself says in the console that a request was refused; nobody else may say anything.

    Args:
        status: the one that may be answered, None for any.
    """
    refused = "Failed to load resource"
    if status is not None:
        refused += f": the server responded with a status of {status} "
    said[:] = [words for words in said if refused not in words]


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
