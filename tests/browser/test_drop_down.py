"""The drop-down of files: what it says of each, in which order, by pointer and by keys; and the line below it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Locator, Page, Route, expect
from safetensors.torch import load_file, save_file

from extension_core.weights.layouts import UNET_PREFIX
from tests.browser.conftest import Site, Watched
from tests.browser.contrast import expect_contrast
from tests.browser.test_first_glance import TOP, note
from tests.browser.webpage import Accordion, Tab, offered_names, open_list
from tests.e2e.test_forms import file_of, lora_folder, placed
from tests.waiting import until

LIGHTNING, FLUX = "ddoffered_xl_lightning_4step", "ddoffered_a_flux"
LORAS = 58
LONG = "of_a_length_that_no_field_of_this_page_can_show_in_a_single_line_and_that_wraps_where_there_is_no_more_room"
CHOICES = "**/diversity-distillation/v1/choices*"
PLANNED = "**/run/predict*"

# What is seen in an open list from top to bottom: (heading or name, what is said of it).
_SEEN = """list => Array.from(list.children)
    .filter(line => line.getClientRects().length > 0)
    .sort((one, other) => one.getBoundingClientRect().top - other.getBoundingClientRect().top)
    .map(line => line.getAttribute("aria-label") === null
        ? ["", line.textContent.trim()]
        : [line.getAttribute("aria-label"), line.querySelector(".diversity-offer")?.textContent ?? ""])"""
_CUT_OFF = """list => [list, ...list.children].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"""
_SIDES = "list => [list.getBoundingClientRect().left, list.getBoundingClientRect().right]"
_UNDER_THE_WORDS = """line => {
    const box = line.querySelector(".diversity-offer").getBoundingClientRect();
    return document.elementFromPoint(box.left + 5, box.top + box.height / 2) === line;
}"""
_ASK = "id => document.dispatchEvent(new CustomEvent('diversity-changed', { detail: id }))"
_IS_GRADIO_3 = "() => window.gradio_config.version.startsWith('3')"
_IN_VIEW = """line => {
    const [inner, outer] = [line.getBoundingClientRect(), line.parentElement.getBoundingClientRect()];
    return inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
}"""


def field_of(page: Page) -> Locator:
    return Accordion(page, "txt2img").field("distilled_model")


def below(page: Page) -> Locator:
    """The line below the drop-down."""
    return Accordion(page, "txt2img").block.locator(".diversity-below")


def line_of(opened: Locator, name: str) -> Locator:
    return opened.locator(f"li.item[aria-label^='{name}']")


def seen(opened: Locator) -> list[tuple[str, str]]:
    return [(name, said) for name, said in opened.evaluate(_SEEN)]


def names_seen(opened: Locator) -> list[str]:
    return [name for name, _said in seen(opened) if name]


def active(opened: Locator) -> Locator:
    return opened.locator("li.active")


def told_list(page: Page) -> Locator:
    """The open list, once every file was looked at; what it says first is put in order when it opens again."""
    field = field_of(page)
    opened = open_list(field)
    said = lambda: [said for name, said in seen(opened) if name not in ("", "None")]  # noqa: E731
    until(lambda: all(one and "looked at yet" not in one for one in said()), lambda: f"the list says {said()}")
    return open_list(field)


@pytest.fixture(autouse=True)
def _answers_are_over(open_page: Callable[..., Page], watched: list[Watched]) -> Iterator[None]:
    """A page that asks again and again may be closed while one of our answers is under way."""
    del open_page  # it closes the pages after this
    yield
    for one in watched:
        one.page.unroute_all(behavior="wait")


@pytest.fixture
def opened_page(open_page: Callable[..., Page]) -> Page:
    """A page with the accordion open; with fewer drawings, gradio 4 shows a list filtered that has been refreshed."""
    page = open_page(fewer_drawings=False)
    Accordion(page, "txt2img").open()
    return page


class TestNoneFound:
    def test_it_says_where_it_looked_in_the_list_and_below(self, opened_page: Page, site: Site) -> None:
        if site.models is None:
            pytest.skip("a real host may have few-step files")
        expect(below(opened_page)).to_contain_text("No few-step file for")
        expect(below(opened_page)).to_contain_text(str(site.models))
        sentence, button = below(opened_page).locator("span"), below(opened_page).locator("button")
        assert sentence.evaluate("e => e.scrollWidth > e.clientWidth"), "more than a line"
        button.click()
        expect(button).to_have_attribute("aria-expanded", "true")
        assert sentence.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
        opened = told_list(opened_page)
        (_, first), (second, _), *_ = seen(opened)
        assert first.startswith("No few-step file for")
        assert second == "None"

    def test_public_files_are_named(self, opened_page: Page) -> None:
        """As the server says them for an architecture that has some; names alone, and nothing to click."""
        sentence = "No few-step file for SDXL was found in '/m'; public ones are dmd2_sdxl_4step_unet_fp16"
        opened_page.route(CHOICES, lambda route: _changed(route, none_found=sentence))
        open_list(field_of(opened_page))
        expect(below(opened_page)).to_have_text(sentence + "Read on")
        expect(below(opened_page).locator("a")).to_have_count(0)
        assert ("", sentence) in seen(open_list(field_of(opened_page)))


@pytest.fixture(scope="class")
def files(site: Site) -> Iterator[None]:
    """Sixty files: a few-step checkpoint, one for another architecture, and LoRAs with names of some length."""
    webui = site.api
    folder, loras = file_of(webui, site.base).parent, lora_folder(webui)
    lora = _lora_for(load_file(file_of(webui, site.base)))
    with ExitStack() as stack:
        lightning = stack.enter_context(placed(webui, folder / f"{LIGHTNING}.safetensors"))
        save_file({**load_file(file_of(webui, site.distilled)), "ddmark": torch.zeros(1)}, lightning)
        flux = stack.enter_context(placed(webui, folder / f"{FLUX}.safetensors"))
        save_file({"double_blocks.0.img_attn.qkv.weight": torch.zeros(2)}, flux)
        made = [loras / f"ddoffered_{number:02}_{LONG}.safetensors" for number in range(LORAS)]
        stack.callback(_removed, made)
        for path in made:
            save_file(lora, path)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        webui.call("/sdapi/v1/refresh-loras", {})
        yield


def _lora_for(base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On one attention to the prompt, in kohya's names."""
    key = next(key for key in base if key.startswith(UNET_PREFIX) and key.endswith("attn2.to_k.weight"))
    outputs, inputs = base[key].shape
    name = "lora_unet_" + key.removeprefix(UNET_PREFIX).removesuffix(".weight").replace(".", "_")
    return {f"{name}.lora_up.weight": torch.zeros(outputs, 2), f"{name}.lora_down.weight": torch.zeros(2, inputs)}


