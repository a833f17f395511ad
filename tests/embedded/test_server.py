"""The server as users start it: a process of its own, its page, "Reload UI", passwords, and its end."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.embedded_host import ROOT, free_port

pytestmark = pytest.mark.a1111


class Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    def wait(self, condition: Callable[[str], bool]) -> str:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            text = self.log.read_text()
            if condition(text):
                return text
            assert self.process.poll() is None, text
            time.sleep(0.2)
        raise AssertionError(self.log.read_text()[-3000:])

    def ask(self, path: str, post: bool = False, password: str = "user:secret") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=b"" if post else None)
        request.add_header("Authorization", "Basic " + base64.b64encode(password.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [sys.executable, "-m", "extension_core.embedded", "--flavour", "a1111", "--port", str(port)]
    command += ["--ckpt-dir", str(model_folder), "--data-dir", str(folder / "data"), "--api-server-stop"]
    command += ["--api-auth", "user:secret", "--listen-timeout", "280"]
    log = folder / "log.txt"
    with log.open("wb") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment)
        running = Server(process, port, log)
        try:
            running.wait(lambda text: "Startup time:" in text)
            yield running
        finally:
            process.kill()
            process.wait(30)


def test_it_says_where_it_runs(server: Server) -> None:
    text = server.log.read_text()
    assert f"Running on local URL:  http://127.0.0.1:{server.port}\n" in text
    assert re.search(r"^Startup time: [\d.]+s", text, re.MULTILINE)


def test_the_page_carries_scripts_and_styles_that_it_may_fetch(server: Server) -> None:
    status, page = server.ask("/")
    assert status == 200
    files = re.findall(r'(?:src|href)="(file=[^"]+)"', page)
    assert any("inputAccordion.js" in x for x in files)
    assert all(server.ask("/" + x)[0] == 200 for x in files)


def test_the_api_asks_for_its_password(server: Server) -> None:
    assert server.ask("/sdapi/v1/samplers")[0] == 200
    assert server.ask("/sdapi/v1/samplers", password="user:wrong")[0] == 401
    assert server.ask("/sdapi/v1/samplers", password="nobody:secret")[0] == 401


def test_progress_for_the_page(server: Server) -> None:
    assert server.ask("/internal/ping") == (200, "{}")
    assert server.ask("/internal/pending-tasks")[1] == '{"size":0,"tasks":[]}'


def test_reload_ui_and_stop(server: Server) -> None:
    assert server.ask("/sdapi/v1/server-restart", post=True)[0] == 200
    text = server.wait(lambda text: text.count("Startup time:") == 2)
    assert "Restarting UI..." in text
    assert server.ask("/sdapi/v1/scripts")[0] == 200
    assert server.ask("/sdapi/v1/server-stop", post=True)[0] == 200
    assert server.process.wait(60) == 0
