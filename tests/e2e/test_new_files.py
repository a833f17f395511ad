"""Files that come while the WebUI runs: offered under the names that the host gives them later, without its list."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_api import PREFIX
from tests.e2e.test_forms import file_of, lora_folder, placed, settings

NEW = "zz_dd_new"


def listed(webui: WebUI, path: Path) -> list[str]:
    """The names under which a file is offered."""
    entries = webui.get(f"{PREFIX}/models")
    return [entry["name"] for entry in entries if entry["file"] == path.name]


def told(infotext: str) -> list[str]:
    """What an infotext says of the distilled model's file."""
    said = [part.strip() for part in infotext.split(", ")]
    return [part for part in said if part.startswith(("DD distilled model:", "DD distilled model hash:"))]


@pytest.mark.parametrize("kind", ["checkpoint", "LoRA"])
def test_it_is_used_as_after_the_hosts_own_look(webui: WebUI, pair: Pair, kind: str) -> None:
    loras = lora_folder(webui)
    place, there, name = {
        "checkpoint": (file_of(webui, pair.base).parent, file_of(webui, pair.distilled), f"{NEW}.safetensors"),
        "LoRA": (loras, loras / f"{pair}_form_lora.safetensors", f"LoRA: {NEW}"),
    }[kind]
    known = settings(pair.distilled if kind == "checkpoint" else f"LoRA: {pair}_form_lora")
    with placed(webui, place / f"{NEW}.safetensors") as path:
        assert listed(webui, path) == []
        os.link(there, path)
        assert listed(webui, path) == [name]
        offered = {entry["name"]: entry for entry in webui.get(f"{PREFIX}/choices")["choices"]}
        assert offered[name]["file"] == path.name
        before = webui.generate(pair.base, settings(NEW)).must_work()
        assert before.same_as(webui.generate(pair.base, known))
        assert len(told(before.infotext)) == 2
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        webui.call("/sdapi/v1/refresh-loras", {})
        assert listed(webui, path) == [name]
        after = webui.generate(pair.base, settings(name)).must_work()
        assert told(after.infotext) == told(before.infotext)
        assert after.same_as(before)
    assert listed(webui, path) == []


def test_a_checkpoint_answers_to_what_an_older_infotext_calls_it(webui: WebUI, pair: Pair) -> None:
    """It was called a U-Net as long as the host had not listed it."""
    path = file_of(webui, pair.distilled)
    reply = webui.generate(pair.base, settings(f"U-Net: {path.name}")).must_work()
    assert reply.same_as(webui.generate(pair.base, settings(pair.distilled)))
