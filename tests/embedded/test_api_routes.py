"""The routes of the API in the process: whose they are, what they read, and what a host's failure becomes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from secrets import compare_digest
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from tests.embedded.conftest import Host
from tests.embedded.previews import load_model

PREFIX = "/diversity-distillation/v1"
PASSWORD = ("user", "secret")
BODY = {"args": [{"mode": "base"}], "request": {"steps": 4}}


def the_host() -> Any:
    """The adapter's of the flavour that runs."""
    from extension_core.hosts import choose

    chosen: Any = choose.choose()
    return chosen.host


def client_of(app: FastAPI) -> Any:
    from fastapi.testclient import TestClient

    from extension_core.hosts.common.http.settings_routes import add_routes

    add_routes(the_host(), app)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def client(host: Host) -> Any:
    load_model(host)
    return client_of(FastAPI())


def with_page_login(app: Any) -> Any:
    """The visitor is the cookie `who`."""
    app.auth = {"alice": "a"}

    @app.get("/user")
    def user(request: Request) -> str | None:
        return request.cookies.get("who")

    return app


def with_api_login(app: FastAPI) -> FastAPI:
    def guard(credentials: HTTPBasicCredentials = Depends(HTTPBasic())) -> bool:  # noqa: B008
        if compare_digest(credentials.username, PASSWORD[0]) and compare_digest(credentials.password, PASSWORD[1]):
            return True
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"})

    def progress() -> None: ...

    app.add_api_route("/sdapi/v1/progress", progress, dependencies=[Depends(guard)])
    return app


def statuses(client: Any, **more: Any) -> set[int]:
    replies = [client.get(f"{PREFIX}/{path}", **more) for path in ("schema", "models")]
    replies.append(client.post(f"{PREFIX}/plan", json=BODY, **more))
    for reply in replies:
        assert reply.status_code == 200 or list(reply.json()) == ["detail"]
    return {reply.status_code for reply in replies}


class TestLogins:
    def test_none_is_wanted(self, client: Any) -> None:
        assert statuses(client) == {200}
        assert statuses(client, auth=("any", "body")) == {200}

    def test_the_page_s(self, host: Host) -> None:
        load_model(host)
        client = client_of(with_page_login(FastAPI()))
        assert statuses(client) == {200}, "the API is open"

    def test_the_api_s(self, host: Host) -> None:
        load_model(host)
        client = client_of(with_api_login(FastAPI()))
        assert statuses(client, auth=PASSWORD) == {200}
        assert statuses(client) == {200}, "the page is open"
        assert statuses(client, auth=("user", "wrong")) == {401}

    def test_both(self, host: Host) -> None:
        load_model(host)
        client = client_of(with_api_login(with_page_login(FastAPI())))
        assert statuses(client) == {401}
        assert statuses(client, auth=PASSWORD) == {200}
        assert statuses(client, cookies={"who": "alice"}) == {200}
        assert statuses(client, cookies={"who": "alice"}, auth=("user", "wrong")) == {401}
        reply = client.get(f"{PREFIX}/schema")
        assert reply.headers["www-authenticate"] == "Basic"
        operation = client.get("/openapi.json").json()["paths"][f"{PREFIX}/schema"]["get"]
        assert operation["security"] == [{"HTTPBasic": []}]

    def test_without_a_login_no_password_is_told_of(self, client: Any) -> None:
        operation = client.get("/openapi.json").json()["paths"][f"{PREFIX}/schema"]["get"]
        assert "security" not in operation


class TestModels:
    @pytest.fixture
    def many(self, model_folder: Path) -> Iterator[Path]:
        """Twenty files more in the host's folder."""
        folder = model_folder / "many"
        folder.mkdir()
        for number in range(20):
            shutil.copyfile(model_folder / "second.safetensors", folder / f"model_{number}_lcm.safetensors")
        yield folder
        shutil.rmtree(folder)

    def test_headers_are_read_once(self, client: Any, many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from extension_core.hosts.common.http import listing

        read: list[Path] = []
        header = listing.header_of
        monkeypatch.setattr(listing, "header_of", lambda path, state: (read.append(path), header(path, state))[1])

        def lcm() -> int:
            models = client.get(f"{PREFIX}/models").json()
            return sum(model["family"] == "lcm" for model in models)

        assert lcm() == 20
        assert len(read) >= 20
        read.clear()
        assert lcm() == 20
        assert not read
        changed = many / "model_7_lcm.safetensors"
        changed.unlink()
        changed.write_bytes(b"no model")
        assert lcm() == 19
        assert read == [changed]

    def test_a_file_that_is_gone(self, client: Any, model_folder: Path, tmp_path: Path) -> None:
        """The host's list is that of the last time that it looked."""
        listed, away = model_folder / "second.safetensors", tmp_path / "second.safetensors"
        shutil.move(listed, away)
        try:
            models = {model["file"]: model for model in client.get(f"{PREFIX}/models").json()}
        finally:
            shutil.move(away, listed)
        assert models["second.safetensors"]["family"] is None
        assert "is missing" in models["second.safetensors"]["why"]
        assert len(models) > 1


class TestPlan:
    def test_no_checkpoint_is_loaded(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(the_host()), "is_loaded", lambda _self: False)
        reply = client.post(f"{PREFIX}/plan", json=BODY)
        assert reply.status_code == 409
        assert "generate an image first" in reply.json()["detail"]

    def test_a_host_that_fails_at_the_settings(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from extension_core.hosts.common.plan import passes

        def fails(*_args: Any) -> None:
            raise ZeroDivisionError("division by zero\nin a schedule")

        monkeypatch.setattr(passes, "host_levels", fails)
        reply = client.post(f"{PREFIX}/plan", json=BODY)
        assert reply.status_code == 422
        assert "fails at making noise levels of these settings (see log)" in reply.json()["detail"]

    def test_what_the_page_follows_can_be_asked(self) -> None:
        from extension_core.hosts.common.http.plan_request import REQUEST_FIELDS
        from extension_core.hosts.common.page.host_components import HOST_SETTINGS

        assert set(HOST_SETTINGS) <= {spec.name for spec in REQUEST_FIELDS}

    def test_the_defaults_are_the_hosts(self, host: Host) -> None:
        from modules.processing import StableDiffusionProcessingTxt2Img

        from extension_core.hosts.common.http.plan_request import Fields

        theirs, ours = StableDiffusionProcessingTxt2Img(), Fields()
        for name in ("steps", "width", "height", "batch_size", "enable_hr", "hr_second_pass_steps", "hr_scale"):
            assert getattr(theirs, name) == getattr(ours, name), name
