"""Previews over HTTP, on a server as users start it: both logins, tricks with paths, very many polls, "Reload UI"."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import requests

from tests.e2e.client import WebUI
from tests.e2e.embedded_host import ROOT
from tests.e2e.gate import Gate, closed
from tests.embedded import servers
from tests.embedded.previews import PREFIX, eventually, new_secret
from tests.waiting import PATIENCE, joined

FLAVOUR = os.environ.get("DD_FLAVOUR", "a1111")
API = ("user", "secret")
# Four pages that never pause; 10,000 of them do the same for five times as long.
POLLS = int(os.environ.get("DD_POLLS", "2000"))


class Server(servers.Server):
    def held(self, *calls: int) -> AbstractContextManager[Gate]:
        """The next generation stands still at these U-Net calls until it is let go."""
        return closed(WebUI(self.url), *calls)

    def login(self, user: str, password: str) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        reply = session.post(f"{self.url}/login", data={"username": user, "password": password}, timeout=PATIENCE)
        assert reply.status_code == 200, reply.text
        return session

    def open(self, **wanted: Any) -> dict[str, str]:
        reply = requests.post(f"{self.url}/test/open", json=wanted, timeout=PATIENCE)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def census(self) -> dict[str, Any]:
        return requests.get(f"{self.url}/test/census", timeout=PATIENCE).json()

    def get(self, path: str, session: Any = requests, **more: Any) -> requests.Response:
        return session.get(f"{self.url}{PREFIX}/{path}", timeout=PATIENCE, **more)

    def txt2img(self, **request: Any) -> str:
        fields = {"prompt": "a green monster", "seed": 5, "steps": 12, "cfg_scale": 1, "width": 128, "height": 128}
        fields |= {"sampler_name": "Euler", **request}
        reply = requests.post(f"{self.url}/sdapi/v1/txt2img", json=fields, auth=API, timeout=PATIENCE)
        assert reply.status_code == 200, reply.text
        return reply.json()["images"][0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, extensions = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("extensions")
    shutil.copytree(ROOT / "tests/embedded/preview_extensions", extensions, dirs_exist_ok=True)
    gate = extensions / "gate" / "scripts"
    gate.mkdir(parents=True)
    shutil.copy(ROOT / "tests/e2e/faults/scripts/dd_gate.py", gate)
    logins = ("--gradio-auth", "alice:a,bob:b", "--api-auth", "user:secret", "--api-server-stop", "--threads", "1")
    with servers.serving(Server, folder, FLAVOUR, "--extensions", str(extensions), *logins) as running:
        running.txt2img(steps=1)  # Forge loads its checkpoint with the first image
        yield running


def test_a_page_sees_its_own(server: Server) -> None:
    opened = server.open(owner="alice")
    alice, bob = server.login("alice", "a"), server.login("bob", "b")
    told = server.get("newest", alice, headers={"X-DT-Key": opened["key"]}).json()["generations"]
    assert [x["id"] for x in told] == [opened["id"]]
    assert told[0]["decoder"] == {"name": "TAESD", "note": ""}
    picture = server.get(f"{opened['id']}/frames/3/1.jpg", alice)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert picture.headers["content-encoding"] == "identity"
    assert server.get("newest", bob, headers={"X-DT-Key": opened["key"]}).json() == {"generations": []}
    for path in ("", "/frames/3/1.jpg", "/frames/3/1.png", "/curve"):
        assert server.get(opened["id"] + path, bob).status_code == 404
        reply = server.get(opened["id"] + path)
        assert (reply.status_code, list(reply.json())) == (401, ["error"])
        assert "www-authenticate" not in reply.headers
        assert (
            server.get(opened["id"] + path, cookies={"access-token": "x", "access-token-unsecure": "x"}).status_code
            == 401
        )
        assert server.get(opened["id"] + path, auth=API).status_code == 404


def test_the_api_sees_its_own(server: Server) -> None:
    opened = server.open(is_api=True, key="", identifier=(own := new_secret()))
    assert opened["id"] == own
    assert server.get(own, auth=API).json()["state"] == "running"
    assert server.get(own, auth=("user", "wrong")).status_code == 401
    assert server.get(own).status_code == 401
    assert server.get(own, server.login("alice", "a")).status_code == 404
    stop = requests.post(f"{server.url}{PREFIX}/{own}/stop", json={"number": 2}, auth=API, timeout=PATIENCE)
    assert (stop.status_code, stop.json()) == (202, {})


@pytest.mark.parametrize(
    "path",
    [
        "/../../config.json",
        "/..%2f..%2fconfig.json",
        "/%2e%2e/%2e%2e/config.json",
        "/ID/frames/0/..%2f..%2f0.jpg",
        "/ID/frames/..%5c..%5c0/0.jpg",
        "/ID/frames/0/0.jpg%00.png",
        "/ID/../ID",
        "//ID",
        "/ID/",
        "/ID//frames/0/0.jpg",
        "/%00",
        "/%ff%fe",
        "/%F0%9F%91%BE",
        "/ID/frames/" + "9" * 4000 + "/0.jpg",
        "/ID/frames/%D9%A0/0.jpg",
        "/ID/frames/0/0.jpg?side=" + "9" * 4000,
        "/ID?since=%00",
        "/ID?since=1e9",
        "/ID/frames/0/0.jpg?kind=%F0%9F%91%BE",
        "/" + "A" * 8000,
        "/ID;x=y",
        "/id".upper() + "%20",
    ],
)
def test_tricks_with_paths(server: Server, path: str) -> None:
    opened = server.open(is_api=True, key="")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    token = base64.b64encode(b":".join(part.encode() for part in API)).decode()
    connection.request("GET", PREFIX + path.replace("ID", opened["id"]), headers={"Authorization": f"Basic {token}"})
    reply = connection.getresponse()
    body = reply.read()
    assert reply.status in (400, 404), (reply.status, body[:300])
    assert b"config" not in body
    assert str(server.log.parent).encode() not in body
    connection.close()


def test_polls_without_pause_do_the_generation_no_harm(server: Server) -> None:
    alone = server.txt2img()
    opened = server.open(owner="alice")
    alice = server.login("alice", "a")
    cookie = "; ".join(f"{x.name}={x.value}" for x in alice.cookies)
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def poll(count: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        mine: Counter[int] = Counter()
        for _ in range(count):
            headers = {"X-DT-Key": opened["key"], "Cookie": cookie}
            connection.request("GET", f"{PREFIX}/newest?since=4&of={opened['id']}", headers=headers)
            reply = connection.getresponse()
            reply.read()
            mine[reply.status] += 1
        connection.close()
        with lock:
            statuses.update(mine)

    threads = [threading.Thread(target=poll, args=(POLLS // 4,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    images = []
    while any(thread.is_alive() for thread in threads):
        images.append(server.txt2img())
    print(f"{POLLS} polls and {len(images)} images: {dict(statuses)}")
    assert sum(statuses.values()) == POLLS
    assert set(statuses) == {200, 429}
    assert images
    assert set(images) == {alone}
    assert server.txt2img() == alone


def test_full_size_waits_for_the_generation(server: Server) -> None:
    alone = server.txt2img()
    opened = server.open(owner="bob")
    bob, images = server.login("bob", "b"), []
    path = f"{opened['id']}/frames/1/0.png"
    thread = threading.Thread(target=lambda: images.append(server.txt2img()))
    with server.held(3) as gate:
        thread.start()
        gate.wait(3)
        first = server.get(path, bob)
        gate.open()
    last = eventually(lambda: server.get(path, bob))
    joined(thread)
    assert first.status_code == 202
    assert first.headers["retry-after"] == "1"
    assert (last.status_code, last.headers["content-type"]) == (200, "image/png")
    assert images == [alone]
    assert server.get(path, bob, headers={"If-None-Match": last.headers["etag"]}).status_code == 304


def test_reload_ui_leaves_one_set_of_routes_and_threads(server: Server) -> None:
    opened = server.open(owner="alice")
    alice = server.login("alice", "a")
    server.get(f"{opened['id']}/frames/0/0.jpg", alice)
    before = server.census()
    restart = requests.post(f"{server.url}/sdapi/v1/server-restart", auth=API, timeout=PATIENCE)
    assert restart.status_code == 200
    server.wait(lambda text: text.count("Startup time:") == 2)
    assert server.get(opened["id"], alice).status_code == 401
    again = server.login("alice", "a")
    assert server.get(opened["id"], again).json()["id"] == opened["id"]
    assert server.get(f"{opened['id']}/frames/1/0.jpg", again).status_code == 200
    after = server.census()
    assert after == before
    assert len(after["routes"]) == len(set(after["routes"])) > 5
    assert len(after["threads"]) == len(set(after["threads"])) == 2
