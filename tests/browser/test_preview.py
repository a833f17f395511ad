"""The DT-preview's accordion on the page of a WebUI."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from extension_core.options.hybrid import BY_NAME
from extension_core.options.positions import POSITIONS
from extension_core.options.preview import PAGE_FIELDS
from tests.browser.conftest import Site
from tests.browser.preview.page import Panel
from tests.browser.webpage import TITLE, Tab


def _id(tab: str, name: str) -> str:
    return f"script_{tab}_diversity_distillation_dt_{name}"


def _open(page: Page, tab: str) -> Panel:
    page.locator(f"#{_id(tab, 'preview')} > .label-wrap > span").last.click()
    expect(page.locator(f"#{_id(tab, 'preview')}-visible-checkbox")).to_be_checked()
    return Panel(page, tab)


def _key(page: Page, tab: str) -> str:
    return page.locator(f"#{_id(tab, 'page')} textarea").input_value()


@pytest.mark.parametrize("name", ["txt2img", "img2img"])
def test_both_tabs_have_the_accordion_with_everything_in_it(page: Page, name: str) -> None:
    Tab(page, name).show()
    panel = _open(page, name)
    for spec in PAGE_FIELDS[1:]:
        field = page.locator(f"#{_id(name, spec.name)}")
        expect(field).to_have_attribute("title", spec.tooltip)
        if spec.name == "page":
            expect(field).to_be_hidden()
        else:
            expect(field).to_be_visible()
            expect(field).to_contain_text(spec.label)
    expect(panel.status).to_contain_text("Tick DT-preview and generate")
    for button in ("Stop here", "Save strip", "Compare"):
        expect(panel.button(button)).to_be_visible()


def test_the_hosts_know_its_arguments_by_their_positions(site: Site) -> None:
    specs = {**BY_NAME, **{f"dt.{spec.name}": spec for spec in PAGE_FIELDS}}
    for told in site.api.get("/sdapi/v1/script-info"):
        if told["name"] == TITLE.lower():
            zeros = {"base_steps": " (0 = k)", "file_steps": " (0 = by its name)"}
            labels = [specs[name].label + zeros.get(name, "") for name in POSITIONS]
            assert [argument["label"] for argument in told["args"]] == labels
            break
    else:
        pytest.fail("the script is not listed")


def test_each_tab_of_each_page_has_a_key_in_the_hidden_box(page: Page, open_page: Callable[..., Page]) -> None:
    keys = [_key(opened, tab) for opened in (page, open_page()) for tab in ("txt2img", "img2img")]
    assert all(re.fullmatch(r"[\w-]{32}", key, re.ASCII) for key in keys)
    assert len(set(keys)) == 4


def test_its_accordion_is_independent_of_the_other(txt2img: Tab, page: Page) -> None:
    _open(page, "txt2img")
    expect(txt2img.accordion.checkbox).not_to_be_checked()


def test_a_narrow_page_is_usable(open_page: Callable[..., Page]) -> None:
    page = open_page(width=400)
    panel = _open(page, "txt2img")
    for button in ("Stop here", "Save strip", "Compare"):
        box = panel.button(button).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
