"""What the panel asks for: full size, the curve, an early end, files, and the comparison."""

from __future__ import annotations

import re
import threading

import pytest
from playwright.sync_api import expect

from extension_core.trajectory.frames import Section
from extension_core.trajectory.store import Generation, State
from tests.browser.preview.page import StandPage
from tests.browser.preview.stand import Stand, fresh_group
from tests.unit.trajectory import colours, hybrid, tag

pytestmark = pytest.mark.once  # a browser and a stand-in for the server, no host


def finished(site: StandPage, stand: Stand) -> Generation:
    """A hybrid generation of two images that has ended and is shown."""
    site.generate()
    generation = stand.run(stand.begin(), hybrid(), lambda number: colours(2, (number + 1) / 4))
    stand.end(generation)
    expect(site.panel().status).to_have_text("Finished.")
    return generation


def test_full_size_shows_the_small_picture_until_the_whole_one_is_there(site: StandPage, stand: Stand) -> None:
    stand.full_after = 2
    generation = finished(site, stand)
    panel = site.panel()
    panel.cell(1, 1).click()
    expect(panel.full).to_be_visible()
    picture, status = panel.full.locator("img"), panel.full.get_by_role("status")
    expect(picture).to_have_attribute("src", re.compile(r"frames/1/1\.jpg"))
    expect(status).to_have_text("After the image that is being made.")
    expect(picture).to_have_attribute("data-full", "")
    expect(status).to_have_text("Decoded by the whole VAE.")
    assert picture.evaluate("img => img.naturalWidth") == 96
    assert (stand.answers["1.png", 202], stand.answers["1.png", 200]) == (2, 1)
    panel.full.get_by_role("button", name="Close").click()
    expect(panel.full).to_be_hidden()
    panel.cell(1, 1).click()
    expect(picture).to_have_attribute("data-full", "")
    assert stand.counted(f"{generation.id}/frames/1/1.png") == 3, "the browser keeps what it has"
    expect(panel.full).to_contain_text("Image 2, step 2 of 4, switch, timestep 749")


def test_closing_gives_up_waiting(site: StandPage, stand: Stand) -> None:
    stand.full_after = 1000
    finished(site, stand)
    panel = site.panel()
    panel.cell(0).click()
    expect(panel.full.get_by_role("status")).to_have_text("After the image that is being made.")
    site.page.keyboard.press("Escape")
    site.later(9)  # as long as the panel looks out for another generation
    site.wait_until_quiet()
    asked = stand.counted(".png")
    site.later(120)
    site.wait_until_quiet()
    assert stand.counted(".png") == asked


