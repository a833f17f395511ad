"""The options go along with a picture: from tab to tab, and from a picture's infotext."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.webpage import Tab, press
from tests.waiting import until

TOLD = "a cat\nSteps: 4, Sampler: Euler, Schedule type: Automatic, CFG scale: 1, Seed: 1, Size: 64x64"


@pytest.mark.parametrize("target", ["img2img", "inpaint"])
def test_the_options_are_sent_along(txt2img: Tab, site: Site, target: str) -> None:
    """Also those that say nothing: what was set on the other tab before is not what made the picture."""
    img2img = Tab(txt2img.page, "img2img").show()
    img2img.accordion.open().set(mode="base")
    txt2img.page.locator(f"#{img2img.accordion.id('distilled_model_refresh')}").click()  # the host keeps new names
    txt2img.show().accordion.open().set(
        distilled_model=site.distilled, family="lcm", switch_step=2, base_cfg=1.5, residency="ram"
    )
    txt2img.settings(seed=1)
    txt2img.generate()
    expect(txt2img.pictures.first).to_be_visible()
    press(txt2img.element(f"send_to_{target}"), img2img.generate_button.and_(txt2img.page.locator(":visible")))
    expect(img2img.accordion.checkbox).to_be_checked()
    expect(img2img.accordion.state).to_contain_text("LCM")
    until(lambda: img2img.accordion.values() == txt2img.accordion.values(), "all options are sent")
    expect(img2img.element("prompt").locator("textarea")).to_have_value("a monster")
    if target == "img2img":
        img2img.settings(width=64, height=64, denoising_strength=1)
        img2img.generate()
        expect(img2img.infotext).to_contain_text("DD mode: hybrid")
        expect(img2img.infotext).to_contain_text("DD switch step: 2")


def test_an_unticked_box_is_sent_along(txt2img: Tab) -> None:
    img2img = Tab(txt2img.page, "img2img").show()
    img2img.accordion.open()
    txt2img.show().generate()
    press(txt2img.element("send_to_img2img"), img2img.generate_button.and_(txt2img.page.locator(":visible")))
    expect(img2img.accordion.checkbox).not_to_be_checked()


def send_from_png_info(page: Page, picture: Path, told: str, target: str) -> None:
    info = PngInfo()
    info.add_text("parameters", told)
    Image.new("RGB", (64, 64)).save(picture, pnginfo=info)
    page.locator("#tabs > .tab-nav > button").filter(has_text="PNG Info").click()
    page.locator("#pnginfo_image input[type=file]").set_input_files(picture)
    expect(page.locator("#tab_pnginfo")).to_contain_text(told.rsplit(", ", 1)[-1])
    page.locator(f"#tab_pnginfo #{target}_tab").click()


@pytest.mark.parametrize("target", ["txt2img", "img2img", "inpaint"])
def test_png_info_sets_the_options_of_a_tab(page: Page, tmp_path: Path, target: str) -> None:
    told = f"{TOLD}, DD mode: skip_first, DD base CFG: 2.5, DD LoRA targets: base"
    send_from_png_info(page, tmp_path / "told.png", told, target)
    accordion = Tab(page, "img2img" if target == "inpaint" else target).accordion
    expect(accordion.checkbox).to_be_checked()
    expect(accordion.group("guidance").changed).to_have_text("skip first, base CFG 2.5")
    expect(accordion.group("style").changed).to_have_text("LoRAs on base")


class TestOwnSettings:
    """The host's own settings, in whose place a paste puts those of the picture."""

    FEW = "a cat\nSteps: 4, Sampler: LCM, Schedule type: Karras, CFG scale: 1, Seed: 1, Size: 64x64"

    @pytest.fixture
    def tab(self, txt2img: Tab) -> Tab:
        txt2img.settings(steps=17, cfg_scale=6.5)
        txt2img.sampler("Heun")
        expect(txt2img.accordion.state).to_be_attached()
        self.expect_told(txt2img, '"steps": 17', '"cfg_scale": 6.5', '"sampler_name": "Heun"')
        return txt2img

    def paste(self, tab: Tab, told: str) -> None:
        tab.prompt(told)
        tab.page.locator(f"#{tab.name}_tools #paste").click()
        if "DD mode" in told:
            self.expect_told(tab, '"ticked": true', f'"steps": {re.findall("Steps: ([0-9]+)", told)[0]}')

    def expect_told(self, tab: Tab, *parts: str) -> None:
        """The server has seen the page so, and its answer is there: whatever led to it is over."""
        told = tab.accordion.told
        for part in parts:
            expect(told).to_have_attribute("data-state", re.compile(re.escape(part)))

    def expect_own(self, tab: Tab, steps: int, sampler: str, scheduler: str, cfg: float) -> None:
        expect(tab.element("steps").locator("input[type=number]")).to_have_value(str(steps))
        expect(tab.element("sampling").locator("input")).to_have_value(sampler)
        expect(tab.element("scheduler").locator("input")).to_have_value(scheduler)
        expect(tab.element("cfg_scale").locator("input[type=number]")).to_have_value(f"{cfg:g}")

    @pytest.mark.parametrize("way", ["prompt", "PNG Info"])
    def test_they_come_back_when_the_box_is_unticked(self, tab: Tab, tmp_path: Path, way: str) -> None:
        told = f"{self.FEW}, DD mode: hybrid"
        if way == "prompt":
            self.paste(tab, told)
        else:
            send_from_png_info(tab.page, tmp_path / "told.png", told, "txt2img")
        self.expect_own(tab, 4, "LCM", "Karras", 1)
        self.expect_told(tab, '"ticked": true', '"steps": 4')
        tab.accordion.checkbox.click()
        self.expect_own(tab, 17, "Heun", "Automatic", 6.5)
        tab.accordion.checkbox.click()
        tab.settings(steps=4)
        tab.accordion.checkbox.click()
        expect(tab.accordion.plan).to_contain_text("Not ticked")
        self.expect_own(tab, 4, "Heun", "Automatic", 6.5)

    def test_what_was_changed_since_stays(self, tab: Tab) -> None:
        self.paste(tab, f"{self.FEW}, DD mode: hybrid")
        self.expect_own(tab, 4, "LCM", "Karras", 1)
        tab.settings(steps=8)
        tab.accordion.checkbox.click()
        self.expect_own(tab, 8, "Heun", "Automatic", 6.5)

    def test_one_paste_after_another_replaces_what_the_first_put_there(self, tab: Tab) -> None:
        self.paste(tab, f"{self.FEW}, DD mode: hybrid")
        self.expect_own(tab, 4, "LCM", "Karras", 1)
        self.paste(tab, f"{self.FEW.replace('Steps: 4', 'Steps: 6')}, DD mode: hybrid".replace("a cat", "a dog"))
        self.expect_own(tab, 6, "LCM", "Karras", 1)
        tab.accordion.checkbox.click()
        self.expect_own(tab, 17, "Heun", "Automatic", 6.5)

    def test_those_of_another_picture_are_the_users_own(self, tab: Tab) -> None:
        """It unticks the box as well."""
        self.paste(tab, f"{self.FEW}, DD mode: hybrid")
        expect(tab.accordion.checkbox).to_be_checked()
        self.paste(tab, self.FEW.replace("a cat", "a dog"))
        expect(tab.accordion.checkbox).not_to_be_checked()
        expect(tab.accordion.plan).to_contain_text("Not ticked")
        self.expect_own(tab, 4, "LCM", "Karras", 1)

    def test_sent_to_another_tab_they_come_back_there(self, tab: Tab, site: Site) -> None:
        """The host sends the steps along."""
        tab.generate()
        self.paste(tab, f"{self.FEW}, DD mode: hybrid")
        self.expect_own(tab, 4, "LCM", "Karras", 1)
        img2img = Tab(tab.page, "img2img")
        steps = img2img.element("steps").locator("input[type=number]")
        press(tab.element("send_to_img2img"), img2img.generate_button.and_(tab.page.locator(":visible")))
        expect(steps).to_have_value("4")
        self.expect_told(img2img, '"ticked": true', '"steps": 4')
        img2img.accordion.checkbox.click()
        expect(steps).to_have_value("17")
