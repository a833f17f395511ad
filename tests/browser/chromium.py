"""Starts the browser of the page tests and of the screenshots."""

from __future__ import annotations

import os

from playwright.sync_api import Browser, Playwright

from tests.e2e.flavour import flavour_under_test

_QUIET = (
    *("no-sandbox", "no-first-run", "disable-gpu"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
)


def launch(playwright: Playwright) -> Browser:
    """Chromium of DD_CHROMIUM or of the system, without a window and without traffic of its own.

    Gradio 4's image editor draws by WebGL, which takes most of a core where there is no graphics card; gradio 3 goes
    without.
    """
    flags = _QUIET if flavour_under_test() == "forge" else (*_QUIET, "disable-software-rasterizer")
    return playwright.chromium.launch(
        executable_path=os.environ.get("DD_CHROMIUM", "/usr/bin/chromium"),
        args=[f"--{flag}" for flag in flags],
    )