def test_the_curve_tells_the_models_apart_and_names_its_measure(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.begin()
    stand.run(generation, hybrid(6, 2), lambda number: colours(2, (number + 1) / 6))
    stand.run(generation, hybrid(3, 1, Section("hires pass")), lambda number: colours(2, (number + 1) / 3))
    panel = site.panel()
    panel.root.locator("summary").click()
    expect(panel.root.locator(".diversity-dt-curve")).to_contain_text("when the generation has ended")
    assert stand.counted("/curve") == 0, "nothing is decoded for it beside sampling"
    stand.end(generation)
    expect(panel.chart).to_have_count(2)
    expect(panel.root.locator(".diversity-dt-curve")).to_contain_text("structural distance (built in). lpips cannot")
    first = panel.chart.first
    lines = first.locator(".diversity-dt-line")
    assert [lines.nth(at).get_attribute("data-phase") for at in range(5)] == ["base"] * 2 + ["distilled"] * 3
    assert lines.count() == 10
    dashes = [lines.nth(at).evaluate("line => getComputedStyle(line).strokeDasharray") for at in (0, 4)]
    assert dashes[0] != dashes[1] == "none"
    expect(first.locator(".diversity-dt-switch")).to_have_count(1)
    expect(first).to_have_attribute("aria-label", re.compile("image 1 is half way at timestep .*image 2"))
    for words in ("timestep", "999", "switch"):
        expect(first.get_by_text(words, exact=True)).to_be_visible()
    panel.cell(0, 1).hover()
    chosen = first.locator(".diversity-dt-line[data-chosen]")
    expect(chosen).to_have_count(5)
    asked = stand.answers["curve", 200]
    panel.root.locator("summary").click()
    panel.root.locator("summary").click()
    site.later(9)
    site.wait_until_quiet()
    assert stand.answers["curve", 200] == asked == 1


def test_stop_here_asks_for_the_frame_that_is_shown(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.run(stand.begin(), hybrid(), lambda _: colours())
    panel = site.panel()
    expect(panel.cells).to_have_count(8)
    panel.button("Stop here").click()
    expect(panel.done).to_have_text("It ends with the newest frame.")
    panel.cell(1).hover()
    panel.button("Stop here").click()
    expect(panel.done).to_have_text("It ends with step 2.")
    assert generation.about.stopped == [None, 1]
    stand.end(generation, State.INTERRUPTED, "It was ended with step 2.")
    expect(panel.button("Stop here")).to_be_disabled()
    expect(panel.root).to_contain_text("It was ended with step 2.")


def test_save_names_the_files(site: StandPage, stand: Stand) -> None:
    expect(site.panel().button("Save strip")).to_be_disabled()
    finished(site, stand)
    site.panel().button("Save strip").click()
    expect(site.panel().done).to_have_text("Saved 00001-7-dt.png, 00001-7-dt.webp.")
    expect(site.panel().button("Save strip")).to_be_enabled()


def test_compare_lays_the_three_strips_under_each_other(site: StandPage, stand: Stand) -> None:
    panel, page = site.panel(), site.page
    with page.expect_response("**/generate"):
        panel.button("Compare").click()
    key, word, nonce = stand.texts[0][1].split(" ")
    assert (word, len(key), len(nonce)) == ("compare", 32, 32)
    expect(panel.button("Cancel")).to_be_visible()
    expect(panel.button("Compare")).to_be_disabled()
    group = fresh_group()
    panel.root.locator("summary").evaluate("summary => summary.parentNode.open = true")
    for run, (role, title) in enumerate(
        (("hybrid", "hybrid"), ("base", "base alone"), ("distilled", "distilled alone")), 1
    ):
        generation = stand.begin(group=group, role=role)
        phases = hybrid() if role == "hybrid" else [tag(step) for step in range(4)]
        stand.run(generation, phases[:2], lambda _: colours())
        expect(panel.status).to_have_text(f"Comparing, run {run} of 3 ({title}). Step 2 of 4, first pass.")
        stand.run(generation, phases[2:], lambda _: colours())
        stand.end(generation, busy=run < 3)
        if run < 3:
            expect(panel.status).to_have_text(f"Comparing, {run} of 3 runs made.")
            assert stand.counted("/curve") == 0
    expect(panel.strips).to_have_count(3)
    expect(panel.cells).to_have_count(24)
    assert panel.root.locator("h4").all_inner_texts() == ["Hybrid", "Base alone", "Distilled alone"]
    places = panel.strips.evaluate_all(
        "strips => strips.map(strip => strip.querySelector('[role=gridcell]').getBoundingClientRect())"
        ".map(({left, top}) => [left, top])"
    )
    lefts, tops = zip(*places, strict=True)
    assert len(set(lefts)) == 1, "the same step stands in the same column"
    assert list(tops) == sorted(set(tops))
    site.later(9)
    expect(panel.button("Cancel")).to_be_hidden()
    expect(panel.chart).to_have_count(3)
    expect(panel.status).to_have_text("Finished.")
    assert len(stand.sent) == len(set(stand.sent)) == 12, "no frame is sent twice"
    panel.cell(3, 1, strip=0).focus()
    page.keyboard.press("ArrowDown")
    expect(panel.cell(3, 0, strip=1)).to_be_focused()
    site.generate()
    assert stand.texts[1] == ("txt2img", key), "the next click compares nothing"
    stand.end(stand.run(stand.begin(), hybrid(), lambda _: colours()))
    expect(panel.strips).to_have_count(1)


def test_cancel_is_the_hosts_interrupt(site: StandPage, stand: Stand) -> None:
    panel = site.panel()
    with site.page.expect_response("**/generate"):
        panel.button("Compare").click()
    stand.begin(group=fresh_group(), role="hybrid")
    with site.page.expect_response("**/interrupt"):
        panel.button("Cancel").click()
    assert stand.interrupted == 1


# What the accordion's plan tells of the tab.
TELL = """(plan, told) => {
    const element = document.createElement("div");
    element.className = "diversity-told";
    element.dataset.state = JSON.stringify(told);
    plan.replaceChildren(element);
}"""


def tell(site: StandPage, **told: str) -> None:
    site.page.locator("#txt2img_plan").evaluate(TELL, told)


def test_compare_cannot_be_pressed_while_it_cannot_run_and_says_why(site: StandPage, stand: Stand) -> None:
    compare, box = site.panel().button("Compare"), site.page.get_by_label("DT-preview txt2img")
    expect(compare).to_be_enabled()
    expect(site.panel().root.locator(".diversity-dt-why")).to_be_hidden()
    box.uncheck()
    expect(compare).to_be_disabled()
    expect(compare).to_have_accessible_description("Tick DT-preview to compare: only then frames are recorded.")
    box.check()
    expect(compare).to_be_enabled()
    tell(site, compare="Distilled model is empty; choose one.")
    expect(compare).to_be_disabled()
    expect(site.panel().root.locator(".diversity-dt-why")).to_have_text("Distilled model is empty; choose one.")
    tell(site, compare="")
    expect(compare).to_be_enabled()
    site.generate()
    generation = stand.begin()
    expect(compare).to_be_disabled()
    expect(compare).to_have_accessible_description("Compare when what runs now has ended.")
    stand.end(generation)
    expect(compare).to_be_enabled()


def test_try_it_needs_no_preview_and_says_what_it_costs(site: StandPage, stand: Stand) -> None:
    button = site.page.get_by_role("button", name="Try it txt2img")
    site.page.get_by_label("DT-preview txt2img").uncheck()
    tell(site, compare="Distilled model is empty; choose one.", trial="")
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description("Distilled model is empty; choose one.")
    tell(site, compare="", trial="Makes 4 images, thrice.")
    expect(button).to_be_enabled()
    expect(button).to_have_accessible_description("Makes 4 images, thrice.")
    with site.page.expect_response("**/generate"):
        button.click()
    key, word, nonce = stand.texts[0][1].split(" ")
    assert (word, len(key), len(nonce)) == ("try", 32, 32)
    site.generate()
    assert stand.texts[1] == ("txt2img", key), "the next click tries nothing"


def test_saving_says_the_folder(site: StandPage, stand: Stand) -> None:
    tell(site, folder="outputs/txt2img-images")
    finished(site, stand)
    site.panel().button("Save strip").click()
    expect(site.panel().done).to_have_text("Saved 00001-7-dt.png, 00001-7-dt.webp under outputs/txt2img-images.")


def test_the_last_strip_stays_until_the_next_one_holds_a_frame(site: StandPage, stand: Stand) -> None:
    first = finished(site, stand)
    panel, strips = site.panel(), site.panel().root.locator(".diversity-dt-strips")
    panel.wait_for_pictures(8)
    site.generate()
    second = stand.begin()
    expect(panel.status).to_have_text("Starting.")
    expect(strips).to_have_attribute("data-old", "")
    assert panel.pictures.evaluate_all(f"shown => shown.every(img => img.src.includes('{first.id}'))")
    expect(panel.cells).to_have_count(8)
    expect(panel.button("Save strip")).to_be_disabled()
    stand.run(second, hybrid()[:1], lambda _: colours())
    expect(panel.cells).to_have_count(2)
    expect(strips).not_to_have_attribute("data-old", "")
    expect(panel.status).to_have_text("Step 1 of 4, first pass.")
    stand.end(second)
    panel.wait_for_pictures(2)


def test_a_generation_that_ends_without_a_frame_says_so_itself(site: StandPage, stand: Stand) -> None:
    finished(site, stand)
    site.generate()
    stand.end(stand.begin(), State.FAILED, "Nothing was recorded of it.")
    expect(site.panel().status).to_have_text("Failed.")
    expect(site.panel().root).to_contain_text("Nothing was recorded of it.")
    expect(site.panel().cells).to_have_count(0)


def test_another_prediction_takes_the_place_of_the_first_once_it_is_there(site: StandPage, stand: Stand) -> None:
    site.generate()
    generation = stand.begin()
    stand.run(generation, hybrid(), lambda _: colours(), cond=lambda _: colours(2, 0.5))
    stand.end(generation)
    panel = site.panel()
    panel.wait_for_pictures(8)
    held = threading.Event()
    stand.worker.submit(held.wait)
    panel.kind("conditional").check()
    expect(panel.pictures).to_have_count(8)
    picture = panel.cell(0).locator("img")
    expect(picture).to_have_attribute("data-old", "")
    assert picture.evaluate("img => img.complete ? img.naturalWidth : img.width") > 0
    held.set()
    expect(panel.root.locator("img[data-old]")).to_have_count(0)
    expect(picture).to_have_attribute("src", re.compile("kind=cond"))
