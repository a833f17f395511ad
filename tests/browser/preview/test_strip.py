"""The strip: what it shows of a generation while it runs and afterwards."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from extension_core.trajectory.frames import Section
from extension_core.trajectory.recorder import Limits, Recorder
from extension_core.trajectory.sheet import PHASE_COLOURS, header_lines
from extension_core.trajectory.store import State
from extension_core.trajectory.thinning import Thinning
from tests.browser.contrast import contrast
from tests.browser.preview.conftest import Opened, forgive
from tests.browser.preview.page import StandPage
from tests.browser.preview.stand import Stand
from tests.unit.trajectory import colours, hybrid, tag
from tests.waiting import until

pytestmark = pytest.mark.once  # a browser and a stand-in for the server, no host

# Counts what a host's observer of the whole page is woken for.
_OBSERVE = """() => {
    window.woken = 0;
    new MutationObserver(records => { window.woken += records.length; })
        .observe(document.body, { childList: true, subtree: true });
}"""


def test_frames_arrive_while_it_runs_each_once_and_wake_nobody(site: StandPage, stand: Stand) -> None:
    panel = site.panel()
    site.generate()
    generation = stand.begin()
    tags = hybrid()
    generation.recorder.add(tags[0], colours(2, 0.25))
    expect(panel.cells).to_have_count(2)
    panel.wait_for_pictures(2)
    expect(panel.status).to_have_text("Step 1 of 4, first pass.")
    site.page.locator("#txt2img_results").evaluate("element => element.remove()")  # the host's own progress
    site.page.evaluate(_OBSERVE)
    for step in (1, 2, 3):
        generation.recorder.add(tags[step], colours(2, (step + 1) / 4))
        expect(panel.cells).to_have_count(2 * (step + 1))
        expect(panel.status).to_have_text(f"Step {step + 1} of 4, first pass.")
    panel.wait_for_pictures(8)
    answered = stand.answers["newest", 304]
    until(lambda: stand.answers["newest", 304] >= answered + 3, "three more questions")
    assert site.page.evaluate("window.woken") == 0
    stand.end(generation)
    expect(panel.status).to_have_text("Finished.")
    assert sorted(stand.sent) == [(generation.id, number) for number in range(4)]
    assert [count for path, count in stand.asked.items() if ".jpg" in path] == [1] * 8
    assert stand.answers["newest", 304] > 0


def test_polling_is_as_quick_as_an_eye_and_no_quicker(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.run(stand.begin(), hybrid()[:1], lambda _: colours())
    site.panel().wait_for_pictures(2)
    site.page.clock.pause_at(site.page.evaluate("Date.now()") / 1000 + 10)
    for _ in range(4):
        site.wait_until_waiting()
        before = site.asked()
        site.later(0.399)
        assert site.asked() == before
        site.later(0.001)
        assert site.asked() == before + 1
    site.page.clock.resume()
    stand.end(generation)


def test_nothing_moves_for_who_wants_no_motion(site: StandPage, stand: Stand) -> None:
    site.generate()
    stand.end(stand.run(stand.begin(), hybrid()[:1], lambda _: colours()))
    site.panel().wait_for_pictures(2)
    moves = "img => getComputedStyle(img).transitionDuration"
    assert site.panel().pictures.first.evaluate(moves) == "0s"
    site.page.emulate_media(reduced_motion="no-preference")
    assert site.panel().pictures.first.evaluate(moves) != "0s"


def test_polling_ends_with_the_generation(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.run(stand.begin(), hybrid(), lambda _: colours())
    expect(site.panel().cells).to_have_count(8)
    stand.end(generation)
    expect(site.panel().status).to_have_text("Finished.")
    site.later(9)  # as long as a request may wait for its turn
    site.wait_until_quiet()
    before = site.asked()
    site.later(120)
    assert site.asked() == before


def test_every_column_is_tagged_and_the_switch_is_marked(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.run(stand.begin(), hybrid(4, switch=2), lambda _: colours())
    expect(site.panel().tags).to_have_count(4)
    for number, frame in enumerate(generation.recorder.frames()):
        header = site.panel().tags.nth(number)
        step, noise, _, model = header_lines(frame.info)
        sigma = f"sigma {frame.info.as_json()['sigma']:.4g}"  # as sent, with five decimals
        assert header.locator(".diversity-dt-step").inner_text() == step
        assert header.locator(".diversity-dt-noise").inner_text() == noise
        assert header.locator(".diversity-dt-sigma").inner_text() == sigma
        assert header.locator(".diversity-dt-model").inner_text() == model
        assert (header.get_attribute("data-switched") is not None) == (number == 2)
    bars = site.panel().tags.locator(".diversity-dt-bar")
    hollow = [bars.nth(at).evaluate("bar => getComputedStyle(bar).backgroundColor") for at in range(4)]
    base, distilled = "rgba(0, 0, 0, 0)", "rgb" + str(PHASE_COLOURS["distilled"])
    assert hollow == [base, base, distilled, distilled]
    spoken = site.panel().cell(2, 1).get_attribute("aria-label")
    assert spoken == (
        "Image 2, step 3 of 4, switch, timestep 500, sigma 1.616, CFG 1, distilled model dmd2 4-step unet"
    )
    stand.end(generation)


def test_one_model_alone_needs_no_letters(site: StandPage, stand: Stand) -> None:
    site.generate()
    stand.end(stand.run(stand.begin(), [tag(0), tag(1)], lambda _: colours(1)))
    expect(site.panel().tags).to_have_count(2)
    expect(site.panel().tags.first.locator(".diversity-dt-step")).to_have_text("step 1/4")
    expect(site.panel().root.locator("[data-switched]")).to_have_count(0)


def test_hires_pass_and_batches_continue_the_strip(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.begin()
    sections = [Section(name, batch, 2) for batch in (0, 1) for name in ("first pass", "hires pass")]
    for section in sections:
        stand.run(generation, hybrid(2, section=section), lambda _: colours())
    stand.end(generation)
    panel = site.panel()
    expect(panel.sections).to_have_count(4)
    assert panel.sections.locator(".diversity-dt-section-title").all_inner_texts() == [one.title for one in sections]
    expect(panel.cells).to_have_count(16)


def test_a_long_run_scrolls_and_only_what_is_in_view_is_fetched(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.run(stand.begin(), hybrid(50, 10), lambda _: colours(1))
    panel = site.panel()
    expect(panel.cells).to_have_count(50)
    scroller = panel.root.locator(".diversity-dt-scroll")
    assert scroller.evaluate("element => element.scrollWidth > 2 * element.clientWidth")
    assert scroller.evaluate("element => element.scrollLeft") > 0, "it follows the newest frame"
    generation.recorder.add(tag(50, 51), colours(1))
    stand.end(generation)  # the last frame and the end come together
    expect(panel.status).to_have_text("Finished.")
    assert scroller.evaluate("element => element.scrollLeft + element.clientWidth >= element.scrollWidth - 4")
    until(lambda: stand.counted(".jpg") >= 5, "the pictures in view")
    site.later(9)
    site.wait_until_quiet()
    assert stand.counted(".jpg") < 30
    scroller.evaluate("element => element.scrollLeft = 0")
    expect(panel.cell(0).locator("img[src]")).to_be_visible()
    assert all(count == 1 for path, count in stand.asked.items() if ".jpg" in path)


def test_dropped_and_missed_frames_go_and_are_counted(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.begin(recorder=Recorder(Limits(frames=3)))
    stand.run(generation, hybrid()[:3], lambda _: colours())
    panel = site.panel()
    expect(panel.cells).to_have_count(6)
    panel.cell(0).focus()
    stand.run(generation, hybrid()[3:], lambda _: colours())
    expect(panel.cell(0)).to_be_hidden()
    expect(panel.cells).to_have_count(6)
    expect(panel.root).to_contain_text("1 frame dropped")
    expect(panel.root).to_contain_text("The oldest 1 frame was dropped, as at most 3 frames")
    expect(panel.caption).to_contain_text("step 4 of 4")  # what was shown large is gone
    stand.end(generation)


def test_thinned_frames_give_way(site: StandPage, stand: Stand, said: list[str]) -> None:
    site.generate()
    generation = stand.begin(recorder=Recorder(thinning=Thinning(every=4)))
    panel = site.panel()
    for each in [tag(step, 8) for step in range(8)]:
        generation.recorder.add(each, colours(1))
        expect(panel.status).to_have_text(f"Step {each.position.step + 1} of 8, first pass.")
    stand.end(generation)
    expect(panel.status).to_have_text("Finished.")
    assert [text.split("/")[0] for text in panel.tags.locator(".diversity-dt-step").all_inner_texts()] == [
        "step 1", "step 5", "step 8",
    ]  # fmt: skip
    expect(panel.root).to_contain_text("5 frames left out as asked")
    forgive(said, 404)  # a page may ask for a picture that gives way just then


@pytest.mark.parametrize(
    ("state", "word"), [(State.INTERRUPTED, "Ended early."), (State.FAILED, "Failed.")], ids=["interrupted", "failed"]
)
def test_an_unfinished_run_says_so_and_keeps_its_frames(site: StandPage, stand: Stand, state: State, word: str) -> None:
    site.generate()
    generation = stand.run(stand.begin(), hybrid()[:2], lambda _: colours())
    stand.end(generation, state, "The last 2 steps are missing: the host said <b>enough</b>.")
    expect(site.panel().status).to_have_text(word)
    expect(site.panel().root).to_contain_text("the host said <b>enough</b>.")
    expect(site.panel().cells).to_have_count(4)


def test_kinds_are_switched_and_what_is_not_recorded_is_said(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.begin()
    stand.run(generation, hybrid()[:2], lambda _: colours(), cond=lambda _: colours(2, 0.2))
    stand.run(generation, hybrid()[2:], lambda _: colours())
    stand.end(generation)
    panel = site.panel()
    panel.wait_for_pictures(8)
    expect(panel.kind("unconditional")).to_be_disabled()
    expect(panel.caption).to_contain_text("after guidance")
    panel.kind("conditional").check()
    panel.wait_for_pictures(4)
    expect(panel.root.locator(".diversity-dt-cell-note:visible").first).to_have_text("not recorded")
    expect(panel.cell(3)).to_have_attribute("aria-label", re.compile("not recorded$"))
    expect(panel.caption).to_contain_text("conditional alone")
    assert stand.counted("kind=cond&side=256") == 4
    panel.kind("after guidance").check()
    panel.wait_for_pictures(8)
    assert all(count == 1 for path, count in stand.asked.items() if ".jpg" in path)


def test_pointing_and_arrow_keys_scrub_one_image_large(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.begin()
    stand.run(generation, hybrid(), lambda _: colours())
    stand.run(generation, hybrid(2, section=Section("hires pass")), lambda _: colours())
    panel = site.panel()
    panel.wait_for_pictures(12)
    expect(panel.caption).to_contain_text("Image 1, step 2 of 2")  # the newest
    fetched = stand.counted(".jpg")
    panel.cell(1, 1).hover()
    expect(panel.caption).to_contain_text("Image 2, step 2 of 4, switch")
    expect(panel.large).to_have_js_property("complete", True)
    panel.cell(1, 1).focus()
    for key, words in (
        ("ArrowRight", "Image 2, step 3 of 4"),
        ("ArrowUp", "Image 1, step 3 of 4"),
        ("End", "Image 1, step 4 of 4"),
        ("ArrowRight", "Image 1, step 1 of 2"),
        ("ArrowLeft", "Image 1, step 4 of 4"),
        ("ArrowDown", "Image 2, step 4 of 4"),
        ("ArrowDown", "Image 1, step 2 of 2"),
        ("Home", "Image 1, step 1 of 2"),
    ):
        site.page.keyboard.press(key)
        expect(panel.caption).to_contain_text(words)
    expect(panel.root.locator("[role=gridcell][tabindex='0']")).to_have_count(1)
    expect(panel.button("Follow newest")).to_have_attribute("aria-pressed", "false")
    panel.button("Follow newest").click()
    expect(panel.caption).to_contain_text("step 2 of 2")
    assert stand.counted(".jpg") == fetched, "scrubbing asks the server for nothing"
    stand.end(generation)


def test_by_keyboard_alone(site: StandPage, stand: Stand) -> None:
    """From the last button to the strip, into full size and back, and on to the curve."""
    site.generate()
    stand.end(stand.run(stand.begin(), hybrid(), lambda _: colours()))
    panel, keyboard = site.panel(), site.page.keyboard
    panel.wait_for_pictures(8)
    panel.button("Compare").focus()
    keyboard.press("Tab")
    expect(panel.cell(3)).to_be_focused()
    assert panel.cell(3).evaluate("cell => getComputedStyle(cell).outlineStyle") == "solid"
    keyboard.press("ArrowLeft")
    expect(panel.cell(2)).to_be_focused()
    keyboard.press("Enter")
    expect(panel.full).to_be_visible()
    keyboard.press("ArrowLeft")
    expect(panel.full).to_contain_text("Image 1, step 2 of 4")
    keyboard.press("Escape")
    expect(panel.full).to_be_hidden()
    assert stand.interrupted == 0
    keyboard.press("Tab")
    keyboard.press("Tab")
    expect(panel.root.locator("summary")).to_be_focused()
    keyboard.press("Enter")
    expect(panel.chart).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_in_both_themes(open_stand: Opened, stand: Stand, theme: str) -> None:
    site = open_stand(theme)
    site.tick()
    site.generate()
    stand.decoder_note = "TAESD is not here."
    recorder = Recorder(Limits(frames=4))
    generation = stand.run(stand.begin(recorder=recorder), [*hybrid(4, 3), tag(3)][1:], lambda _: colours())
    stand.run(generation, hybrid(2, section=Section("hires pass")), lambda _: colours())
    stand.end(generation, missing="Something is missing.")
    panel = site.panel()
    expect(panel.cells).to_have_count(8)
    panel.root.locator("summary").click()
    expect(panel.chart.first).to_be_visible()
    texts = panel.root.locator(
        "p:visible, span:visible, legend, label, summary, figcaption, h4:visible, button:visible"
    )
    assert texts.count() > 30
    for number in range(texts.count()):
        element = texts.nth(number)
        if element.inner_text().strip():
            assert contrast(element) >= 4.5, element.inner_text()
    paper = panel.root.evaluate("root => getComputedStyle(root).getPropertyValue('--dt-paper')").strip()
    assert ("#fff" in paper) == (theme == "light")


def test_at_400_pixels_nothing_leaves_the_page(open_stand: Opened, stand: Stand) -> None:
    site = open_stand(width=400)
    site.tick()
    site.generate()
    stand.end(stand.run(stand.begin(), hybrid(), lambda _: colours()))
    panel = site.panel()
    expect(panel.cells).to_have_count(8)
    panel.root.locator("summary").click()
    expect(panel.chart).to_be_visible()
    assert site.page.evaluate("document.documentElement.scrollWidth") <= 400
    for name in ("Stop here", "Save strip", "Compare", "Full size", "Follow newest"):
        box = panel.button(name).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
    smallest = panel.tags.first.locator(".diversity-dt-noise")
    assert float(smallest.evaluate("span => parseFloat(getComputedStyle(span).fontSize)")) >= 10
    panel.cell(0).scroll_into_view_if_needed()
    panel.cell(0).click()
    expect(panel.full).to_be_visible()
    box = panel.full.bounding_box()
    assert box is not None
    assert box["width"] <= 400
