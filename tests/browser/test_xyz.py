"""Sweeps from the page, by the host's own X/Y/Z plot."""

from __future__ import annotations

import numpy as np
from playwright.sync_api import expect

from extension_core.options.hybrid import BY_NAME
from tests.browser.conftest import Site
from tests.browser.webpage import Tab, choose
from tests.e2e.plots import Along, plot

SWITCH, MODE = "[Diversity] Switch step", "[Diversity] Mode"


def open_plot(tab: Tab, values: str, **types: str) -> None:
    """Choose the script, type the first axis's values and choose what the axes are, by their letters.

    In this order, because the page writes the values again when it hears of the type.
    """
    choose(tab.page.locator(f"#{tab.name}_script_container #script_list"), "X/Y/Z plot")
    enter(tab, "x", values)
    for letter, label in types.items():
        choose(tab.page.locator(f"#script_{tab.name}_xyz_plot_{letter}_type"), label)


def enter(tab: Tab, letter: str, values: str) -> None:
    field = tab.page.locator(f"#script_{tab.name}_xyz_plot_{letter}_values textarea")
    field.fill(values)
    field.press("Tab")


def test_a_sweep_of_step_and_mode(txt2img: Tab, site: Site) -> None:
    """The same picture as over the API; the box is not ticked, as a swept option wants to act."""
    accordion = txt2img.accordion.open()
    accordion.set(distilled_model=site.distilled, family="lcm")
    accordion.checkbox.click()
    txt2img.settings(seed=7)
    open_plot(txt2img, "0-2", x=SWITCH, y=MODE)
    fill = txt2img.page.locator("#xyz_grid_fill_y_tool_button:visible")
    expect(fill).to_have_count(1)
    fill.click()
    expect(txt2img.page.locator(".token:visible")).to_have_count(len(BY_NAME["mode"].choices))
    txt2img.generate()
    expect(txt2img.infotext).to_contain_text("DD mode: hybrid, DD switch step: 0")  # hosts show the first cell's
    expect(txt2img.error).to_have_count(0)
    axes = (Along(SWITCH, "0-2"), Along(MODE, BY_NAME["mode"].choices))
    settings = {"distilled_model": site.distilled, "family": "lcm"}
    over_api = plot(site.api, site.base, *axes, settings=settings, prompt="a monster", negative_prompt="", seed=7,
                    cfg_scale=7, sampler_name="DPM++ 2M").must_work()  # fmt: skip
    assert len(over_api.images) == 1 + 12
    assert np.array_equal(txt2img.picture(), over_api.images[0][..., :3])


def test_what_cannot_be_swept_is_said_on_the_page(txt2img: Tab, site: Site) -> None:
    txt2img.accordion.open().set(distilled_model=site.distilled)
    open_plot(txt2img, "none", x=SWITCH)
    txt2img.generate()
    expect(txt2img.error).to_contain_text("Diversity Distillation: Switch step k is 'none'; it must be a whole number")
    enter(txt2img, "x", "1, 9")
    txt2img.generate()
    expect(txt2img.error).to_have_count(0)
    expect(txt2img.pictures.first).to_be_visible()