def _removed(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def refreshed(page: Page) -> Page:
    """The page's list with the files of now."""
    accordion = Accordion(page, "txt2img")
    page.locator(f"#{accordion.id('distilled_model_refresh')}").click()
    until(lambda: any(LIGHTNING in name for name in accordion.choices("distilled_model")), "the new files are listed")
    return page


@pytest.fixture
def come(site: Site, opened_page: Page) -> Iterator[Callable[[], None]]:
    """Puts a file into the host's folder that its lists, older than it, do not have."""
    Accordion(opened_page, "txt2img").checkbox.check()
    told_list(opened_page)
    field_of(opened_page).locator("input").blur()
    with placed(site.api, file_of(site.api, site.base).with_name(f"{LIGHTNING}.safetensors")) as path:
        yield lambda: os.link(file_of(site.api, site.distilled), path)


def is_offered(page: Page) -> bool:
    return line_of(open_list(field_of(page)), LIGHTNING).count() > 0


def test_a_file_that_came_while_somebody_was_away_is_in_the_list(opened_page: Page, come: Callable[[], None]) -> None:
    """The host is not asked to look, and the page was there before the file."""
    come()
    with opened_page.expect_response(PLANNED):
        opened_page.evaluate("() => window.dispatchEvent(new Event('focus'))")
    until(lambda: is_offered(opened_page), "the new file is offered")
    line = line_of(open_list(field_of(opened_page)), LIGHTNING)
    expect(line).to_contain_text("SDXL-Lightning, 4 steps")
    line.click()
    expect(Accordion(opened_page, "txt2img").state).to_contain_text("Lightning")
    expect(field_of(opened_page).locator("input")).to_have_value(f"{LIGHTNING}.safetensors")


def _ask(page: Page) -> None:
    page.evaluate(_ASK, Accordion(page, "txt2img").id("ask"))


def test_an_open_list_to_which_a_file_comes_stays_whole(
    opened_page: Page, site: Site, come: Callable[[], None]
) -> None:
    """As when somebody opens it before the answer to what was asked earlier. gradio 3 shows the file with the next
    opening, gradio 4 at once, and of the others what begins as the field does.
    """
    come()
    opened = open_list(field_of(opened_page))
    _ask(opened_page)
    names = lambda: {name.removesuffix(".safetensors") for name in offered_names(opened)}  # noqa: E731
    wanted = {"None", site.distilled} | (set() if opened_page.evaluate(_IS_GRADIO_3) else {LIGHTNING})
    until(lambda: wanted <= names(), lambda: f"the open list holds {names()}")
    until(lambda: is_offered(opened_page), "the new file is offered")
    assert {"None", site.distilled, LIGHTNING} <= names()
    expect(field_of(opened_page).locator("input")).to_have_value("None")


def test_what_is_typed_stays_when_a_file_comes(opened_page: Page, come: Callable[[], None]) -> None:
    come()
    opened, field = open_list(field_of(opened_page)), field_of(opened_page).locator("input")
    field.press("Control+a")
    field.press_sequentially("ddoffere")
    _ask(opened_page)

    def found() -> bool:
        field.press("d")
        names = offered_names(opened)
        expect(field).to_have_value("ddoffered")
        field.press("Backspace")
        expect(field).to_have_value("ddoffere")
        return [name.removesuffix(".safetensors") for name in names] == [LIGHTNING]

    until(found, lambda: f"the open list holds {offered_names(opened)}")
    line_of(opened, LIGHTNING).dispatch_event("mousedown")
    expect(field).to_have_value(f"{LIGHTNING}.safetensors")
    expect(opened).to_be_hidden()


@pytest.mark.usefixtures("files")
class TestSixtyFiles:
    def test_best_first_kinds_together_and_misfits_at_the_end_with_their_reason(self, opened_page: Page) -> None:
        opened = told_list(refreshed(opened_page))
        lines = seen(opened)
        (none, _), (_, heading), (best, said), *_ = lines
        assert (none, heading) == ("None", "Few-step checkpoints")
        assert best.startswith(LIGHTNING)
        assert said == "checkpoint, SDXL-Lightning, 4 steps, fits"
        headings = [said for name, said in lines if not name]
        assert headings[-1] == "Do not fit"
        assert len(headings) == len(set(headings))
        misfits = dict(lines[lines.index(("", "Do not fit")) + 1 :])
        assert all(said.startswith("does not fit: ") for said in misfits.values())
        assert next(said for name, said in misfits.items() if FLUX in name).endswith(
            "it is for Flux or a relative of it"
        )
        assert sum(name.startswith("LoRA: ddoffered_") for name, _ in lines) == LORAS
        expect(line_of(opened, LIGHTNING)).to_have_accessible_description(said)
        expect(below(opened_page).locator("span")).to_be_empty()

    def test_names_are_not_cut_off(self, open_page: Callable[..., Page]) -> None:
        for width in (400, 1280):
            page = open_page(width=width, fewer_drawings=False)
            Accordion(page, "txt2img").open()
            opened = told_list(refreshed(page))
            assert opened.evaluate(_CUT_OFF) == []
            left, right = opened.evaluate(_SIDES)
            assert 0 <= left < right <= width

    def test_the_keys_go_as_the_list_is_seen(self, opened_page: Page) -> None:
        opened = told_list(refreshed(opened_page))
        names, box = names_seen(opened), field_of(opened_page).locator("input")
        heard = field_of(opened_page).locator(".diversity-heard")
        if active(opened).count() == 0:  # gradio 4 has none at first, and its first key goes to the first line
            box.press("ArrowDown")
            expect(active(opened)).to_have_attribute("aria-label", names[0])
        for name in names[1:4]:
            box.press("ArrowDown")
            expect(active(opened)).to_have_attribute("aria-label", name)
        expect(heard).to_contain_text(f"{names[3]}, ")
        for name in (names[2], names[1], names[0], names[-1]):
            box.press("ArrowUp")
            expect(active(opened)).to_have_attribute("aria-label", name)
        assert active(opened).evaluate(_IN_VIEW)
        box.press("ArrowDown")
        box.press("ArrowDown")
        box.press("Enter")
        expect(opened).to_be_hidden()
        expect(box).to_have_value(names[1])
        expect(Accordion(opened_page, "txt2img").line).to_contain_text("distilled")

    def test_typing_leaves_what_has_it_in_its_name_and_begins_with_the_best(self, opened_page: Page) -> None:
        opened = told_list(refreshed(opened_page))
        box = field_of(opened_page).locator("input")
        box.press("Control+a")
        box.press_sequentially("ddoffered_")
        until(lambda: len(offered_names(opened)) == LORAS + 2, lambda: f"the list holds {offered_names(opened)}")
        names = names_seen(opened)
        assert names[0].startswith(LIGHTNING)
        assert FLUX in names[-1]
        expect(active(opened)).to_have_attribute("aria-label", names[0])
        box.press("Enter")
        expect(box).to_have_value(names[0])

    def test_words_and_headings_take_no_click_for_themselves(self, opened_page: Page) -> None:
        opened = told_list(refreshed(opened_page))
        heading = opened.locator(".diversity-heading:visible").first
        heading.dispatch_event("mousedown")
        expect(opened).to_be_visible()
        expect(field_of(opened_page).locator("input")).to_have_value("None")
        assert line_of(opened, LIGHTNING).evaluate(_UNDER_THE_WORDS)
        line_of(opened, LIGHTNING).dispatch_event("mousedown")
        expect(opened).to_be_hidden()
        expect(Accordion(opened_page, "txt2img").state).to_contain_text("Lightning")

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_what_is_said_is_readable(self, open_page: Callable[..., Page], theme: str) -> None:
        page = open_page(theme, fewer_drawings=False)
        Accordion(page, "txt2img").open()
        opened = told_list(refreshed(page))
        for line in (line_of(opened, LIGHTNING), line_of(opened, FLUX)):
            expect_contrast(line.locator(".diversity-offer"), 4.5)
        expect_contrast(opened.locator(".diversity-heading:visible").first, 4.5)


class TestFamilyNotCertain:
    def test_it_is_asked_for_there_and_said_by_one_press(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion.open()
        accordion.choose("distilled_model", site.distilled)
        expect(below(txt2img.page)).to_contain_text("Its family is not certain")
        button = below(txt2img.page).locator("button")
        button.focus()
        txt2img.page.keyboard.press("Enter")
        family = accordion.field("family").locator("input")
        expect(family).to_be_focused()
        accordion.choose("family", "lcm")
        expect(below(txt2img.page)).not_to_contain_text("Say its family")
        expect(below(txt2img.page)).not_to_contain_text("not certain")

    def test_nothing_moves_when_it_is_asked_for(self, txt2img: Tab, site: Site) -> None:
        accordion = txt2img.accordion.open()
        expect(accordion.plan).to_contain_text("No distilled model")
        expect(note(txt2img.page, "txt2img", "sampler")).to_contain_text("Refused")  # the notes have their places
        before = accordion.field("switch_step").evaluate(TOP)
        accordion.choose("distilled_model", site.distilled)
        expect(below(txt2img.page)).to_contain_text("Say its family")
        assert abs(accordion.field("switch_step").evaluate(TOP) - before) <= 1  # a fraction, rounded


def _changed(route: Route, **changes: Any) -> None:
    """The server's answer with something else in it."""
    answer = route.fetch()
    route.fulfill(response=answer, body=json.dumps({**answer.json(), **changes}))


class TestAsking:
    def test_it_is_asked_again_while_files_are_looked_at(self, page: Page) -> None:
        left = [2, 1, 0]
        page.route(CHOICES, lambda route: _changed(route, pending=left.pop(0) if left else 0))
        Accordion(page, "txt2img").open()
        until(lambda: page.evaluate("true") and not left, lambda: f"answers that nobody asked for: {left}")

    def test_before_the_host_has_our_routes_it_is_asked_again(self, page: Page, watched: list[Watched]) -> None:
        """As after Reload UI: the hosts show their page first."""
        watched[0].server_away = True
        asked: list[str] = []

        def answered(route: Route) -> None:
            asked.append(route.request.url)
            if len(asked) == 1:
                route.fulfill(status=404, content_type="application/json", body='{"detail": "Not Found"}')
            else:
                route.continue_()

        page.route(CHOICES, answered)
        Accordion(page, "txt2img").open()
        until(lambda: page.evaluate("true") and len(asked) > 1, lambda: f"a second question after {asked}")

    def test_without_an_answer_the_list_is_the_hosts_own(self, page: Page, site: Site) -> None:
        refused = {"status": 403, "content_type": "application/json", "body": '{"detail": "no"}'}
        page.route(CHOICES, lambda route: route.fulfill(**{**refused, "status": 200, "body": "no JSON"}))
        accordion = Accordion(page, "txt2img").open()
        opened = open_list(field_of(page))
        assert opened.locator(".diversity-offer").count() == 0
        accordion.choose("distilled_model", site.distilled)
        expect(accordion.line).to_contain_text("distilled")

    def test_a_list_that_is_looked_at_keeps_its_order(self, page: Page) -> None:
        """What is learnt of files meanwhile is said in their lines; they change places when it opens again."""
        turned = False

        def answered(route: Route) -> None:
            answer = route.fetch().json()
            answer["choices"] = answer["choices"][::-1] if turned else answer["choices"]
            words = "turned" if turned else "as it was"
            choices = [{**entry, "words": words, "heading": "All"} for entry in answer["choices"]]
            route.fulfill(json={**answer, "choices": choices, "pending": 0 if turned else 1})

        page.route(CHOICES, answered)
        Accordion(page, "txt2img").open()
        opened = open_list(field_of(page))
        until(lambda: seen(opened)[-1][1] == "as it was", "the first answer")
        before = names_seen(opened)
        turned = True
        until(lambda: seen(opened)[-1][1] == "turned", "the second answer")
        assert names_seen(opened) == before
        again = open_list(field_of(page))
        assert names_seen(again) == ["None", *before[:0:-1]]

    def test_at_most_twice_a_second(self, page: Page) -> None:
        assert page.evaluate(_MANY_WISHES) == [[1, 2, 3, 3], [500, 500, 500]]


# However often somebody asks: at once, and again when half a second has gone by; timers are in the test's hand.
_MANY_WISHES = """async () => {
    const loaded = Array.from(document.scripts).find(script => script.src.includes("diversity_panel_offers.mjs"));
    const { Offers } = await import(loaded.src);
    const [set, pauses, calls] = [window.setTimeout, [], []];
    let asked = 0;
    class Poller {
        wake() { asked++; }
        resume() {}
        close() {}
    }
    window.setTimeout = (call, pause) => {
        pauses.push(pause);
        calls.push(call);
        return calls.length;
    };
    const counts = [];
    try {
        const offers = new Offers({ Poller }, () => {}, () => true);
        for (let again = 0; again < 2; again++) {
            for (let i = 0; i < 20; i++) {
                offers.ask();
            }
            counts.push(asked);
            calls.shift()();
        }
        counts.push(asked);
        calls.shift()();
        counts.push(asked);
    } finally {
        window.setTimeout = set;
    }
    return [counts, pauses];
}"""
