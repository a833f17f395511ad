"""The DT-preview's panel as a user sees it, on any page that has one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect


@dataclass(frozen=True)
class Panel:
    """The panel of one tab."""

    page: Page
    tab: str = "txt2img"

    @property
    def root(self) -> Locator:
        return self.page.locator(f".diversity-dt[data-tab={self.tab}]")

    @property
    def status(self) -> Locator:
        return self.root.locator(".diversity-dt-status").first

    @property
    def done(self) -> Locator:
        return self.root.locator(".diversity-dt-status").nth(1)

    @property
    def trouble(self) -> Locator:
        return self.root.get_by_role("alert")

    @property
    def strips(self) -> Locator:
        return self.root.locator(".diversity-dt-strip")

    @property
    def sections(self) -> Locator:
        return self.root.locator(".diversity-dt-section")

    @property
    def cells(self) -> Locator:
        """Those with a frame."""
        return self.root.get_by_role("gridcell")

    @property
    def tags(self) -> Locator:
        """Headers of the columns with a frame."""
        return self.root.locator(".diversity-dt-tag:visible")

    @property
    def pictures(self) -> Locator:
        """Those that have been asked for."""
        return self.root.locator(".diversity-dt-cell img[src]")

    @property
    def large(self) -> Locator:
        return self.root.locator(".diversity-dt-large img")

    @property
    def caption(self) -> Locator:
        return self.root.locator(".diversity-dt-large figcaption")

    @property
    def full(self) -> Locator:
        return self.root.locator("dialog")

    @property
    def chart(self) -> Locator:
        return self.root.locator(".diversity-dt-chart")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name)

    def kind(self, name: str) -> Locator:
        return self.root.get_by_role("radio", name=re.compile(f"^{name}"))

    def cell(self, number: int, image: int = 0, strip: int = 0) -> Locator:
        return self.strips.nth(strip).locator(f"[role=gridcell][data-number='{number}'][data-image='{image}']")

    def wait_for_pictures(self, count: int) -> None:
        """Until so many have come."""
        expect(self.pictures).to_have_count(count)
        loaded = "images => images.every(image => image.complete && image.naturalWidth > 0)"
        self.page.wait_for_function(
            f"([root]) => ({loaded})(Array.from(root.querySelectorAll('.diversity-dt-cell img[src]')))",
            arg=[self.root.element_handle()],
        )


@dataclass(frozen=True)
class StandPage:
    """The stand-in's page, which has both tabs beneath one another."""

    page: Page

    def panel(self, tab: str = "txt2img") -> Panel:
        return Panel(self.page, tab)

    def tick(self, tab: str = "txt2img") -> None:
        self.page.get_by_label(f"DT-preview {tab}").check()

    def later(self, seconds: float) -> None:
        """So much of the page's time goes by, at once; every timer of it runs when it is due."""
        self.page.clock.run_for(round(1000 * seconds))

    def wait_until_quiet(self) -> None:
        """Until no timer of the page waits and no question is under way, so that nothing more comes by itself."""
        self.page.wait_for_function("""() => {
            const { timers, asking } = window.counts;
            window.quiet = timers.size || asking ? 0 : (window.quiet || 0) + 1;
            return window.quiet > 2;
        }""")
        self.page.evaluate("window.quiet = 0")

    def wait_until_waiting(self) -> None:
        """Until the page has its answer and one timer for the next question."""
        self.page.wait_for_function("() => window.counts.timers.size === 1 && !window.counts.asking")

    def asked(self) -> int:
        """Questions that the page has put to the preview's routes, pictures left out."""
        return self.page.evaluate("window.counts.asked")

    def generate(self, tab: str = "txt2img") -> None:
        """Click and wait until the server has the click."""
        with self.page.expect_response("**/generate"):
            self.page.get_by_role("button", name=f"Generate {tab}").click()
