"""The server as users start it: a process of its own, its page, "Reload UI", passwords, and its end."""

from __future__ import annotations

import base64
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded import servers
from tests.embedded.conftest import FLAVOUR
from tests.waiting import PATIENCE


class Server(servers.Server):
    def ask(self, path: str, post: bool = False, password: str = "user:secret") -> tuple[int, str]:
        request = urllib.request.Request(f"{self.url}{path}", data=b"" if post else None)
        request.add_header("Authorization", "Basic " + base64.b64encode(password.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    secured = ("--api-server-stop", "--api-auth", "user:secret")
    folder = tmp_path_factory.mktemp("server")
    with servers.serving(Server, folder, FLAVOUR, "--ckpt-dir", str(model_folder), *secured) as running:
        yield running


def test_page_api_and_end(server: Server) -> None:
    text = server.log.read_text()
    assert f"Running on local URL:  http://127.0.0.1:{server.port}\n" in text
    assert re.search(r"^Startup time: [\d.]+s", text, re.MULTILINE)
    status, page = server.ask("/")
    assert status == 200
    files = re.findall(r'(?:src|href)="(file=[^"]+)"', page)
    assert any("accordions.js" in file for file in files)
    assert all(server.ask("/" + file)[0] == 200 for file in files)
    assert server.ask("/internal/ping")[0] == 200
    assert server.ask("/sdapi/v1/samplers")[0] == 200
    assert server.ask("/sdapi/v1/samplers", password="user:wrong")[0] == 401
    assert server.ask("/sdapi/v1/server-restart", post=True)[0] == 200
    assert "Restarting UI..." in server.wait(lambda text: text.count("Startup time:") == 2)
    assert server.ask("/sdapi/v1/scripts")[0] == 200
    assert server.ask("/sdapi/v1/server-stop", post=True)[0] == 200
    assert server.process.wait(PATIENCE) == 0
