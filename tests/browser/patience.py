"""How long the browser waits for a state: nothing is judged by it (tests/waiting.py)."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, expect

from tests.waiting import PATIENCE

MILLISECONDS = 1000 * PATIENCE
expect.set_options(timeout=MILLISECONDS)


def patient(context: BrowserContext) -> BrowserContext:
    """The same, whose pages wait so long for whatever they wait for."""
    context.set_default_timeout(MILLISECONDS)
    context.set_default_navigation_timeout(MILLISECONDS)
    return context
