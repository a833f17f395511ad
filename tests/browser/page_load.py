"""python -m tests.browser.page_load: what the extension adds to the loading of the host's page

Opens the page of a WebUI with the extension and of one without it in turns, each time in a browser that knows nothing
of it yet, and prints medians: the time until nothing changes any more, the page's elements, what it fetches.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import launch
from tests.e2e.embedded_host import running_embedded
from tests.waiting import PATIENCE

# Until the page has changed and fetched nothing for a second, which does not count; then [milliseconds, elements,
# files, KiB of them].
_AT_REST = """() => new Promise((resolve) => {
    let last = performance.now();
    const observer = new MutationObserver(() => { last = performance.now(); });
    observer.observe(document, { childList: true, subtree: true, attributes: true, characterData: true });
    let known = 0;
    const look = setInterval(() => {
        const fetched = performance.getEntriesByType("resource");
        last = fetched.length > known ? performance.now() : last;
        known = fetched.length;
        if (performance.now() - last < 1000) {
            return;
        }
        clearInterval(look);
        observer.disconnect();
        const size = fetched.reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0);
        resolve([last, document.querySelectorAll("*").length, fetched.length, size / 1024]);
    }, 50);
})"""
NAMES = ("milliseconds", "elements", "files", "kib")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.page_load", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each page is opened (default: 5)")
    parser.add_argument("--url", help="a running WebUI with the extension; without it embedded ones are started")
    parser.add_argument("--plain", help="the same host without the extension")
    args = parser.parse_args(arguments)
    if (args.url is None) != (args.plain is None):
        parser.error("--url and --plain go together: the page with the extension and the same host's without it")
    with hosts(args.url, args.plain) as urls, sync_playwright() as playwright, launch(playwright) as browser:
        for name, value in measured(browser, urls, args.rounds).items():
            print(f"{name:<24} {value:.4g}")
    return 0


@contextmanager
def hosts(ours: str | None, plain: str | None) -> Iterator[dict[str, str]]:
    """Addresses by what is there: those given, or two embedded WebUIs of DD_FLAVOUR."""
    if ours is not None and plain is not None:
        yield {"ours": ours, "plain": plain}
        return
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        running_embedded(Path(one)) as with_it,
        running_embedded(Path(other), "--without-self") as without,
    ):
        yield {"ours": with_it, "plain": without}


def measured(browser: Browser, urls: dict[str, str], rounds: int) -> dict[str, float]:
    """Medians of each page, and what is between them; one round before the first is left out."""
    found: dict[str, list[list[float]]] = {name: [] for name in urls}
    for at in range(rounds + 1):
        for name in sorted(urls, reverse=at % 2 == 1):
            taken = opened(browser, urls[name])
            found[name] += [taken] if at else []
    medians = {
        name: [statistics.median(values) for values in zip(*taken, strict=True)] for name, taken in found.items()
    }
    figures = {
        f"{name}_{what}": value for name, values in medians.items() for what, value in zip(NAMES, values, strict=True)
    }
    pairs = zip(NAMES, medians["ours"], medians["plain"], strict=True)
    return figures | {f"added_{what}": ours - plain for what, ours, plain in pairs}


def opened(browser: Browser, url: str) -> list[float]:
    """One page, in a context of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(1000 * PATIENCE)
    try:
        page = context.new_page()
        page.goto(url, wait_until="domcontentloaded")
        page.locator("#txt2img_generate").wait_for()
        return page.evaluate(_AT_REST)
    finally:
        context.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
