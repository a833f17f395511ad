"""A browser on the page of the WebUI under test: the one that DD_WEBUI_URL names, or the embedded one.

A real host is expected to list checkpoints called NAME_base and NAME_distilled, as for tests/e2e.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, WebSocket, sync_playwright

from tests.browser.chromium import launch
from tests.browser.patience import patient
from tests.browser.webpage import Tab
from tests.e2e.client import WebUI
from tests.e2e.embedded_host import running_embedded
from tests.e2e.gate import Gate, closed
from tests.e2e.turns import take_turns
from tests.waiting import until

# What the console says without us: gradio's page asks the net for this, and "Reload UI" asks until the server is back.
_NOT_OURS = ("cdnjs.cloudflare.com", "/internal/ping")
# ... nor is this a function of ours: gradio 4's image editor draws what it has already let go.
_DRAWING = "calculateVertices"
# ... and while the server is away, of the events that it asked for or is told of.
_AWAY = (
    "ERR_CONNECTION_REFUSED",
    "Failed to fetch",
    "Connection errored out",
    "Server stopped unexpectedly",
    "/queue/data",
)
# ... and of what we ask for before the hosts have let us add our routes to their server, which is asked for again.
_EARLY = ("status of 404", "/diversity-distillation/v1/choices")
# Gradio 4's image editor draws sixty times a second, by software where there is no graphics card. No test looks at it.
_FEWER_DRAWINGS = """
window.requestAnimationFrame = drawn => setTimeout(() => drawn(performance.now()), 100);
window.cancelAnimationFrame = clearTimeout;
for (const context of [window.WebGLRenderingContext, window.WebGL2RenderingContext]) {
    for (const name of context ? ["clear", "drawArrays", "drawElements"] : []) {
        context.prototype[name] = () => {};
    }
}
"""


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    take_turns(items, Path(__file__).parent)


@dataclass(frozen=True)
class Site:
    """A running host, a pair of checkpoints on it, the folder of its checkpoints where a test may add files.

    Attributes:
        log: what the host says, None of a real one.
    """

    url: str
    base: str
    distilled: str
    models: Path | None
    log: Path | None

    @property
    def api(self) -> WebUI:
        return WebUI(self.url)

    def held(self, *calls: int) -> AbstractContextManager[Gate]:
        """The next generation stands still at these U-Net calls until it is let go."""
        return closed(self.api, *calls)

    @property
    def said(self) -> str:
        """The end of its log."""
        return "" if self.log is None else self.log.read_text()[-4000:]

    def wait_until_ended(self) -> None:
        """Wait until no job runs; the page of a real host says so a little earlier."""
        until(lambda: not self._state()["job"], "the end of the job")

    def wait_until_interrupted(self) -> None:
        """Wait until the host has heard that its job is to end."""
        until(lambda: self._state()["interrupted"], "the interrupt")

    def _state(self) -> dict[str, Any]:
        return self.api.get("/sdapi/v1/progress?skip_current_image=true")["state"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The host with the pair's base loaded."""
    if url := os.environ.get("DD_WEBUI_URL"):
        yield _site(url.rstrip("/"), None, None)
        return
    folder = tmp_path_factory.mktemp("webui")
    with running_embedded(folder) as url:
        yield _site(url, folder / "models", folder / "webui.log")


def _site(url: str, models: Path | None, log: Path | None) -> Site:
    api = WebUI(url)
    names = {Path(model["filename"]).stem for model in api.get("/sdapi/v1/sd-models")}
    wanted = os.environ.get("DD_PAIRS", "").split(",")[0]
    bases = sorted(x for x in names if x.endswith("_base") and x.removesuffix("_base") + "_distilled" in names)
    base = next((x for x in bases if x.startswith(wanted)), None)
    assert base is not None, f"the host lists no NAME_base beside a NAME_distilled: {sorted(names)}"
    api.call("/sdapi/v1/options", {"sd_model_checkpoint": base})
    api.generate(base, steps=1).must_work()  # Forge loads the checkpoint with the first image
    return Site(url, base, base.removesuffix("_base") + "_distilled", models, log)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launch(playwright) as chromium:
        yield chromium


@pytest.fixture
def watched() -> list[Watched]:
    """The pages that this test has opened."""
    return []


@pytest.fixture
def open_page(site: Site, browser: Browser, watched: list[Watched]) -> Iterator[Callable[..., Page]]:
    """Opens pages (theme, width); after the test nothing of theirs may have gone wrong in the console."""

    def opened(theme: str = "light", width: int = 1280, fewer_drawings: bool = True) -> Page:
        page = patient(browser.new_context(viewport={"width": width, "height": 1000})).new_page()
        watched.append(Watched(page))
        if fewer_drawings:
            page.add_init_script(_FEWER_DRAWINGS)
        page.goto(f"{site.url}/?__theme={theme}", wait_until="domcontentloaded")
        Tab(page, "txt2img").accordion.checkbox.wait_for()
        return page

    yield opened
    complaints = [complaint for page in watched for complaint in page.close()]
    if site.models is None:  # a real host's page has complaints of its own
        complaints = [complaint for complaint in complaints if "diversity" in complaint]
    assert complaints == [], site.said


class Watched:
    """A page whose console and events are watched.

    Attributes:
        server_away: whether the server is being restarted, which gradio's own page complains of.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.server_away = False
        self._complaints: list[str] = []
        self._events: set[WebSocket] = set()
        page.on("console", self._heard)
        page.on("pageerror", self._failed)
        page.on("websocket", self._event)
        page.on("framenavigated", lambda _: self._events.clear())  # the old page's are never said to be closed

    def close(self) -> list[str]:
        """What the console complained of."""
        self._wait_for_events()
        self.page.context.close()
        return self._complaints

    def reload(self) -> None:
        """Load the page again once no event is under way."""
        self._wait_for_events()
        self.page.reload(wait_until="domcontentloaded")

    def _wait_for_events(self) -> None:
        """A page that goes during an event keeps gradio 3's server from ever stopping."""
        while self._events:
            event = next(iter(self._events))
            if not event.is_closed():
                event.wait_for_event("close")
            self._events.discard(event)

    def _heard(self, message: ConsoleMessage) -> None:
        said = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not any(known in said for known in _NOT_OURS):
            self._complain(said)

    def _failed(self, error: Error) -> None:
        if _DRAWING not in str(error.stack):
            self._complain(str(error.stack))

    def _complain(self, said: str) -> None:
        away = "diversity" not in said and any(known in said for known in _AWAY)
        early = all(known in said for known in _EARLY)
        if not (self.server_away and (away or early)):
            self._complaints.append(said)

    def _event(self, socket: WebSocket) -> None:
        self._events.add(socket)
        socket.on("close", lambda _: self._events.discard(socket))


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


@pytest.fixture
def txt2img(page: Page) -> Tab:
    """The tab with a small, fast request filled in."""
    tab = Tab(page, "txt2img")
    tab.prompt("a monster")
    tab.settings(width=64, height=64, steps=4)
    return tab
