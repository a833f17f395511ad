"""What the panel says before anything is generated: on its folds, in its controls and beside the host's own."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from extension_core.options.hybrid import FIELDS
from extension_core.ui.groups import GROUPS
from tests.browser.conftest import Site
from tests.browser.contrast import expect_contrast
from tests.browser.webpage import Tab, type_number

# How far below the top of the host's settings something is; what is above them moves by itself, as prompts do.
TOP = """element => Math.round(
    element.getBoundingClientRect().top - element.closest("[id$=img_settings]").getBoundingClientRect().top)"""


def note(page: Page, tab: str, place: str) -> Locator:
    """A note beside the host's own controls."""
    return page.locator(f"#tab_{tab} .diversity-host-note[data-place={place}]")


def said(field: Locator) -> Locator:
    return field.locator(".diversity-said")


def box(field: Locator) -> Locator:
    return field.locator("input[type=number]")


def expect_readable(field: Locator) -> None:
    """What is said under a control lies inside of its block, which cuts off what does not."""
    bottoms = """field => [field, field.querySelector(".diversity-said")].map(e => e.getBoundingClientRect().bottom)"""
    block, note = field.evaluate(bottoms)
    assert note <= block + 1


def chosen(tab: Tab, site: Site, **settings: object) -> None:
    tab.accordion.open().set(distilled_model=site.distilled, family="lcm", **settings)
    expect(tab.accordion.line).to_contain_text("distilled")


