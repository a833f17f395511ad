"""python -m tests.browser.screenshots --out docs

Writes screenshot-light.png and screenshot-dark.png: the page of the embedded WebUI after a hybrid generation with the
trained pair.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.chromium import launch
from tests.browser.webpage import Tab
from tests.e2e.client import WebUI
from tests.e2e.embedded_host import ROOT, running_embedded

PAIR = ROOT / "extension_core" / "embedded" / "pair"
PROMPT = "a monster"
IMAGES = 4


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--pair", type=Path, default=PAIR, help="folder with monsters_base and monsters_distilled")
    parser.add_argument("--url", help="a running WebUI that has the pair; without it the embedded one is started")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        host = nullcontext(args.url) if args.url else running_embedded(Path(folder), "--ckpt-dir", str(args.pair))
        with host as url, sync_playwright() as playwright, launch(playwright) as browser:
            WebUI(url).call("/sdapi/v1/options", {"sd_model_checkpoint": "monsters_base"})
            for theme in ("light", "dark"):
                take(browser, url, theme, args.out / f"screenshot-{theme}.png")
    return 0


def take(browser: Browser, url: str, theme: str, path: Path) -> None:
    """Generate on a fresh page and photograph it whole."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{url}/?__theme={theme}", wait_until="domcontentloaded")
    tab = Tab(page, "txt2img")
    tab.accordion.checkbox.wait_for(timeout=120_000)
    tab.prompt(PROMPT)
    tab.settings(steps=4, width=128, height=128, batch_size=IMAGES, seed=1)
    accordion = tab.accordion.open()
    accordion.set(distilled_model="monsters_distilled", family="dmd2")
    expect(accordion.plan).to_contain_text("base 999 -> 759")
    tab.generate()
    expect(tab.infotext).to_contain_text("DD plan")
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path, full_page=True)
    page.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
