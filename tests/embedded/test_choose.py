"""Which adapter a host gets, told by what it has; hosts that none fits get one sentence, on page and API."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException

from extension_core.hosts import choose
from tests.embedded.conftest import FLAVOUR, Host


def refused_with(chosen: Any) -> str:
    p: Any = SimpleNamespace()
    chosen.begin(p, [True])
    with pytest.raises(HTTPException) as refusal:
        p.sample()
    assert refusal.value.status_code == 422
    return str(refusal.value.detail)


def test_this_host_is_known(host: Host) -> None:
    chosen: Any = choose.choose()
    assert type(chosen).__name__ == "Extension"
    assert type(chosen.host).__name__ == {"a1111": "A1111", "forge": "Forge"}[FLAVOUR]


def test_a_fork_with_another_backend_is_told_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "has_module", {"backend": False, "modules_forge": True}.get)
    assert "this fork of Forge has another backend" in refused_with(choose.choose())


def test_a_host_that_lacks_names_is_told_which(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import sd_samplers_common

    monkeypatch.delattr(sd_samplers_common, "setup_img2img_steps")
    sentence = refused_with(choose.choose())
    assert "this host lacks modules.sd_samplers_common.setup_img2img_steps: update it" in sentence


def test_unticked_on_an_unknown_host_nothing_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "has_module", {"backend": False, "modules_forge": True}.get)
    p: Any = SimpleNamespace()
    choose.choose().begin(p, [False])
    assert not hasattr(p, "sample")


def test_the_panel_of_an_unknown_host_says_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio as gr

    monkeypatch.setattr(choose, "has_module", {"backend": False, "modules_forge": True}.get)
    script: Any = SimpleNamespace(elem_id=lambda name: name)
    with gr.Blocks() as page:
        inputs = choose.choose().build_panel(script, {})
    assert len(inputs) == 1
    assert any("another backend" in str(getattr(block, "value", "")) for block in page.blocks.values())


def test_names_are_looked_up_in_modules_that_may_be_missing() -> None:
    from extension_core.hosts.common.capabilities import lacking

    names = [("no_such_package.part", "name"), ("os", "path.join"), ("os", "path.no_such")]
    assert list(lacking(names, ())) == ["no_such_package.part.name", "os.path.no_such"]
