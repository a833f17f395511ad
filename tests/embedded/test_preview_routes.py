"""The routes of previews, in the process: answers, tags, whose is what, refusals, threads."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import compare_digest
from typing import Any

import numpy as np
import pytest
from fastapi import Request
from PIL import Image

from embedded.distill.export import EMBEDDED_PAIR
from tests.embedded.conftest import Host
from tests.embedded.previews import (
    PREFIX,
    client_of,
    eventually,
    host_decoding,
    load_model,
    new_secret,
    open_recording,
)
from tests.waiting import PATIENCE, joined, until

NOTHING = {"error": "There is no such preview; it may have expired."}


@pytest.fixture(scope="module")
def ready(session_host: Host) -> Iterator[Host]:
    from extension_core.hosts.common.preview.decoders import DECODERS

    load_model(session_host)
    DECODERS.use(host_decoding())
    folder = session_host.data / "models" / "VAE-taesd"
    shutil.copytree(EMBEDDED_PAIR / "VAE-taesd", folder, dirs_exist_ok=True)
    yield session_host
    (folder / "taesd_decoder.pth").unlink()


@pytest.fixture(autouse=True)
def store() -> Iterator[None]:
    """What tests leave running would push others' recordings out."""
    yield
    from extension_core.hosts.common.preview.recorded import STORE

    STORE._entries.clear()


@pytest.fixture
def client(host: Host, ready: Host) -> Any:
    from fastapi import FastAPI

    load_model(host)
    return client_of(FastAPI())


@pytest.fixture
def page(host: Host, ready: Host) -> Any:
    """An application with a page's login; the visitor is the cookie `who`."""
    from fastapi import FastAPI

    app: Any = FastAPI()
    app.auth = {"alice": "a", "bob": "b"}

    @app.get("/user")
    def user(request: Request) -> str | None:
        return request.cookies.get("who")

    load_model(host)
    return client_of(app)


def newest(client: Any, key: str, query: str = "", **headers: str) -> Any:
    return client.get(f"{PREFIX}/newest{query}", headers={"X-DT-Key": key, **headers})


def png(reply: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(reply.content)))


