"""The DT-preview as a user of a WebUI sees it: frames while it samples, scrubbing, full size, compare, stop, reload."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, Watched
from tests.browser.preview.page import Panel
from tests.browser.webpage import Tab


@pytest.fixture
def panel(page: Page) -> Panel:
    return opened(page)


def opened(page: Page, tab: str = "txt2img") -> Panel:
    page.locator(f"#script_{tab}_diversity_distillation_dt_preview > .label-wrap > span").last.click()
    expect(page.locator(f"#script_{tab}_diversity_distillation_dt_preview-visible-checkbox")).to_be_checked()
    return Panel(page, tab)


def hybrid(tab: Tab, site: Site, **settings: Any) -> None:
    tab.accordion.open().set(distilled_model=site.distilled, family="dmd2", **settings)
    expect(tab.accordion.plan).to_contain_text("base 999 -> 759")


def generate(tab: Tab, panel: Panel, frames: int) -> None:
    tab.generate()
    expect(panel.cells).to_have_count(frames)
    expect(panel.status).to_contain_text("Finished")


def test_frames_arrive_while_it_runs(txt2img: Tab, panel: Panel, site: Site) -> None:
    """8 frames of 2 images in 4 steps, with what made each of them."""
    hybrid(txt2img, site)
    txt2img.settings(batch_size=2, seed=1)
    with site.held(2, 3, 4) as gate:
        txt2img.generate_button.click()
        for call in (2, 3, 4):
            gate.wait(call)
            expect(panel.cells).to_have_count(2 * (call - 1))
            expect(txt2img.interrupt_button).to_be_visible()
            gate.open()
        expect(panel.cells).to_have_count(8)
    txt2img.wait_until_idle()
    tags = [" ".join(tag.split()) for tag in panel.tags.all_inner_texts()]
    assert [re.match(r"([BD]) step (\d)/4( switch)?", tag, re.IGNORECASE) is not None for tag in tags] == [True] * 4
    for tag, letter, timestep, model in zip(
        tags, "BDDD", (999, 759, 499, 259), [site.base, *[site.distilled] * 3], strict=True
    ):
        assert tag.startswith(letter)
        assert f"t {timestep}" in tag
        assert "CFG 1" in tag
        assert model in tag
    assert ["switch" in tag for tag in tags] == [False, True, False, False]


def test_scrub_and_full_size(txt2img: Tab, panel: Panel, site: Site) -> None:
    hybrid(txt2img, site)
    txt2img.settings(seed=1)
    generate(txt2img, panel, 4)
    panel.cell(0).scroll_into_view_if_needed()
    panel.wait_for_pictures(4)
    panel.cell(1).hover()
    expect(panel.caption).to_contain_text("step 2 of 4")
    panel.cell(1).focus()
    panel.page.keyboard.press("ArrowLeft")
    expect(panel.caption).to_contain_text("step 1 of 4")
    panel.page.keyboard.press("End")
    expect(panel.caption).to_contain_text("step 4 of 4")
    panel.page.keyboard.press("Enter")
    shown = panel.full.locator("img")
    expect(shown).to_have_attribute("src", re.compile(r"\.png|^blob:"))
    fetched = "url => fetch(url).then(r => r.arrayBuffer()).then(b => Array.from(new Uint8Array(b)))"
    answer = panel.page.evaluate(fetched, shown.get_attribute("src"))
    picture = np.asarray(Image.open(io.BytesIO(bytes(answer))).convert("RGB"))
    assert np.abs(picture.astype(int) - txt2img.picture().astype(int)).max() <= 1, "the last frame is the image"
    panel.page.keyboard.press("Escape")
    expect(panel.full).to_be_hidden()


def test_one_model_s_predictions_alone(txt2img: Tab, panel: Panel) -> None:
    txt2img.settings(steps=6, seed=1)
    generate(txt2img, panel, 6)
    panel.large.scroll_into_view_if_needed()
    sources = []
    for kind in ("after", "unconditional", "conditional"):
        panel.kind(kind).check()
        expect(panel.caption).to_contain_text({"after": "after guidance"}.get(kind, f"{kind} alone"))
        wanted = {"after": "guided", "conditional": "cond", "unconditional": "uncond"}[kind]
        expect(panel.large).to_have_attribute("src", re.compile(f"kind={wanted}&"))
        sources.append(panel.large.get_attribute("src"))
    assert len(set(sources)) == 3
    expect(panel.root.get_by_text("switch", exact=False).filter(has_text="step")).to_have_count(0)


def test_the_structure_curve(txt2img: Tab, panel: Panel, site: Site) -> None:
    hybrid(txt2img, site)
    txt2img.settings(batch_size=2, seed=1)
    generate(txt2img, panel, 8)
    panel.root.locator("summary").filter(has_text="Structure curve").click()
    expect(panel.chart.locator("path, polyline").first).to_be_visible()
    expect(panel.root).to_contain_text(re.compile("structural|LPIPS|DreamSim", re.IGNORECASE))


def test_stop_here_keeps_the_frame_as_the_image(txt2img: Tab, panel: Panel, site: Site) -> None:
    txt2img.settings(steps=12, seed=1)
    with site.held(6) as gate:
        txt2img.generate_button.click()
        gate.wait(6)
        expect(panel.cells.nth(1)).to_be_visible()
        panel.button("Stop here").click()
        expect(panel.done).to_contain_text("It ends with")
        gate.open()
        expect(txt2img.infotext).to_contain_text("DD stopped at")
        txt2img.wait_until_idle()
    assert panel.cells.count() < 12
    expect(txt2img.pictures.first).to_be_visible()
    site.wait_until_ended()


def test_compare_lays_three_strips_under_each_other(txt2img: Tab, panel: Panel, site: Site) -> None:
    hybrid(txt2img, site)
    txt2img.settings(seed=1)
    panel.button("Compare").click()
    expect(panel.strips).to_have_count(3)
    expect(panel.status).to_contain_text("Finished")
    txt2img.wait_until_idle()
    counts = [panel.strips.nth(at).get_by_role("gridcell").count() for at in range(3)]
    assert sorted(counts) == [4, 4, 20]
    tops = "strips => [strips[0].getBoundingClientRect().top, strips.at(-1).getBoundingClientRect().bottom]"
    top, bottom = panel.strips.evaluate_all(tops)
    assert bottom - top < 900, "all three are seen together"
    expect(panel.cells).to_have_count(28)
    txt2img.settings(seed=2)
    txt2img.generate()
    expect(panel.strips).to_have_count(1)
    expect(panel.cells).to_have_count(4)


def test_folded_it_stays_ticked_and_says_that_it_records_and_where_it_saves(txt2img: Tab, site: Site) -> None:
    page, prefix = txt2img.page, "script_txt2img_diversity_distillation_dt_"
    box = page.locator(f"#{prefix}preview-visible-checkbox")
    header = page.locator(f"#{prefix}preview > .label-wrap")
    said, save = header.locator(".diversity-state"), page.locator(f"#{prefix}save input")
    expect(said).to_be_empty()
    panel = opened(page)
    expect(said).to_have_text("Records; strips are saved by the button alone")
    save.check()
    expect(said).to_have_text(re.compile(r"Records, and saves strips under \S+"))
    header.locator("> span").last.click()
    expect(save).to_be_hidden()
    expect(box).to_be_checked()
    expect(said).to_be_visible()
    with site.held(3) as gate:
        txt2img.generate_button.click()
        gate.wait(3)
        expect(said).to_contain_text("Recording.")
        gate.open()
    txt2img.wait_until_idle()
    page.wait_for_timeout(1500)  # what the image has changed on the page is over, and nothing else wakes the panel
    page.set_viewport_size({"width": 1280, "height": 60})  # ... which opens below the edge of the window
    header.locator("> span").last.click()
    expect(panel.cells).to_have_count(4)
    page.set_viewport_size({"width": 1280, "height": 1000})
    box.click()
    expect(said).to_be_empty()


def test_compare_is_offered_only_where_there_is_something_to_compare(txt2img: Tab, panel: Panel, site: Site) -> None:
    compare, why = panel.button("Compare"), panel.root.locator(".diversity-dt-why")
    expect(compare).to_be_disabled()
    expect(why).to_contain_text("Tick Diversity Distillation to compare")
    txt2img.accordion.open()
    expect(why).to_contain_text("Distilled model is empty")
    txt2img.accordion.set(distilled_model=site.distilled, family="dmd2")
    expect(compare).to_be_enabled()
    expect(why).to_be_hidden()
    txt2img.accordion.choose("mode", "base")
    expect(why).to_contain_text("Choose another mode than base")
    expect(compare).to_be_disabled()


def test_two_pages_see_their_own_frames_alone(open_page: Callable[..., Page], site: Site) -> None:
    pages = [open_page(), open_page()]
    panels, tabs = [opened(page) for page in pages], [Tab(page, "txt2img") for page in pages]
    for tab, steps in zip(tabs, (3, 5), strict=True):
        tab.prompt("a monster")
        tab.settings(width=64, height=64, steps=steps)
        tab.generate_button.click()
    for panel, tab, steps in zip(panels, tabs, (3, 5), strict=True):
        expect(panel.cells).to_have_count(steps)
        expect(panel.status).to_contain_text("Finished")
        tab.wait_until_idle()
    site.wait_until_ended()
    for panel, steps in zip(panels, (3, 5), strict=True):
        expect(panel.cells).to_have_count(steps)


def test_a_reloaded_page_shows_its_last_strip(txt2img: Tab, panel: Panel, page: Page, watched: list[Watched]) -> None:
    txt2img.settings(seed=1)
    generate(txt2img, panel, 4)
    watched[0].reload()
    txt2img.accordion.checkbox.wait_for()
    again = opened(page)
    expect(again.cells).to_have_count(4)


def test_unticked_nothing_is_recorded(txt2img: Tab, panel: Panel, page: Page) -> None:
    page.locator("#script_txt2img_diversity_distillation_dt_preview-visible-checkbox").uncheck()
    txt2img.generate()
    expect(txt2img.pictures.first).to_be_visible()
    page.locator("#script_txt2img_diversity_distillation_dt_preview-visible-checkbox").check()
    expect(panel.cells).to_have_count(0)


def test_an_interrupted_generation_shows_what_it_has(txt2img: Tab, panel: Panel, site: Site) -> None:
    txt2img.settings(steps=12, seed=1)
    with site.held(6) as gate:
        txt2img.generate_button.click()
        gate.wait(6)
        expect(panel.cells.nth(1)).to_be_visible()
        txt2img.interrupt_button.click()
        site.wait_until_interrupted()
        gate.open()
        expect(panel.status).to_contain_text("Ended early")
        site.wait_until_ended()
    assert 2 <= panel.cells.count() < 12


def test_a_closed_page_costs_nothing(open_page: Callable[..., Page], txt2img: Tab, site: Site) -> None:
    other = open_page()
    panel = opened(other)
    tab = Tab(other, "txt2img")
    tab.settings(steps=6, width=64, height=64, seed=1)
    with site.held(3) as gate:
        tab.generate_button.click()
        gate.wait(3)
        expect(panel.cells.first).to_be_visible()
        other.goto("about:blank")
        gate.open()
        site.wait_until_ended()
    txt2img.generate()
    expect(txt2img.pictures.first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_narrow_and_dark(open_page: Callable[..., Page], site: Site, theme: str) -> None:
    page = open_page(theme=theme, width=400)
    panel, tab = opened(page), Tab(page, "txt2img")
    tab.prompt("a monster")
    tab.settings(width=64, height=64, steps=4)
    generate(tab, panel, 4)
    assert page.evaluate("document.documentElement.scrollWidth <= 400")
