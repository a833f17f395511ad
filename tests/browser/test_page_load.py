"""What loading a page costs is measured: the command runs, and the page with the extension is the fuller one."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site
from tests.browser.page_load import hosts, main, measured

pytestmark = pytest.mark.skipif(bool(os.environ.get("DD_WEBUI_URL")), reason="it is told its hosts' addresses itself")


@pytest.mark.slow
def test_two_pages_in_turns(browser: Browser) -> None:
    with hosts(None, None) as urls:
        figures = measured(browser, urls, rounds=1)
    assert figures["added_elements"] > 100
    assert figures["added_files"] > 10
    assert min(figures["ours_milliseconds"], figures["plain_milliseconds"]) > 0


def test_a_page_beside_itself_adds_nothing(browser: Browser, site: Site) -> None:
    figures = measured(browser, {"ours": site.url, "plain": site.url}, rounds=1)
    assert figures["added_files"] == 0
    assert figures["ours_elements"] > 1000


def test_one_address_alone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--url", "http://127.0.0.1:1"])
    assert "--url and --plain go together" in capsys.readouterr().err
