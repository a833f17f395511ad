"""Which kind of host the suite runs on, known before any test is chosen."""

from __future__ import annotations

import functools
import os

import pytest

from tests.e2e.client import WebUI

ON_A_REAL_HOST = bool(os.environ.get("DD_WEBUI_URL"))
REAL_HOSTS_ALONE = pytest.mark.skipif(not ON_A_REAL_HOST, reason="played by real hosts alone")


@functools.cache
def flavour_under_test() -> str:
    """`a1111` or `forge`: that of the host under DD_WEBUI_URL, else of the embedded WebUI that will be started."""
    url = os.environ.get("DD_WEBUI_URL")
    return WebUI(url).flavour if url else os.environ.get("DD_FLAVOUR", "a1111")
