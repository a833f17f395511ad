"""What people come for, done as by a new user with nothing but the page; presses of the mouse are counted.

python run.py test tests/browser/test_tasks.py -s    # prints presses and seconds
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_first_glance import note
from tests.browser.webpage import Tab, load_checkpoint, prose, type_number
from tests.e2e.test_forms import file_of, placed
from tests.waiting import until

DMD2, LIGHTNING = "ddtask_dmd2_4step", "ddtask_sdxl_lightning_4step"
_COUNT = """() => {
    window.presses = 0;
    addEventListener("pointerdown", ({ isTrusted }) => { window.presses += isTrusted; }, { capture: true });
}"""


@dataclass
class Task:
    """A page that counts, from here on."""

    page: Page
    name: str
    begun: float

    def ended(self) -> int:
        """How often the mouse was pressed."""
        presses: int = self.page.evaluate("window.presses")
        print(f"{self.name}: {presses} presses, {time.monotonic() - self.begun:.1f} s")
        return presses


@pytest.fixture(scope="module", autouse=True)
def files(site: Site) -> Iterator[None]:
    """The pair's distilled model under names as public files have them; of one the host is not told that it came."""
    webui = site.api
    folder, distilled = file_of(webui, site.base).parent, file_of(webui, site.distilled)
    with ExitStack() as stack:
        paths = [stack.enter_context(placed(webui, folder / f"{name}.safetensors")) for name in (LIGHTNING, DMD2)]
        os.link(distilled, paths[0])
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        os.link(distilled, paths[1])
        yield


@pytest.fixture
def begin(open_page: Callable[..., Page]) -> Callable[[str], tuple[Task, Tab]]:
    """A fresh page, and what is to be done on it."""

    def begun(name: str) -> tuple[Task, Tab]:
        page = open_page(fewer_drawings=False)
        tab = Tab(page, "txt2img")
        tab.settings(width=64, height=64, seed=1)
        expect(tab.accordion.told).to_be_attached()  # with it the page has the files of now
        page.evaluate(_COUNT)
        return Task(page, name, time.monotonic()), tab

    return begun


def chosen(tab: Tab, wanted: str) -> None:
    """Tick, open the list, choose: by the mouse. The file may have come since the host began."""
    accordion = tab.accordion
    accordion.checkbox.click()
    field = accordion.field("distilled_model")
    field.locator("input").click()
    field.locator(f"ul.options li[aria-label^='{wanted}']").click()
    expect(accordion.state).to_contain_text("distilled")


def test_my_dmd2_file_and_four_different_pictures(begin: Callable[[str], tuple[Task, Tab]]) -> None:
    task, tab = begin("my DMD2 file, four different pictures")
    chosen(tab, DMD2)
    expect(tab.accordion.state).to_have_text("DMD2 · base 1 + distilled 3 · 4 calls")
    tab.page.locator(f"#{tab.accordion.id('try')}").click()
    expect(prose(tab.page, "html_log_txt2img")).to_contain_text("Diversity of 4 images")
    assert task.ended() <= 4
    tab.wait_until_idle()
    assert tab.picture().shape[1] > 4 * 64, "the sheet is shown first"


def test_my_merge_is_loaded_and_another_is_my_base(begin: Callable[[str], tuple[Task, Tab]], site: Site) -> None:
    site.api.call("/sdapi/v1/options", {"sd_model_checkpoint": LIGHTNING})
    try:
        task, tab = begin("my Lightning merge is loaded, SDXL is my base")
        load_checkpoint(tab.page, LIGHTNING)
        task.page.evaluate("window.presses = 0")
        chosen(tab, site.base)
        expect(tab.accordion.plan).to_contain_text(f"Step 1 of 4: {site.base}; steps 2 to 4: {LIGHTNING}")
        tab.generate()
        expect(tab.infotext).to_contain_text("DD plan")
        assert task.ended() <= 4
    finally:
        site.api.call("/sdapi/v1/options", {"sd_model_checkpoint": site.base})


def test_why_does_my_negative_prompt_do_nothing(begin: Callable[[str], tuple[Task, Tab]]) -> None:
    task, tab = begin("why does my negative prompt do nothing")
    tab.element("neg_prompt").locator("textarea").fill("purple")
    chosen(tab, DMD2)
    expect(note(tab.page, "txt2img", "negative")).to_contain_text("No effect at CFG 1")
    assert task.ended() <= 4
    tab.accordion.enter("base_cfg", 5)
    expect(note(tab.page, "txt2img", "negative")).to_contain_text("Acts on the base's step")


def test_twice_as_different(begin: Callable[[str], tuple[Task, Tab]]) -> None:
    """By one number, which says at once what it does."""
    task, tab = begin("twice as different")
    chosen(tab, DMD2)
    type_number(tab.accordion.field("switch_step"), 2)
    expect(tab.accordion.state).to_have_text("DMD2 · base 2 + distilled 2 · 4 calls")
    tab.page.locator(f"#{tab.accordion.id('try')}").click()
    expect(prose(tab.page, "html_log_txt2img")).to_contain_text("Diversity of 4 images")
    assert task.ended() <= 6
    tab.wait_until_idle()


def test_the_same_image_as_this_png(begin: Callable[[str], tuple[Task, Tab]], tmp_path: Path) -> None:
    _, made = begin("a picture")
    chosen(made, DMD2)
    made.generate()
    expect(made.infotext).to_contain_text("DD plan")
    source = made.pictures.first.get_attribute("src")
    assert source is not None
    picture = tmp_path / "made.png"
    picture.write_bytes(made.page.request.get(source).body())
    task, tab = begin("the same image as this PNG")
    tab.page.locator("#tabs > .tab-nav > button").filter(has_text="PNG Info").click()
    tab.page.locator("#pnginfo_image input[type=file]").set_input_files(picture)
    expect(tab.page.locator("#tab_pnginfo")).to_contain_text("DD plan")
    tab.page.locator("#tab_pnginfo #txt2img_tab").click()
    expect(tab.accordion.checkbox).to_be_checked()
    expect(tab.accordion.state).to_contain_text(re.compile("DMD2 · base 1"))
    tab.generate()
    expect(tab.infotext).to_contain_text("DD plan")
    assert task.ended() <= 3
    until(lambda: np.array_equal(tab.picture(), np.asarray(Image.open(picture).convert("RGB"))), "the same picture")
