"""Starts the browser of the page tests and of the screenshots."""

from __future__ import annotations

import os

from playwright.sync_api import Browser, Playwright

_QUIET = ("no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update")


def launch(playwright: Playwright) -> Browser:
    """Chromium of DD_CHROMIUM or of the system, without a window and without traffic of its own."""
    return playwright.chromium.launch(
        executable_path=os.environ.get("DD_CHROMIUM", "/usr/bin/chromium"),
        args=[f"--{flag}" for flag in (*_QUIET, "disable-sync", "no-first-run")],
    )
