"""Generating from the page: what a user sees of a request, good or bad, and of its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, Watched
from tests.browser.webpage import TITLE, Tab
from tests.waiting import until

HYBRID = {"family": "lcm", "switch_step": 2, "base_cfg": 3}


def test_ticked_in_the_header_it_generates_what_the_plan_said(txt2img: Tab, site: Site) -> None:
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, **HYBRID)
    expect(accordion.plan).to_contain_text("CFG 3/1")
    plan = accordion.plan.locator(".diversity-line").inner_text()
    txt2img.settings(seed=7)
    txt2img.generate()
    expect(txt2img.pictures.first).to_be_visible()
    expect(txt2img.infotext).to_contain_text(f'DD plan: "{plan}"')
    expect(txt2img.infotext).to_contain_text("DD mode: hybrid")
    settings = {"distilled_model": site.distilled, **HYBRID}
    over_api = site.api.generate(
        site.base, settings, prompt="a monster", negative_prompt="", seed=7, cfg_scale=7, sampler_name="DPM++ 2M"
    )
    assert np.array_equal(txt2img.picture(), over_api.must_work().images[0])


def test_unticked_it_takes_no_part(txt2img: Tab, site: Site) -> None:
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, **HYBRID)
    accordion.checkbox.click()
    expect(accordion.checkbox).not_to_be_checked()
    txt2img.generate()
    expect(txt2img.infotext).to_contain_text("Steps: 4")
    expect(txt2img.infotext).not_to_contain_text("DD ")


def test_a_bad_request_says_why_in_one_sentence_and_changes_nothing(txt2img: Tab, site: Site) -> None:
    before = site.api.fingerprint()
    txt2img.accordion.open()
    txt2img.generate()
    said = txt2img.error.inner_text()
    assert re.fullmatch("Diversity Distillation: No distilled model is chosen: .* is empty; choose one or.*", said), (
        said
    )
    assert "_" not in said
    expect(txt2img.accordion.refused).to_contain_text("Distilled model is empty")
    assert said.count("Traceback") == 0
    expect(txt2img.pictures).to_have_count(0)
    assert site.api.fingerprint() == before
    txt2img.accordion.checkbox.click()
    txt2img.generate()
    expect(txt2img.pictures.first).to_be_visible()
    expect(txt2img.error).to_have_count(0)


def test_a_pasted_infotext_restores_the_panel(txt2img: Tab, site: Site, open_page: Callable[..., Page]) -> None:
    """On a page of another visitor, where everything stands at its default."""
    accordion = txt2img.accordion.open()
    accordion.set(
        distilled_model=site.distilled, family="lcm", mode="hybrid", switch_step=2, base_steps=3, base_cfg=2.5,
        distilled_cfg=1.5, base_sampler="Heun", schedule="host", text_encoder="base", passes="both",
        grid_diversity=True,
    )  # fmt: skip
    expect(accordion.plan).to_contain_text("CFG 2.5/1.5")
    wanted = accordion.values()
    txt2img.generate()
    expect(txt2img.infotext).to_contain_text("DD plan")
    infotext = txt2img.infotext.inner_text()
    fresh = Tab(open_page(), "txt2img")
    accordion = fresh.accordion
    expect(accordion.checkbox).not_to_be_checked()
    fresh.prompt(re.sub(r"\n+", "\n", infotext))
    fresh.page.locator("#txt2img_tools #paste").click()
    expect(accordion.checkbox).to_be_checked()
    expect(accordion.field("distilled_model").locator("input")).to_have_value(wanted["distilled_model"])
    wanted["loaded_is"] = "base"  # what auto came to
    until(lambda: accordion.values() == wanted, lambda: f"all are set: {accordion.values()}")
    expect(accordion.plan).to_contain_text("CFG 2.5/1.5")


def test_what_a_paste_cannot_bring_is_said_below_the_plan(txt2img: Tab) -> None:
    """Until the next paste."""
    line = txt2img.page.locator("#tab_txt2img .diversity-pasted p")
    told = "Steps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 1, Seed: 1, Size: 64x64"
    txt2img.prompt(f"a cat\n{told}, DD distilled model: gone since, DD mode: hybrid, DD newest: 3")
    txt2img.page.locator("#txt2img_tools #paste").click()
    expect(line).to_contain_text("'gone since' is not among the host's checkpoints, U-Nets and LoRAs; the nearest is '")
    expect(line).to_contain_text("holds DD newest, which this one does not know")
    expect(line).to_be_visible()
    expect(txt2img.accordion.plan).to_contain_text("'gone since' is not among")
    txt2img.prompt(f"a cat\n{told}")
    txt2img.page.locator("#txt2img_tools #paste").click()
    expect(line).to_have_count(0)


def test_img2img(page: Page, site: Site, tmp_path: Path) -> None:
    tab = Tab(page, "img2img").show()
    picture = tmp_path / "start.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(picture)
    page.locator("#img2img_image input[type=file]").set_input_files(picture)
    expect(page.locator("#img2img_image img").first).to_be_visible()
    tab.settings(width=64, height=64, steps=4, denoising_strength=1)
    accordion = tab.accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm")
    tab.generate()
    expect(tab.pictures.first).to_be_visible()
    expect(tab.infotext).to_contain_text("DD plan")


def test_interrupt(txt2img: Tab, site: Site) -> None:
    before = site.api.fingerprint()
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, family="custom", switch_step=12)
    txt2img.settings(steps=15)
    with site.held(3) as gate:
        txt2img.generate_button.click()
        gate.wait(3)
        expect(txt2img.interrupt_button).to_be_visible()
        txt2img.interrupt_button.click()
        site.wait_until_interrupted()
        gate.open()
        txt2img.wait_until_idle()
        site.wait_until_ended()
    expect(txt2img.infotext).to_contain_text("15 U-Net calls")
    expect(txt2img.error).to_have_count(0)
    assert site.api.fingerprint() == before
    txt2img.settings(steps=14)
    txt2img.generate()
    expect(txt2img.infotext).to_contain_text("14 U-Net calls")


def test_reload_ui_keeps_one_working_accordion(txt2img: Tab, site: Site, watched: list[Watched]) -> None:
    page = txt2img.page
    page.locator("#tabs > .tab-nav > button").filter(has_text="Settings").click()
    watched[0].server_away = True
    with page.expect_navigation(wait_until="domcontentloaded"):
        page.locator("#settings_restart_gradio").click()
    txt2img.accordion.checkbox.wait_for()
    expect(txt2img.accordion.block).to_have_count(1)
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm")
    expect(accordion.plan).to_contain_text("4 U-Net calls")
    watched[0].server_away = False
    txt2img.settings(width=64, height=64, steps=4)
    txt2img.generate()
    assert txt2img.infotext.inner_text().count("DD plan:") == 1
    names = [script["name"] for script in site.api.get("/sdapi/v1/script-info") if not script["is_img2img"]]
    assert names.count(TITLE.lower()) == 1
