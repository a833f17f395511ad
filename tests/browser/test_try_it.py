"""Try it, as a user of a WebUI meets it: what it costs, why it cannot run, and the three results on one sheet."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Site
from tests.browser.webpage import Tab, prose


@pytest.fixture
def button(txt2img: Tab, site: Site) -> Locator:
    txt2img.accordion.open().set(distilled_model=site.distilled, family="lcm")
    return txt2img.page.locator(f"#{txt2img.accordion.id('try')}")


def test_it_says_what_it_costs_and_why_it_cannot_run(txt2img: Tab, button: Locator) -> None:
    expect(button).to_have_accessible_description(re.compile(r"^Makes 4 images by the base alone \(20 steps"))
    expect(button).to_be_enabled()
    txt2img.settings(batch_size=2, batch_count=3)
    expect(button).to_have_accessible_description(re.compile("^Makes 6 images"))
    txt2img.accordion.set(mode="base")
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description(re.compile("^Choose another mode than base"))
    txt2img.accordion.set(mode="hybrid")
    expect(button).to_be_enabled()
    txt2img.accordion.checkbox.uncheck()
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description(re.compile("^Tick Diversity Distillation"))


def test_one_press_shows_the_three_side_by_side(txt2img: Tab, button: Locator) -> None:
    txt2img.settings(seed=1, batch_size=2)
    expect(button).to_be_enabled()
    button.click()
    expect(prose(txt2img.page, "html_log_txt2img")).to_contain_text("Diversity of 4 images")
    txt2img.wait_until_idle()
    expect(txt2img.infotext).to_contain_text("DD plan")
    sheet = txt2img.picture()
    height, width = sheet.shape[:2]
    assert width > 4 * 64
    assert height > 3 * 64
    expect(button).to_be_enabled()
    txt2img.generate()
    assert txt2img.picture().shape[1] < width, "the next click tries nothing"