class TestFold:
    def test_folding_leaves_the_box_ticked_and_says_what_will_run(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion
        chosen(txt2img, site)
        expect(accordion.state).to_have_text("LCM · base 1 + distilled 3 · 4 calls")
        accordion.fold()
        expect(accordion.field("distilled_model")).to_be_hidden()
        expect(accordion.checkbox).to_be_checked()
        expect(accordion.state).to_be_visible()
        txt2img.settings(steps=20)  # suits no LCM model, so 4 are run
        expect(note(txt2img.page, "txt2img", "sampler")).to_contain_text("LCM, 4 steps")
        txt2img.settings(steps=6)
        expect(accordion.state).to_have_text("LCM · base 1 + distilled 5 · 6 calls")

    def test_ticking_opens_once_and_unticking_folds_nothing(self, txt2img: Tab) -> None:
        accordion = txt2img.accordion
        expect(accordion.state).to_be_attached()
        accordion.checkbox.click()
        expect(accordion.field("distilled_model")).to_be_visible()
        accordion.checkbox.click()
        expect(accordion.checkbox).not_to_be_checked()
        expect(accordion.field("distilled_model")).to_be_visible()
        expect(accordion.state).to_be_empty()
        accordion.fold()
        accordion.checkbox.click()
        expect(accordion.checkbox).to_be_checked()
        expect(accordion.state).to_contain_text("No distilled model is chosen")
        expect(accordion.field("distilled_model")).to_be_hidden()

    def test_the_hosts_own_folds_are_as_they_were(self, txt2img: Tab) -> None:
        """What opens one of them ticks it, and what folds it unticks it."""
        expect(txt2img.accordion.state).to_be_attached()
        hires, ticked = txt2img.element("hr"), txt2img.page.locator("#txt2img_hr-visible-checkbox")
        hires.locator("> .label-wrap > span").last.click()
        expect(ticked).to_be_checked()
        hires.locator("> .label-wrap > span").last.click()
        expect(ticked).not_to_be_checked()


class TestGroups:
    def test_they_are_closed_and_hold_all_but_the_first_glance(self, txt2img: Tab) -> None:
        accordion = txt2img.accordion.open()
        glance = [spec.name for spec in FIELDS if accordion.field(spec.name).is_visible()]
        assert glance == ["distilled_model", "switch_step"] or glance == ["enabled", "distilled_model", "switch_step"]
        for group in GROUPS:
            expect(accordion.group(group.name).header).to_contain_text(group.title)
            expect(accordion.group(group.name).changed).to_be_empty()

    def test_a_closed_one_says_what_is_set_and_is_reset_by_one_press(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion
        chosen(txt2img, site)
        guidance = accordion.group("guidance").open()
        expect(guidance.changed).to_have_text("family lcm")
        accordion.set(base_cfg=3, base_steps=6)
        expect(guidance.changed).to_have_text("N 6, base CFG 3, family lcm")
        expect(accordion.group("style").open().reset).to_be_disabled()
        guidance.reset.click()
        expect(guidance.changed).to_be_empty()
        expect(guidance.reset).to_be_disabled()
        expect(box(accordion.field("base_cfg"))).to_have_value("1")
        expect(accordion.field("family").locator("input")).to_have_value("auto")
        expect(accordion.line).to_contain_text("CFG 1")

    def test_what_a_paste_sets_is_said(self, txt2img: Tab) -> None:
        told = "Steps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 1, Seed: 1, Size: 64x64"
        txt2img.prompt(f"a cat\n{told}, DD mode: hybrid, DD base CFG: 2.5, DD residency: ram, DD LoRA targets: base")
        txt2img.page.locator("#txt2img_tools #paste").click()
        accordion = txt2img.accordion
        expect(accordion.group("guidance").changed).to_have_text("base CFG 2.5")
        expect(accordion.group("memory").changed).to_have_text("memory ram")
        expect(accordion.group("style").changed).to_have_text("LoRAs on base")


class TestControls:
    def test_what_has_no_effect_is_disabled_and_says_why(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion
        chosen(txt2img, site, mode="distilled")
        for name, why in (
            ("base_cfg", "No effect: the base makes no step"),
            ("switch_step", "No effect: the mode is distilled"),
            ("lora_strength", "No effect: the distilled model is no LoRA"),
            ("carry_strength", "No effect: no origin is chosen"),
        ):
            field = accordion.reveal(name)
            expect(said(field)).to_have_text(why)
            expect(box(field)).to_be_disabled()
            expect(box(field)).to_have_accessible_description(why)
        accordion.choose("mode", "hybrid")
        expect(box(accordion.field("base_cfg"))).to_be_enabled()
        expect(said(accordion.field("base_cfg"))).to_be_empty()
        accordion.choose("family", "custom")
        expect(box(accordion.reveal("file_steps"))).to_be_disabled()

    def test_what_auto_chose_is_said_in_its_control(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion.open()
        accordion.set(distilled_model=site.distilled)
        expect(said(accordion.reveal("family"))).to_have_text("Auto: custom")
        for name in ("family", "base_sampler", "base_cfg"):
            expect_readable(accordion.field(name))
        expect(said(accordion.reveal("residency"))).to_contain_text("Auto: both models on")
        expect(said(accordion.reveal("base_sampler"))).to_contain_text("Same: ")
        accordion.choose("family", "dmd2")
        expect(said(accordion.field("family"))).to_be_empty()
        expect(said(accordion.field("base_sampler"))).to_have_text("Same: LCM")

    def test_a_typed_number_stays_as_it_was_typed(self, txt2img: Tab, site: Site) -> None:
        """The slider ends where the run does; the box beside it goes as far as the API."""
        accordion = txt2img.accordion
        chosen(txt2img, site)
        field = accordion.field("switch_step")
        expect(field.locator("input[type=range]")).to_have_attribute("max", "4")
        type_number(field, 50)
        expect(accordion.plan).to_contain_text("Switch step k is 50 but this run has 4 steps")
        expect(box(field)).to_have_value("50")
        type_number(field, 500)
        expect(said(field)).to_have_text("500 was typed, and 150 is the most")

    def test_a_refusal_is_in_the_words_of_the_page(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion
        chosen(txt2img, site)
        type_number(accordion.field("switch_step"), 9)
        expect(accordion.state).to_contain_text("Switch step k is 9")
        txt2img.generate()
        expect(txt2img.error).to_have_text(
            "Diversity Distillation: Switch step k is 9 but this run has 4 steps; choose a switch step from 0 to 4."
        )
        expect(accordion.refused).to_contain_text("The last run was refused: Switch step k is 9")
        type_number(accordion.field("switch_step"), 1)
        txt2img.generate()
        expect(accordion.refused).to_be_hidden()


class TestPlan:
    def test_words_come_first_and_the_cost_is_whole(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion
        txt2img.settings(steps=20)
        chosen(txt2img, site, base_cfg=7)
        words = accordion.plan.locator("p")
        expect(words.first).to_have_text(f"Step 1 of 4: {site.base}; steps 2 to 4: {site.distilled}")
        expect(words.nth(1)).to_contain_text("Your 20 steps, DPM++ 2M")
        expect(words.nth(1)).to_contain_text("are replaced by 4, LCM, 7 for the base and 1 for the distilled model")
        expect(accordion.plan).to_contain_text("5 U-Net evaluations: base CFG 7 computes the negative prompt as well")
        expect(accordion.state).to_have_text("LCM · base 1 + distilled 3 · 4 calls (5 evaluations)")

    def test_nothing_moves_when_another_plan_comes(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion.open()
        expect(accordion.plan).to_contain_text("No distilled model")
        expect(note(txt2img.page, "txt2img", "sampler")).to_contain_text("Refused")  # the notes have their places
        below = accordion.group("guidance").header
        before = below.evaluate(TOP)
        accordion.choose("distilled_model", site.distilled)
        expect(accordion.line).to_contain_text("distilled")
        expect(note(txt2img.page, "txt2img", "sampler")).to_contain_text("steps")
        assert below.evaluate(TOP) == before
        accordion.set(base_cfg=3)
        expect(accordion.plan).to_contain_text("evaluations")
        assert below.evaluate(TOP) == before

    def test_the_base_is_named(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion.open()
        which = "the checkpoint that is loaded|the chosen checkpoint, not loaded yet"  # Forge loads with an image
        expect(accordion.base).to_contain_text(re.compile(f"Base {site.base} ({which})"))


@pytest.mark.parametrize("name", ["txt2img", "img2img"])
def test_what_runs_is_said_beside_the_hosts_own_controls(page: Page, site: Site, name: str) -> None:
    tab = Tab(page, name).show()
    tab.settings(steps=4)
    chosen(tab, site)
    expect(note(page, name, "sampler")).to_have_text("LCM, 4 steps, CFG 1 by Diversity Distillation")
    expect(note(page, name, "cfg")).to_have_text("CFG 1 by Diversity Distillation")
    expect(note(page, name, "negative")).to_have_text("No effect at CFG 1, by Diversity Distillation")
    tab.accordion.enter("base_cfg", 3)
    expect(note(page, name, "negative")).to_contain_text("Acts on the base's steps alone (CFG 3)")
    tab.accordion.checkbox.click()
    expect(page.locator(".diversity-host-note")).to_have_count(0)


def test_a_long_run_of_an_unknown_family_says_how_little_the_base_makes(txt2img: Tab, site: Site) -> None:
    txt2img.settings(steps=20)
    txt2img.accordion.open().set(distilled_model=site.distilled)
    expect(note(txt2img.page, "txt2img", "sampler")).to_contain_text("The base makes 1 of 20 steps (5 %)")


# Changes come one after another, with timers that the test holds in its hand.
_MANY_CHANGES = """async ([button, count]) => {
    const [set, pauses, calls] = [window.setTimeout, [], []];
    let presses = 0;
    const pressed = (event) => {
        if (event.target.id === button) {
            presses++;
            event.stopImmediatePropagation();  // the server is asked nothing, so that no answer is awaited
        }
    };
    const changed = () => document.dispatchEvent(new CustomEvent("diversity-changed", { detail: button }));
    document.addEventListener("click", pressed, { capture: true });
    window.setTimeout = (call, pause, ...given) => {
        if (pause !== 500) {
            return set(call, pause, ...given);
        }
        calls.push(call);
        pauses.push(pause);
        return -1;
    };
    changed();
    while (presses === 0) {  // an earlier change's own pause
        await new Promise((over) => set(over, 20));
    }
    while (calls.length > 0) {
        calls.shift()();
    }
    [presses, pauses.length] = [0, 0];
    const counts = [];
    for (let again = 0; again < 3; again++) {
        for (let i = 0; i < count; i++) {
            changed();
        }
        counts.push(presses);
        calls.shift()?.();
    }
    counts.push(presses);
    window.setTimeout = set;
    calls.forEach((call) => call());
    return [counts, pauses];
}"""


def test_the_server_is_asked_at_most_twice_a_second(txt2img: Tab, site: Site) -> None:
    """However much changes: a press, and another when half a second has gone by."""
    chosen(txt2img, site)
    counts, pauses = txt2img.page.evaluate(_MANY_CHANGES, [txt2img.accordion.id("ask"), 20])
    assert counts == [1, 2, 3, 4]
    assert set(pauses) == {500}


_UNNAMED = """accordion => Array.from(accordion.querySelectorAll("input, button, textarea, [role=button]"))
    .filter(element => element.getClientRects().length > 0)
    .filter(element => !element.labels?.length && !element.getAttribute("aria-label") && !element.textContent.trim())
    .map(element => element.outerHTML.slice(0, 200))"""


def test_everything_that_can_be_operated_has_a_name(txt2img: Tab) -> None:
    accordion = txt2img.accordion.open()
    for group in GROUPS:
        accordion.group(group.name).open()
    expect(box(accordion.field("base_cfg"))).to_have_accessible_name(re.compile("Base CFG"))
    expect(txt2img.page.locator(f"#{accordion.id('distilled_model_refresh')}")).to_have_accessible_name(
        "Look for files again: Distilled model"
    )
    expect(accordion.checkbox).to_have_accessible_name("Diversity Distillation")
    assert accordion.block.evaluate(_UNNAMED) == []


def test_the_keyboard_alone_opens_ticks_and_resets(txt2img: Tab) -> None:
    accordion, page = txt2img.accordion, txt2img.page
    expect(accordion.state).to_be_attached()
    accordion.checkbox.focus()
    page.keyboard.press("Space")
    expect(accordion.checkbox).to_be_checked()
    expect(accordion.field("distilled_model")).to_be_visible()
    guidance = accordion.group("guidance")
    guidance.header.focus()
    assert guidance.header.evaluate("e => e === document.activeElement && getComputedStyle(e).outlineStyle !== 'none'")
    page.keyboard.press("Enter")
    expect(guidance.reset).to_be_visible()
    expect(guidance.header).to_have_attribute("aria-expanded", "true")
    accordion.enter("base_cfg", 3)
    expect(guidance.reset).to_be_enabled()
    guidance.reset.focus()
    page.keyboard.press("Enter")
    expect(box(accordion.field("base_cfg"))).to_have_value("1")
    guidance.header.focus()
    page.keyboard.press("Space")
    expect(guidance.reset).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_said_is_readable_in_both_themes(open_page: Callable[..., Page], site: Site, theme: str) -> None:
    page = open_page(theme)
    tab = Tab(page, "txt2img")
    accordion = tab.accordion.open()
    expect(accordion.state).to_contain_text("No distilled model")
    for element in (accordion.state, note(page, "txt2img", "sampler")):
        expect_contrast(element, 4.5)
    accordion.set(distilled_model=site.distilled, family="lcm", base_cfg=3, mode="distilled")
    expect(said(accordion.field("base_cfg"))).to_contain_text("No effect")
    shown = (
        accordion.state,
        accordion.group("guidance").changed,
        said(accordion.field("base_cfg")),
        note(page, "txt2img", "sampler"),
        accordion.base.locator("span"),
        accordion.base.locator("small"),
        accordion.plan.locator(".diversity-words").first,
    )
    for element in shown:
        expect_contrast(element, 4.5)
