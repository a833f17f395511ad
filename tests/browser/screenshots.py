"""python -m tests.browser.screenshots --out docs

Writes screenshot-light.webp and screenshot-dark.webp: the page of the embedded WebUI after a hybrid generation with the
trained pair; dt-preview-light.webp, dt-preview-dark.webp and dt-preview-narrow.webp: the strip of such a generation;
dt-preview-compare.webp: those of a comparison; try-it.webp: the sheet of Try it.

`--convert FILE ...` starts nothing and writes these pictures, a plot or a grid for example, as the docs keep theirs.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.chromium import launch
from tests.browser.preview.page import Panel
from tests.browser.webpage import Tab, prose
from tests.e2e.client import WebUI
from tests.e2e.embedded_host import ROOT, running_embedded

PAIR = ROOT / "embedded" / "pair"
NAME = "monsters"
PROMPT = "a monster"
IMAGES = 4
QUALITY = 75  # of WebP: small letters stay crisp in both themes, at a fifth of the size of PNG
PREVIEW = "#script_txt2img_diversity_distillation_dt_preview"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--pair", type=Path, default=PAIR, help="folder with the pair's files")
    parser.add_argument("--name", default=NAME, help=f"of the pair: NAME_base and NAME_distilled (default: {NAME})")
    parser.add_argument("--url", help="a running WebUI that has the pair; without it the embedded one is started")
    parser.add_argument("--convert", type=Path, nargs="+", metavar="FILE", help="pictures to write as WebP, instead")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.convert:
        for source in args.convert:
            keep(source.read_bytes(), args.out / f"{source.stem}.webp")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        host = nullcontext(args.url) if args.url else running_embedded(Path(folder), "--ckpt-dir", str(args.pair))
        with host as url, sync_playwright() as playwright, launch(playwright) as browser:
            WebUI(url).call("/sdapi/v1/options", {"sd_model_checkpoint": f"{args.name}_base"})
            for theme in ("light", "dark"):
                take(filled_in(browser, url, theme, args.name), args.out / f"screenshot-{theme}.webp")
                take_preview(filled_in(browser, url, theme, args.name), args.out / f"dt-preview-{theme}.webp")
            narrow = filled_in(browser, url, "light", args.name, width=400)
            take_preview(narrow, args.out / "dt-preview-narrow.webp")
            take_comparison(filled_in(browser, url, "light", args.name), args.out / "dt-preview-compare.webp")
            take_trial(filled_in(browser, url, "light", args.name), args.out / "try-it.webp")
    return 0


def take(tab: Tab, path: Path) -> None:
    """Generate and photograph the page whole."""
    tab.generate()
    expect(tab.infotext).to_contain_text("DD plan")
    page = at_rest(tab.page)
    keep(page.screenshot(full_page=True), path)
    page.close()


def take_preview(tab: Tab, path: Path) -> None:
    """Generate with the DT-preview, look at one frame and at the curve, and photograph the accordion."""
    panel = ticked(tab)
    tab.generate()
    expect(panel.status).to_contain_text("Finished")
    panel.root.locator("summary").filter(has_text="Structure curve").click()
    expect(panel.chart.locator("path, polyline").first).to_be_visible(timeout=60_000)
    panel.cell(1, 1).hover()
    expect(panel.large).to_have_attribute("src", re.compile("."))
    photograph(tab.page, path)


def take_comparison(tab: Tab, path: Path) -> None:
    """Compare, and photograph the accordion."""
    tab.settings(batch_size=2)
    panel = ticked(tab)
    panel.button("Compare").click()
    expect(panel.strips).to_have_count(3, timeout=120_000)
    expect(panel.status).to_contain_text("Finished", timeout=120_000)
    for strip in panel.strips.all():
        strip.scroll_into_view_if_needed()
        tab.page.wait_for_timeout(1000)  # pictures are fetched once they are in view
    photograph(tab.page, path)


def take_trial(tab: Tab, path: Path) -> None:
    """Try it; the sheet alone."""
    tab.page.locator(f"#{tab.accordion.id('try')}").click()
    expect(prose(tab.page, "html_log_txt2img")).to_contain_text("Diversity of", timeout=120_000)
    tab.wait_until_idle()
    source = tab.pictures.first.get_attribute("src")
    assert source is not None
    keep(tab.page.request.get(source).body(), path)
    tab.page.close()


def filled_in(browser: Browser, url: str, theme: str, name: str, width: int = 1280) -> Tab:
    """A fresh page with a hybrid request."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(f"{url}/?__theme={theme}", wait_until="domcontentloaded")
    tab = Tab(page, "txt2img")
    tab.accordion.checkbox.wait_for(timeout=120_000)
    tab.prompt(PROMPT)
    tab.settings(steps=4, width=128, height=128, batch_size=IMAGES, seed=1)
    accordion = tab.accordion.open()
    accordion.choose("distilled_model", f"{name}_distilled")
    if name != NAME:  # whose file says its family
        accordion.choose("family", "dmd2")
    expect(accordion.plan).to_contain_text("base 999 -> 759")
    return tab


def ticked(tab: Tab) -> Panel:
    """The tab's DT-preview, switched on."""
    tab.page.locator(f"{PREVIEW} > .label-wrap > span").last.click()
    return Panel(tab.page)


def at_rest(page: Page) -> Page:
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(1000)  # a real Forge page is never without traffic
    return page


def photograph(page: Page, path: Path) -> None:
    """The DT-preview's accordion, once the pictures in view have come; then the page is closed."""
    page.locator(f"{PREVIEW} .diversity-dt").scroll_into_view_if_needed()
    page.wait_for_timeout(2000)
    keep(at_rest(page).locator(PREVIEW).screenshot(), path)
    page.close()


def keep(picture: bytes, path: Path) -> None:
    """Write a picture, of any format that Pillow reads, as the docs keep theirs."""
    with Image.open(io.BytesIO(picture)) as opened:
        opened.convert("RGB").save(path, "WEBP", quality=QUALITY, method=6)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
