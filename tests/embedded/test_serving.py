"""The server with its page, on each flavour's stack: whom it lets in, what lies around requests, errors' shape."""

from __future__ import annotations

import http.cookiejar
import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.embedded_host import ROOT, free_port
from tests.embedded.conftest import FLAVOUR
from tests.waiting import PATIENCE, until

USER = {"username": "user", "password": "secret"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A browser, as far as cookies and headers go."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._open = urllib.request.build_opener(jar).open

    def ask(self, path: str, payload: Any = None, form: dict[str, str] | None = None, **headers: str) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None
        if form is not None:
            data = urllib.parse.urlencode(form).encode()
        elif payload is not None:
            data, names["Content-Type"] = json.dumps(payload).encode(), "application/json"
        try:
            with self._open(urllib.request.Request(self.url + path, data, names), timeout=PATIENCE) as reply:
                return Answer(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def client(self) -> Client:
        return Client(self.port)

    def started(self, times: int) -> Server:
        """Wait until its log has said so often that it has started."""

        def so() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            return self.log.read_text().count("Startup time:") >= times

        until(so, lambda: self.log.read_text()[-3000:])
        return self


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("serving"), free_port()
    command = [sys.executable, "-m", "embedded", "--flavour", FLAVOUR, "--port", str(port)]
    command += ["--ckpt-dir", str(model_folder), "--data-dir", str(folder / "data"), "--without-self"]
    command += ["--gradio-auth", "user:secret,other:word", "--api-server-stop"]
    log = folder / "log.txt"
    with log.open("wb") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            yield Server(process, port, log).started(1)
        finally:
            process.kill()
            process.wait(PATIENCE)


def test_gradio_says_who_asks(server: Server) -> None:
    """The routes by which an extension can tell; the hosts' own are open to everybody."""
    client = server.client()
    assert client.ask("/user").json is None
    assert client.ask("/login_check").status == 401
    assert client.ask("/login", form={**USER, "password": "wrong"}).status == 400
    assert client.ask("/login", form=USER).status == 200
    assert client.ask("/user").json == "user"
    assert client.ask("/login_check").status == 200
    assert server.client().ask("/user").json is None, "a login is a browser's own"


def test_the_hosts_own_routes_ask_for_no_login(server: Server) -> None:
    client = server.client()
    assert client.ask("/internal/pending-tasks").json == {"size": 0, "tasks": []}
    assert client.ask("/sdapi/v1/samplers").status == 200


def test_answers_are_compressed_by_a1111_alone(server: Server) -> None:
    headers = server.client().ask("/sdapi/v1/options", Accept_Encoding="gzip").headers
    assert headers.get("Content-Encoding") == ("gzip" if FLAVOUR == "a1111" else None)
    assert "gzip" not in server.client().ask("/internal/ping", Accept_Encoding="gzip").headers.get("Vary", "")


def test_errors_have_the_hosts_shape(server: Server) -> None:
    client = server.client()
    # What a checkpoint that does not exist is called in each: a fault that is no HTTPException.
    fault = client.ask("/sdapi/v1/options", {"sd_model_checkpoint": "nix"})
    assert fault.status == 500
    refusal = client.ask("/sdapi/v1/img2img", {"steps": 1})
    assert refusal.status == 404
    if FLAVOUR == "a1111":
        assert fault.json["errors"] == "model 'nix' not found"
        assert set(fault.json) == set(refusal.json) == {"error", "detail", "body", "errors"}
    else:
        assert fault.json == {"error": "RuntimeError", "detail": "", "body": "", "message": "model 'nix' not found"}
        assert refusal.json == {"detail": "Init image not found"}
    assert "Init image not found" in refusal.json["detail"]


def test_logins_end_with_reload_ui_and_the_process_with_stop(server: Server) -> None:
    client = server.client()
    client.ask("/login", form=USER)
    assert client.ask("/user").json == "user"
    assert client.ask("/sdapi/v1/server-restart", {}).status == 200
    server.started(2)
    assert client.ask("/user").json is None
    assert client.ask("/sdapi/v1/server-stop", {}).status == 200
    assert server.process.wait(PATIENCE) == 0
