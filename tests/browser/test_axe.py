"""What axe-core finds wrong with our part of the page: names, roles, contrast, the order of headings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from extension_core.ui.groups import GROUPS
from tests.browser.conftest import Site
from tests.browser.test_preview_live import opened
from tests.browser.webpage import Tab

_BAD = ("serious", "critical")
# Forge puts the box of each of its accordions into the fold's button (javascript/inputAccordion.js, dfdcbab6).
_THE_HOSTS = "nested-interactive"


def complaints(page: Page, *elements: str) -> list[str]:
    """What is serious in these elements, each with the element that it is about."""
    context = {"include": [[element] for element in elements]}
    found: list[dict[str, Any]] = Axe().run(page, context=context).response["violations"]
    return [
        f"{each['id']}: {node['html'][:300]} {node['failureSummary'][:300]}"
        for each in found
        if each["impact"] in _BAD and each["id"] != _THE_HOSTS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_serious(open_page: Callable[..., Page], site: Site, theme: str, width: int) -> None:
    page = open_page(theme=theme, width=width)
    tab, panel = Tab(page, "txt2img"), opened(page)
    ours = (f"#{tab.accordion.id('enabled')}", "#script_txt2img_diversity_distillation_dt_preview")
    assert complaints(page, *ours) == []
    accordion = tab.accordion.open()
    assert complaints(page, *ours) == []
    accordion.set(distilled_model=site.distilled, family="dmd2", base_cfg=3)
    expect(accordion.plan).to_contain_text("base 999 -> 759")
    for group in GROUPS:
        accordion.group(group.name).open()
    assert complaints(page, *ours, ".diversity-host-note") == []
    tab.prompt("a monster")
    tab.settings(width=64, height=64, steps=4)
    tab.generate()
    expect(panel.cells).to_have_count(4)
    panel.cell(0).scroll_into_view_if_needed()
    expect(panel.pictures.first).to_be_visible()
    assert complaints(page, *ours) == []
    accordion.set(switch_step=9)
    expect(accordion.plan).to_contain_text("Switch step k is 9")
    assert complaints(page, *ours) == []
