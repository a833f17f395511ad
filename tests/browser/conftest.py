"""A browser on the page of the WebUI under test: the one that DD_WEBUI_URL names, or the embedded one.

A real host is expected to list checkpoints called NAME_base and NAME_distilled, as for tests/e2e.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, sync_playwright

from tests.browser.chromium import launch
from tests.browser.webpage import Tab
from tests.e2e.client import WebUI
from tests.e2e.embedded_host import running_embedded

# Gradio's own page asks for this from the net; a machine without one says so in the console.
_OF_GRADIO = ("cdnjs.cloudflare.com", "/webui-assets/css/sourcesanspro.css")


@dataclass(frozen=True)
class Site:
    """A running host, a pair of checkpoints on it, and the folder of its checkpoints where a test may add files."""

    url: str
    base: str
    distilled: str
    models: Path | None

    @property
    def api(self) -> WebUI:
        return WebUI(self.url)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The host with the pair's base loaded."""
    if url := os.environ.get("DD_WEBUI_URL"):
        yield _site(url.rstrip("/"), None)
        return
    folder = tmp_path_factory.mktemp("webui")
    with running_embedded(folder) as url:
        yield _site(url, folder / "models")


def _site(url: str, models: Path | None) -> Site:
    api = WebUI(url)
    names = {Path(model["filename"]).stem for model in api.get("/sdapi/v1/sd-models")}
    wanted = os.environ.get("DD_PAIRS", "").split(",")[0]
    bases = sorted(x for x in names if x.endswith("_base") and x.removesuffix("_base") + "_distilled" in names)
    base = next((x for x in bases if x.startswith(wanted)), None)
    assert base is not None, f"the host lists no NAME_base beside a NAME_distilled: {sorted(names)}"
    api.call("/sdapi/v1/options", {"sd_model_checkpoint": base})
    return Site(url, base, base.removesuffix("_base") + "_distilled", models)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launch(playwright) as chromium:
        yield chromium


@pytest.fixture
def open_page(site: Site, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages (theme, width); after the test nothing of theirs may have gone wrong in the console."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def heard(message: ConsoleMessage) -> None:
        said = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not any(known in said for known in _OF_GRADIO):
            complaints.append(said)

    def thrown(error: Error) -> None:
        complaints.append(str(error.stack))

    def opened(theme: str = "light", width: int = 1280) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 1000})
        contexts.append(context)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", thrown)
        page.goto(f"{site.url}/?__theme={theme}", wait_until="domcontentloaded")
        Tab(page, "txt2img").accordion.checkbox.wait_for(timeout=120_000)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


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
