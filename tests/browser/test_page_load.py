"""What loading a page costs is measured: the command runs, and the page with the extension is the fuller one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site
from tests.browser.page_load import hosts, main, measured
from tests.e2e.embedded_host import ROOT

pytestmark = pytest.mark.skipif(bool(os.environ.get("DD_WEBUI_URL")), reason="it is told its hosts' addresses itself")


@pytest.mark.slow
def test_two_pages_in_turns(browser: Browser) -> None:
    with hosts(None, None) as urls:
        figures = measured(browser, urls, rounds=1)
    assert figures["added_elements"] > 100
    assert figures["added_files"] > 10
    assert min(figures["ours_milliseconds"], figures["plain_milliseconds"]) > 0


@pytest.mark.a1111
def test_a_page_beside_itself_adds_nothing(site: Site) -> None:
    """By the command itself: a browser within a browser's test would share its thread."""
    command = [sys.executable, "-m", "tests.browser.page_load", "--rounds", "1", "--url", site.url, "--plain", site.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    figures = dict(line.split() for line in done.stdout.splitlines())
    assert float(figures["added_files"]) == 0
    assert float(figures["ours_elements"]) > 1000


def test_one_address_alone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--url", "http://127.0.0.1:1"])
    assert "--url and --plain go together" in capsys.readouterr().err