class TestPolls:
    def test_a_pages_newest_generation(self, client: Any) -> None:
        open_recording(key=(key := new_secret()))
        generation = open_recording(key=key)
        reply = newest(client, key)
        assert reply.status_code == 200
        (told,) = reply.json()["generations"]
        assert told["id"] == generation.id
        assert (told["state"], told["group"], told["role"], told["missing"]) == ("running", "", "", "")
        assert [frame["number"] for frame in told["frames"]] == told["kept"] == [0, 1, 2]
        assert told["cursor"] == 3
        assert told["stoppable"] is True
        assert told["decoder"] == {"name": "TAESD", "note": ""}
        assert told["frames"][1]["kinds"] == ["guided", "cond"]

    def test_nothing_is_sent_twice(self, client: Any) -> None:
        from tests.unit.trajectory import tag

        generation = open_recording(key=(key := new_secret()))
        query = f"?since=3&of={generation.id}"
        first = newest(client, key, query)
        assert first.json()["generations"][0]["frames"] == []
        same = newest(client, key, query, **{"If-None-Match": first.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        generation.recorder.add(tag(3), generation.recorder.frame(0).latents())
        new = newest(client, key, query, **{"If-None-Match": first.headers["etag"]})
        assert [frame["number"] for frame in new.json()["generations"][0]["frames"]] == [3]

    def test_every_change_has_another_tag(self, client: Any) -> None:
        from extension_core.trajectory.store import State

        generation = open_recording(key=(key := new_secret()))
        tags = [newest(client, key).headers["etag"]]
        generation.about.stop.ask(None)
        tags.append(newest(client, key).headers["etag"])
        generation.finish(State.INTERRUPTED, "It was stopped.")
        tags.append(newest(client, key).headers["etag"])
        assert len(set(tags)) == 3
        told = newest(client, key).json()["generations"][0]
        assert (told["state"], told["missing"], told["stoppable"]) == ("interrupted", "It was stopped.", False)

    def test_a_group_is_told_together_from_its_cursors(self, client: Any) -> None:
        key = new_secret()
        open_recording(key=key)
        roles = ("hybrid", "base", "distilled")
        group = [open_recording(key=key, group="g1", role=role) for role in roles]
        query = f"?since=2&of={group[0].id}&since=1&of={group[2].id}"
        told = newest(client, key, query).json()["generations"]
        assert [x["role"] for x in told] == list(roles)
        assert [len(x["frames"]) for x in told] == [1, 3, 2]
        assert {x["group"] for x in told} == {"g1"}

    def test_a_key_of_nobodys_has_nothing(self, client: Any) -> None:
        open_recording()
        for key in (new_secret(), "", "short", "é" * 32, "../" * 9):
            reply = client.get(f"{PREFIX}/newest", headers={"X-DT-Key": key.encode("latin-1")})
            assert (reply.status_code, reply.json()) == (200, {"generations": []})
        assert client.get(f"{PREFIX}/newest").json() == {"generations": []}

    def test_one_by_its_id(self, client: Any) -> None:
        generation = open_recording(is_api=True, key="", identifier=(own := new_secret()))
        told = client.get(f"{PREFIX}/{own}?since=2").json()
        assert (told["id"], len(told["frames"]), told["cursor"]) == (generation.id, 1, 3)
        reply = client.get(f"{PREFIX}/{own}")
        again = client.get(f"{PREFIX}/{own}", headers={"If-None-Match": reply.headers["etag"]})
        assert again.status_code == 304
        assert again.headers["etag"] == reply.headers["etag"]

    def test_headers_of_every_answer(self, client: Any) -> None:
        generation = open_recording()
        for path in (generation.id, f"{generation.id}/frames/0/0.jpg", f"{generation.id}/frames/0/0.gif", "none"):
            headers = client.get(f"{PREFIX}/{path}").headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cache-control"].startswith("private, ")
            assert headers["content-encoding"] == "identity"
            assert "www-authenticate" not in headers

    @pytest.mark.parametrize("since", ["-1", "x", "9" * 6000, "٣", "1.5", "", "1&since=" * 20 + "1"])
    def test_a_cursor_that_is_none(self, client: Any, since: str) -> None:
        generation = open_recording()
        reply = client.get(f"{PREFIX}/{generation.id}?since={since}")
        assert reply.status_code == 400
        assert "'since' is a number" in reply.json()["error"]


class TestPictures:
    @pytest.mark.parametrize(("ending", "form"), [("jpg", "JPEG"), ("webp", "WEBP")])
    def test_a_small_one(self, client: Any, ending: str, form: str) -> None:
        generation = open_recording()
        reply = client.get(f"{PREFIX}/{generation.id}/frames/1/1.{ending}?kind=cond&side=128")
        assert reply.status_code == 200
        assert reply.headers["cache-control"] == "private, max-age=3600, immutable"
        assert reply.headers["content-type"] == f"image/{form.lower()}"
        picture = Image.open(io.BytesIO(reply.content))
        assert (picture.format, picture.size) == (form, (64, 64))
        known = {"If-None-Match": f'W/"x", {reply.headers["etag"]}'}
        assert client.get(reply.url.path, params={"kind": "cond", "side": "128"}, headers=known).status_code == 304

    def test_it_is_decoded_once(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from extension_core.hosts.common.preview.decoders import Taesd

        calls = []
        decode = Taesd.__call__
        monkeypatch.setattr(Taesd, "__call__", lambda self, latent: (calls.append(1), decode(self, latent))[1])
        generation = open_recording()
        for _ in range(5):
            assert client.get(f"{PREFIX}/{generation.id}/frames/0/0.jpg").status_code == 200
        assert len(calls) == 1

    def test_full_size_is_the_hosts_own_decode(self, client: Any) -> None:
        import torch
        from modules import devices, processing, shared

        generation = open_recording()
        reply = eventually(lambda: client.get(f"{PREFIX}/{generation.id}/frames/2/1.png"))
        with torch.no_grad():
            batch = generation.recorder.frame(2).latents()[1:2].float().to(devices.device)
            own = processing.decode_latent_batch(shared.sd_model, batch, devices.cpu, check_for_nans=False)[0]
        own = torch.clamp((own.float() + 1.0) / 2.0, min=0.0, max=1.0)
        assert np.array_equal(png(reply), (255.0 * np.moveaxis(own.cpu().numpy(), 0, 2)).astype(np.uint8))
        assert reply.headers["content-type"] == "image/png"
        known = {"If-None-Match": reply.headers["etag"]}
        assert client.get(f"{PREFIX}/{generation.id}/frames/2/1.png", headers=known).status_code == 304

    def test_full_size_after_another_checkpoint(self, client: Any) -> None:
        generation = open_recording(vae=("gone", "/gone", ""))
        reply = client.get(f"{PREFIX}/{generation.id}/frames/0/0.png")
        assert reply.status_code == 409
        assert "made with 'gone'" in reply.json()["error"]

    def test_what_was_decoded_before_outlives_the_checkpoint(self, client: Any) -> None:
        generation = open_recording()
        path = f"{PREFIX}/{generation.id}/frames/0/0.png"
        before = eventually(lambda: client.get(path))
        generation.about.vae = ("gone", "/gone", "")
        assert client.get(path).content == before.content

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("frames/9/0.jpg", 404),
            ("frames/0/7.jpg", 404),
            ("frames/0/0.jpg?kind=uncond", 404),
            ("frames/0/0.png?kind=uncond", 404),
            ("frames/0/0.jpg?kind=none", 400),
            ("frames/0/0.jpg?side=300", 400),
            ("frames/0/0.jpg?side=-128", 400),
            ("frames/0/0.jpg?side=x", 400),
            ("frames/0/0.gif", 404),
            ("frames/-1/0.jpg", 404),
            ("frames/0/-1.jpg", 404),
            ("frames/0x0/0.jpg", 404),
            ("frames/٠/0.jpg", 404),
            ("frames/" + "9" * 5000 + "/0.jpg", 404),
            ("frames/0/" + "9" * 5000 + ".jpg", 404),
            ("frames/0/0.jpg%00", 404),
            ("frames/%00/0.jpg", 404),
            ("frames/0/..%2f0.jpg", 404),
            ("frames/0/%2e%2e%5c0.jpg", 404),
            ("frames/0", 404),
            ("frames", 404),
            ("curve?kind=other", 400),
            ("curve?kind=uncond", 404),
            ("stop", 404),
            ("save", 404),
        ],
    )
    def test_what_is_not_there_is_a_sentence(self, client: Any, path: str, status: int) -> None:
        generation = open_recording()
        reply = client.get(f"{PREFIX}/{generation.id}/{path}")
        assert reply.status_code == status
        assert reply.json()["error"].endswith((".", "."))

    def test_a_decoder_that_fails_is_replaced(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from extension_core.hosts.common.preview.decoders import DECODERS, Taesd

        def fails(_self: Any, _latent: Any) -> None:
            raise RuntimeError("the weights are gone")

        generation = open_recording(key=(key := new_secret()))
        with monkeypatch.context() as patch:
            patch.setattr(Taesd, "__call__", fails)
            reply = client.get(f"{PREFIX}/{generation.id}/frames/0/0.jpg")
        assert reply.status_code == 200
        assert Image.open(io.BytesIO(reply.content)).size == (8, 8)
        told = newest(client, key).json()["generations"][0]["decoder"]
        assert told["name"] == "approximate colours"
        assert told["note"].startswith("TAESD failed (the log says what went wrong), so colours are")
        DECODERS._rest.until = -1.0

    def test_a_vae_that_fails_is_a_sentence(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from modules import processing

        def fails(*_args: Any, **_more: Any) -> None:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB\nmore")

        generation = open_recording()
        monkeypatch.setattr(processing, "decode_latent_batch", fails)
        reply = eventually(lambda: client.get(f"{PREFIX}/{generation.id}/frames/0/0.png"), 503)
        assert "full VAE could not decode frame 0 (memory ran out)" in reply.json()["error"]

    def test_full_size_waits_for_the_running_image(self, host: Host, client: Any, on: Any) -> None:
        from modules import call_queue

        alone = host.txt2img(steps=4, seed=7)
        generation = open_recording()
        path = f"{PREFIX}/{generation.id}/frames/0/0.png"
        running, asked = threading.Event(), threading.Event()

        @on("process")
        def hold(*_args: Any) -> None:
            running.set()
            assert asked.wait(PATIENCE)

        images: list[Any] = []
        thread = threading.Thread(target=lambda: images.append(host.txt2img(steps=4, seed=7)))
        thread.start()
        assert running.wait(PATIENCE)
        try:
            replies = [client.get(path) for _ in range(2)]
            small = client.get(f"{PREFIX}/{generation.id}/frames/0/0.jpg")
        finally:
            asked.set()
        joined(thread)
        assert [reply.status_code for reply in replies] == [202, 202]
        assert "as soon as nothing is generated" in replies[0].json()["wait"]
        assert small.status_code == 200
        assert eventually(lambda: client.get(path)).headers["content-type"] == "image/png"
        assert images[0].equals(alone)
        assert images[0].infotext == alone.infotext
        with call_queue.queue_lock:
            pass

    def test_no_memory_to_decode_costs_no_image(
        self, host: Host, client: Any, on: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from modules import processing

        from extension_core.hosts.common.preview.decoders import DECODERS, Taesd

        def no_memory(*_args: Any, **_more: Any) -> Any:
            raise MemoryError("can't allocate memory")

        alone = host.txt2img(steps=4, seed=8)
        generation = open_recording()
        running, asked = threading.Event(), threading.Event()

        @on("process_before_every_sampling")
        def hold(*_args: Any) -> None:
            running.set()
            assert asked.wait(PATIENCE)

        images: list[Any] = []
        thread = threading.Thread(target=lambda: images.append(host.txt2img(steps=4, seed=8)))
        thread.start()
        assert running.wait(PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(Taesd, "__call__", no_memory)
            small = client.get(f"{PREFIX}/{generation.id}/frames/0/0.jpg")
            assert client.get(f"{PREFIX}/{generation.id}/frames/0/0.png").status_code == 202
            asked.set()
            joined(thread)
        monkeypatch.setattr(processing, "decode_latent_batch", no_memory)
        other = f"{PREFIX}/{generation.id}/frames/1/0.png"
        assert eventually(lambda: client.get(other), 503).json()["error"].startswith("full VAE could not decode")
        DECODERS._rest.until = -1.0
        assert (small.status_code, Image.open(io.BytesIO(small.content)).size) == (200, (8, 8))
        assert images[0].equals(alone)


class TestCurve:
    def test_distances_to_the_last_frame(self, client: Any) -> None:
        generation = open_recording(frames=4)
        told = eventually(lambda: client.get(f"{PREFIX}/{generation.id}/curve"))
        (section,) = told.json()["sections"]
        assert (section["title"], section["frames"]) == ("first pass", [0, 1, 2, 3])
        assert len(section["lines"]) == 2
        assert all(line[3] == 0 < line[0] for line in section["lines"])
        assert told.json()["measure"]
        known = {"If-None-Match": told.headers["etag"]}
        assert client.get(f"{PREFIX}/{generation.id}/curve", headers=known).status_code == 304

    def test_of_the_conditional_prediction_alone(self, client: Any) -> None:
        generation = open_recording(frames=4)
        told = eventually(lambda: client.get(f"{PREFIX}/{generation.id}/curve?kind=cond")).json()
        assert told["sections"][0]["frames"] == [1, 2, 3]

    def test_it_grows_while_the_generation_runs(self, client: Any) -> None:
        from tests.unit.trajectory import tag

        generation = open_recording(frames=2)
        first = eventually(lambda: client.get(f"{PREFIX}/{generation.id}/curve"))
        generation.recorder.add(tag(2), generation.recorder.frame(0).latents())
        known = {"If-None-Match": first.headers["etag"]}
        told = eventually(lambda: client.get(f"{PREFIX}/{generation.id}/curve", headers=known)).json()
        assert told["sections"][0]["frames"] == [0, 1, 2]

    def test_pictures_go_before_it(self, client: Any) -> None:
        from extension_core.hosts.common.preview.workers import LATER, SOON, Worker

        worker, order = Worker("test", 10), []
        begun, go_on = threading.Event(), threading.Event()

        def long() -> None:
            begun.set()
            assert go_on.wait(PATIENCE)
            worker.give_way()
            order.append("long")

        jobs = [worker.submit(long, LATER)]
        assert begun.wait(PATIENCE)
        jobs += [worker.submit(lambda: order.append("later"), LATER), worker.submit(lambda: order.append("soon"), SOON)]
        go_on.set()
        for job in jobs:
            job.result(PATIENCE)
        assert order == ["soon", "long", "later"]


class TestWishes:
    def test_stop_at_a_frame(self, client: Any) -> None:
        generation = open_recording(key=(key := new_secret()))
        reply = client.post(f"{PREFIX}/{generation.id}/stop", json={"number": 1})
        assert (reply.status_code, reply.json()) == (202, {})
        assert (generation.about.stop.asked, generation.about.stop.number) == (True, 1)
        assert newest(client, key).json()["generations"][0]["stoppable"] is False

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"number": null}'])
    def test_stop_at_the_newest(self, client: Any, body: bytes) -> None:
        generation = open_recording()
        assert client.post(f"{PREFIX}/{generation.id}/stop", content=body).status_code == 202
        assert (generation.about.stop.asked, generation.about.stop.number) == (True, None)

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b'{"number": 99}', 409),
            (b'{"number": -1}', 400),
            (b'{"number": true}', 400),
            (b'{"number": 1.0}', 400),
            (b'{"number": "1"}', 400),
            (b'{"number": 1' + b"0" * 900 + b"}", 400),
            (b"[]", 400),
            (b"null", 400),
            (b"{", 400),
            (b"\xff\xfe\x00", 400),
            (b"[" * 999, 400),
            (b" " * 100_000, 413),
        ],
    )
    def test_a_wish_that_is_none(self, client: Any, body: bytes, status: int) -> None:
        generation = open_recording()
        reply = client.post(f"{PREFIX}/{generation.id}/stop", content=body)
        assert reply.status_code == status
        assert reply.json()["error"]
        assert not generation.about.stop.asked

    def test_what_has_ended_cannot_be_stopped(self, client: Any) -> None:
        from extension_core.trajectory.store import State

        generation = open_recording()
        generation.finish(State.DONE)
        reply = client.post(f"{PREFIX}/{generation.id}/stop", json={})
        assert (reply.status_code, reply.json()["error"][:24]) == (409, "The generation has ended")

    def test_save(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from extension_core.hosts.common.preview import frame_routes
        from extension_core.trajectory.store import State

        saved: list[Any] = []
        asked_again = threading.Event()

        def save_later(generation: Any, decoder: Any) -> list[str]:
            assert decoder.name == "TAESD"
            saved.append(generation)
            assert asked_again.wait(PATIENCE)
            return ["00001-1-dt.png", "00001-1-dt.webp"]

        monkeypatch.setattr(frame_routes.output, "save_later", save_later)
        generation = open_recording()
        path = f"{PREFIX}/{generation.id}/save"
        assert client.post(path).status_code == 409
        generation.finish(State.DONE)
        assert client.post(path).status_code == 202
        asked_again.set()
        reply = eventually(lambda: client.post(path))
        assert reply.json() == {"files": ["00001-1-dt.png", "00001-1-dt.webp"]}
        assert saved == [generation]

    def test_a_full_disk(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from extension_core.hosts.common.preview import frame_routes
        from extension_core.trajectory.store import State

        def save_later(_generation: Any, _decoder: Any) -> list[str]:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(frame_routes.output, "save_later", save_later)
        generation = open_recording()
        generation.finish(State.DONE)
        reply = eventually(lambda: client.post(f"{PREFIX}/{generation.id}/save"), 503)
        assert "No space left on device" in reply.json()["error"]


def _everything(client: Any, identifier: str, **more: Any) -> list[tuple[int, Any]]:
    gets = ["", "/frames/0/0.jpg", "/frames/0/0.png", "/curve"]
    replies = [client.get(f"{PREFIX}/{identifier}{path}", **more) for path in gets]
    replies += [client.post(f"{PREFIX}/{identifier}{path}", json={}, **more) for path in ("/stop", "/save")]
    return [(reply.status_code, reply.json() if "json" in reply.headers["content-type"] else None) for reply in replies]


class TestWhose:
    def test_wrong_expired_and_other_kinds_of_ids_are_the_same(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from extension_core.hosts.common.preview.recorded import STORE

        expired = open_recording()
        assert STORE.find(expired.id, "") is expired
        now = STORE._clock()
        with monkeypatch.context() as patch:
            patch.setattr(STORE, "_clock", lambda: now + STORE._expiry.seconds + 1)
            assert STORE.find(expired.id, "") is None
        foreign = open_recording(owner="alice")
        key = open_recording().key
        for identifier in (new_secret(), expired.id, foreign.id, key, "short", "x" * 32, "é" * 32, "newest "):
            assert set(map(repr, _everything(client, identifier))) == {repr((404, NOTHING))}

    def test_another_users(self, page: Any) -> None:
        hers = open_recording(owner="alice", key=(key := new_secret()))
        alice, bob = {"cookies": {"who": "alice"}}, {"cookies": {"who": "bob"}}
        assert page.get(f"{PREFIX}/{hers.id}", **alice).json()["id"] == hers.id
        assert set(map(repr, _everything(page, hers.id, **bob))) == {repr((404, NOTHING))}
        headers = {"X-DT-Key": key}
        assert len(page.get(f"{PREFIX}/newest", headers=headers, **alice).json()["generations"]) == 1
        assert page.get(f"{PREFIX}/newest", headers=headers, **bob).json() == {"generations": []}
        assert not hers.about.stop.asked

    def test_nobody_is_told_nothing_of_pages(self, page: Any) -> None:
        hers = open_recording(owner="alice", key=(key := new_secret()))
        without = open_recording(key=key)
        for identifier in (hers.id, without.id, new_secret()):
            assert set(map(repr, _everything(page, identifier))) == {repr((404, NOTHING))}
        assert page.get(f"{PREFIX}/newest", headers={"X-DT-Key": key}).json() == {"generations": []}

    def test_the_apis_by_their_id_alone_where_the_api_is_open(self, page: Any) -> None:
        generation = open_recording(is_api=True, key="")
        assert page.get(f"{PREFIX}/{generation.id}").status_code == 200

    def test_a_page_never_sees_the_apis_by_key(self, client: Any) -> None:
        open_recording(is_api=True, key=(key := new_secret()))
        assert newest(client, key).json() == {"generations": []}


class TestApiPassword:
    @pytest.fixture
    def guarded(self, host: Host, ready: Host, monkeypatch: pytest.MonkeyPatch) -> Any:
        from fastapi import Depends, FastAPI, HTTPException
        from fastapi.security import HTTPBasic
        from modules import shared

        def auth(credentials=Depends(HTTPBasic())) -> bool:  # noqa: B008
            if credentials.username == "user" and compare_digest(credentials.password, "secret"):
                return True
            raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})

        def progress() -> None: ...

        app = FastAPI()
        app.add_api_route("/sdapi/v1/progress", progress, dependencies=[Depends(auth)])
        monkeypatch.setattr(shared.cmd_opts, "api_auth", "user:secret")
        load_model(host)
        return client_of(app)

    def test_it_is_asked_for(self, guarded: Any) -> None:
        generation = open_recording(is_api=True, key="")
        path = f"{PREFIX}/{generation.id}"
        assert guarded.get(path, auth=("user", "secret")).status_code == 200
        assert guarded.get(path).json() == NOTHING
        for wrong in (("user", "wrong"), ("nobody", "secret"), ("user", "gehéim"), ("", "")):
            reply = guarded.get(path, auth=wrong)
            assert reply.status_code == 401
            assert "www-authenticate" not in reply.headers

    @pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic aGk=", "Bearer x", "Basic " + "A" * 5000])
    def test_headers_that_are_no_password(self, guarded: Any, header: str) -> None:
        generation = open_recording(is_api=True, key="")
        reply = guarded.get(f"{PREFIX}/{generation.id}", headers={"Authorization": header})
        assert reply.status_code == 401

    def test_pages_need_none(self, guarded: Any) -> None:
        generation = open_recording()
        assert guarded.get(f"{PREFIX}/{generation.id}").status_code == 200

    def test_neither_login_is_one_refusal(self, host: Host, ready: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        from fastapi import FastAPI
        from modules import shared

        app: Any = FastAPI()
        app.auth = {"alice": "a"}
        monkeypatch.setattr(shared.cmd_opts, "api_auth", "user:secret")
        client = client_of(app)
        for identifier in (open_recording().id, open_recording(is_api=True, key="").id, new_secret()):
            assert {status for status, _ in _everything(client, identifier)} == {401}


class TestRates:
    def test_polls_without_pause_are_turned_away(self, client: Any) -> None:
        generation = open_recording(key=(key := new_secret()))
        other = open_recording()
        statuses = [newest(client, key).status_code for _ in range(120)]
        assert statuses[:40] == [200] * 40
        assert 429 in statuses
        assert set(statuses) == {200, 429}
        refused = next(reply for reply in iter(lambda: newest(client, key), None) if reply.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"].startswith("This preview is asked for too often")
        assert client.get(f"{PREFIX}/{other.id}").status_code == 200
        assert client.get(f"{PREFIX}/{generation.id}/frames/0/0.jpg").status_code == 200

    def test_buckets_fill_again_and_go_with_their_generation(self) -> None:
        import gc

        from extension_core.hosts.common.preview.access import Rate
        from tests.unit.trajectory import Clock

        clock = Clock()
        rate, generation = Rate(2, 1, clock), SimpleNamespaceWeak()
        assert [rate.allows(generation) for _ in range(3)] == [True, True, False]  # type: ignore[arg-type]
        clock.now += 1
        assert [rate.allows(generation) for _ in range(2)] == [True, False]  # type: ignore[arg-type]
        del generation
        gc.collect()
        assert len(rate._left) == 0

    def test_more_than_a_thread_gets_to(self) -> None:
        from extension_core.hosts.common.preview.workers import Busy, Worker

        worker, go_on = Worker("test", 2), threading.Event()
        first = worker.submit(lambda: go_on.wait(PATIENCE))
        until(first.running, "the first job")
        waiting = [worker.submit(lambda: None) for _ in range(2)]
        with pytest.raises(Busy):
            worker.submit(lambda: None)
        waiting[0].cancel()
        go_on.set()
        assert waiting[1].result(PATIENCE) is None

    def test_an_answer_that_nobody_fetches_is_forgotten(self) -> None:
        from extension_core.hosts.common.preview.workers import Once, Worker
        from tests.unit.trajectory import Clock

        clock, made = Clock(), []
        once: Any = Once(Worker("test", 9), 60, clock)
        make: Callable[[], None] = lambda: made.append(1)  # noqa: E731
        once.ask("a", make).result(PATIENCE)
        once.ask("a", make).result(PATIENCE)
        assert len(made) == 1
        clock.now += 61
        once.ask("a", make).result(PATIENCE)
        assert len(made) == 2


class SimpleNamespaceWeak:
    """Something that can be referred to weakly."""


def test_threads_are_made_once(client: Any) -> None:
    from fastapi import FastAPI

    for _ in range(3):
        again = client_of(FastAPI())
        generation = open_recording()
        assert again.get(f"{PREFIX}/{generation.id}/frames/0/0.jpg").status_code == 200
        eventually(lambda again=again, generation=generation: again.get(f"{PREFIX}/{generation.id}/frames/0/0.png"))
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("diversity-distillation")]
    assert sorted(names) == ["diversity-distillation full size", "diversity-distillation pictures"]
    assert all(thread.daemon for thread in threading.enumerate() if thread.name in names)


def test_files_of_the_routes_hold_no_path(client: Any, ready: Host) -> None:
    generation = open_recording(key=(key := new_secret()))
    told = newest(client, key).text + client.get(f"{PREFIX}/{generation.id}/frames/9/0.png").text
    assert str(ready.data) not in told
    assert str(Path(EMBEDDED_PAIR)) not in told
