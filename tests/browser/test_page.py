"""The accordion on the page: what it shows, before anything is generated."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from extension_core.options.hybrid import FIELDS
from extension_core.options.model_names import LORA_LABEL, UNET_LABEL
from tests.browser.conftest import Site
from tests.browser.contrast import CONTRAST
from tests.browser.webpage import Tab, load_checkpoint
from tests.waiting import until

# Of all these elements at one moment: left and right edge, and how many pixels of what is in them do not fit.
_EDGES = """elements => elements.map(element => {
    const { left, right } = element.getBoundingClientRect();
    return [left, right, element.scrollWidth - element.clientWidth];
})"""


@pytest.mark.parametrize("tab", ["txt2img", "img2img"])
def test_both_tabs_have_the_accordion_with_a_tooltip_on_every_option(page: Page, tab: str) -> None:
    accordion = Tab(page, tab).show().accordion.open()
    for spec in FIELDS[1:]:
        expect(accordion.reveal(spec.name)).to_be_visible()
        expect(accordion.field(spec.name)).to_have_attribute("title", spec.tooltip)
        expect(accordion.field(spec.name)).to_contain_text(spec.label)
    expect(page.locator(f"#{accordion.id('enabled')}")).to_have_count(1)


def test_without_a_model_the_plan_says_what_to_choose(txt2img: Tab) -> None:
    accordion = txt2img.accordion.open()
    expect(accordion.plan).to_contain_text("Distilled model is empty; choose one or untick Diversity Distillation")
    accordion.checkbox.click()
    expect(accordion.plan).to_contain_text("Not ticked")
    expect(accordion.plan.locator(".diversity-problem")).to_have_count(0)


def test_plan_line_follows_the_options(txt2img: Tab, site: Site) -> None:
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm")
    expect(accordion.plan).to_contain_text("base 999 -> 759, distilled 759 -> 499 -> 259 -> 0, CFG 1/1, 4 U-Net calls")
    accordion.enter("switch_step", 2)
    expect(accordion.plan).to_contain_text("base 999 -> 759 -> 499, distilled 499 -> 259 -> 0")
    accordion.enter("base_steps", 4)
    expect(accordion.plan).to_contain_text("6 U-Net calls")
    accordion.enter("base_cfg", 3)
    expect(accordion.plan).to_contain_text("CFG 3/1")
    accordion.choose("mode", "distilled")
    expect(accordion.line).to_have_text(re.compile("^distilled 999 -> 759"))
    accordion.choose("mode", "skip_first")
    expect(accordion.line).to_have_text(re.compile("^distilled 499 -> 259 -> 0"))
    accordion.choose("mode", "hybrid")
    accordion.choose("base_sampler", "Heun")
    expect(accordion.plan).to_contain_text("base by Heun")


def test_plan_line_follows_what_changes_while_an_answer_is_awaited(txt2img: Tab, site: Site) -> None:
    """Both gradios drop a press that comes before the answer to the last one."""
    accordion, page = txt2img.accordion.open(), txt2img.page
    accordion.set(distilled_model=site.distilled, family="lcm")
    expect(accordion.state).to_have_text("LCM · base 1 + distilled 3 · 4 calls")
    held: list[Route] = []
    page.route(re.compile("/run/predict"), lambda route: held.append(route))
    accordion.enter("switch_step", 2)
    until(lambda: _later(page) and bool(held), "the plan is asked for")
    accordion.enter("switch_step", 3)
    page.wait_for_timeout(1500)  # half a second after the last press the next one may come
    page.route(re.compile("/run/predict"), lambda route: route.continue_())
    for route in held:
        route.continue_()
    expect(accordion.state).to_have_text("LCM · base 3 + distilled 1 · 4 calls")


def _later(page: Page) -> bool:
    """Lets the page come to what it waits for."""
    page.wait_for_timeout(50)
    return True


def test_plan_line_follows_the_hosts_steps_and_sampler(txt2img: Tab, site: Site) -> None:
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, family="custom")
    expect(accordion.plan).to_contain_text("4 U-Net calls")
    txt2img.settings(steps=6)
    expect(accordion.plan).to_contain_text("6 U-Net calls")
    txt2img.sampler("Heun")
    expect(accordion.plan).to_contain_text("11 U-Net calls")


def test_plan_line_follows_the_hosts_hires_pass(txt2img: Tab, site: Site) -> None:
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm")
    txt2img.element("hr").locator("> .label-wrap > span").last.click()
    expect(accordion.plan).to_contain_text("hires pass: distilled 799 -> 599 -> 399 -> 199 -> 0")
    accordion.choose("passes", "both")
    expect(accordion.plan).to_contain_text("hires pass: base 799 -> 599, distilled 599 -> 399 -> 199 -> 0")
    txt2img.settings(denoising_strength=0.5)
    expect(accordion.plan).to_contain_text("hires pass: distilled 499")
    expect(accordion.plan).to_contain_text("the base would never run")


def test_plan_line_follows_the_strength_of_img2img(page: Page, site: Site) -> None:
    tab = Tab(page, "img2img").show()
    accordion = tab.accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm")
    tab.settings(denoising_strength=0.5)
    expect(accordion.plan).to_contain_text("the base would never run")
    tab.settings(denoising_strength=1)
    expect(accordion.plan).to_contain_text("base 999 -> 759, distilled 759 -> 499 -> 259 -> 0")


def test_the_table_says_of_each_model_what_it_makes_and_gets(txt2img: Tab, site: Site) -> None:
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm")
    expect(accordion.model("base")).to_contain_text(re.compile(rf"{site.base}.*step 1.*× 1"))
    expect(accordion.model("distilled")).to_contain_text(re.compile(rf"{site.distilled}.*steps 2–4.*× 1"))
    accordion.choose("lora_targets", "base")
    expect(accordion.model("distilled")).to_contain_text("none")
    accordion.enter("base_lora_factor", 0.5)
    expect(accordion.model("base")).to_contain_text("× 0.5")
    accordion.choose("mode", "distilled")
    expect(accordion.model("base")).to_have_count(0)
    expect(accordion.plan).to_contain_text(f"{site.base} takes no part")


@pytest.mark.parametrize("name", ["txt2img", "img2img"])
def test_plan_follows_the_hosts_checkpoint(page: Page, site: Site, name: str) -> None:
    accordion = Tab(page, name).show().accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm")
    expect(accordion.plan).to_contain_text(f"Step 1 of 4: {site.base};")
    try:
        load_checkpoint(page, site.distilled)
        expect(accordion.plan).to_contain_text(f"Step 1 of 4: {site.distilled};")
        expect(accordion.plan).to_contain_text("is the loaded checkpoint itself")
        load_checkpoint(page, site.base)
        expect(accordion.plan).to_contain_text(f"Step 1 of 4: {site.base};")
    finally:
        site.api.call("/sdapi/v1/options", {"sd_model_checkpoint": site.base})


def test_a_switch_step_beyond_the_run_is_named_at_once(txt2img: Tab, site: Site) -> None:
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm", switch_step=9)
    expect(accordion.plan).to_contain_text("choose a switch step from 0 to 4")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_in_both_themes(open_page: Callable[..., Page], site: Site, theme: str) -> None:
    page = open_page(theme)
    accordion = Tab(page, "txt2img").accordion.open()
    expect(page.locator("body")).to_have_class(
        re.compile(r"\bdark\b") if theme == "dark" else re.compile("^(?!.*dark)")
    )
    _expect_contrast(page, f"#{accordion.id('plan')} .diversity-problem", 4.5)
    accordion.choose("distilled_model", site.distilled)
    _expect_contrast(page, f"#{accordion.id('plan')} .diversity-line", 7)
    _expect_contrast(page, f"#{accordion.id('plan')} .diversity-found", 4.5)
    _expect_contrast(page, f"#{accordion.id('plan')} tbody td", 7)
    _expect_contrast(page, f"#{accordion.id('plan')} thead th", 4.5)


def test_a_narrow_page_is_usable(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page(width=400)
    tab = Tab(page, "txt2img")
    accordion = tab.accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm", switch_step=2)
    expect(accordion.plan).to_contain_text("base 999 -> 759 -> 499")
    inside = [accordion.plan, *(accordion.reveal(spec.name) for spec in FIELDS[1:])]
    handles = [element.element_handle() for element in (accordion.block, *inside)]
    (left, right, _), *others = page.evaluate(_EDGES, handles)
    assert 0 <= left < right <= 400
    for element, (its_left, its_right, hidden) in zip(inside, others, strict=True):
        assert left <= its_left < its_right <= right, element
        assert hidden <= 1, f"something sticks out of {element}"


def test_labels_do_not_wrap(page: Page) -> None:
    accordion = Tab(page, "txt2img").accordion.open()
    page.evaluate("document.fonts.ready.then(() => true)")
    for spec in FIELDS[1:]:
        label = accordion.reveal(spec.name).locator("span").first
        assert label.evaluate("e => e.getClientRects().length") == 1, spec.label
        assert label.evaluate("e => e.getBoundingClientRect().height") < 30, spec.label


def test_refresh_button_finds_a_new_checkpoint(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page(fewer_drawings=False)  # with fewer, gradio 4 shows the list filtered
    accordion = Tab(page, "txt2img").accordion.open()
    before = accordion.choices("distilled_model")
    added = _add_checkpoint(site)
    try:
        page.locator(f"#{accordion.id('distilled_model_refresh')}").click()
        shown: set[str] = set()

        def found() -> bool:
            shown.clear()
            shown.update(accordion.choices("distilled_model"))
            listed = {"None", *(model["title"].split(" [")[0] for model in site.api.get("/sdapi/v1/sd-models"))}
            return {name for name in shown if not name.startswith((UNET_LABEL, LORA_LABEL))} == listed

        until(found, lambda: f"the list holds {sorted(shown)}")
        expect(accordion.field("distilled_model").locator("input")).to_have_value("None")
        assert len(shown) == len(set(before)) + (added is not None)
    finally:
        if added is not None:
            added.unlink()


def _expect_contrast(page: Page, selector: str, least: float) -> None:
    """Waits, for gradio dims what an event is about to change."""
    reached = f"""([selector, least]) => {{
        const element = document.querySelector(selector);
        return element && ({CONTRAST})(element) >= least;
    }}"""
    page.wait_for_function(reached, arg=[selector, least])


def _add_checkpoint(site: Site) -> Path | None:
    if site.models is None:
        return None
    return Path(shutil.copy(site.models / f"{site.distilled}.safetensors", site.models / "added.safetensors"))
