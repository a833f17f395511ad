"""A folder with files that are no models, or odd ones: each has its own sentence, all else is as without them."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_api import PREFIX, plan
from tests.e2e.test_forms import file_of, lora_folder
from tests.unit.test_bad_headers import ODD

# What the host's own list takes as a model. Names that UTF-8 has no bytes for are files on Linux alone.
ENDING = ".safetensors"


def rewritten(content: bytes, **header: Any) -> bytes:
    """A safetensors file with other entries in its header."""
    length = struct.unpack("<Q", content[:8])[0]
    changed = json.dumps({**json.loads(content[8 : 8 + length]), **header}).encode()
    return struct.pack("<Q", len(changed)) + changed + content[8 + length :]


def files(good: bytes) -> dict[str, tuple[bytes, bool]]:
    """Content by name, and whether it is a model after all."""
    other = {
        "null": (rewritten(good, __metadata__=None), True),
        "numbers": (rewritten(good, __metadata__={"ss_steps": 7}), False),
        "a list": (rewritten(good, __metadata__=["dmd2"]), False),
        "nested text": (rewritten(good, __metadata__={"ss_tag_frequency": "[" * 50_000}), True),
        "much text": (rewritten(good, __metadata__={"ss_tag_frequency": "x" * 2_000_000}), True),
        "one dimension": (save({"lora_unet_x.lora_up.weight": torch.ones(3)}), False),
        "keys of a terminal": (save({"\x1b[31mred\n.lora_A.weight": torch.ones(2, 2)}), False),
        "empty": (b"", False),
        "zeros": (bytes(1000), False),
        "text": (b"<!DOCTYPE html><html></html>" * 20, False),
    }
    odd = {name: (struct.pack("<Q", len(header)) + header + bytes(64), False) for name, header in ODD.items()}
    return {f"ddbad {name}": made for name, made in {**other, **odd}.items()}


@pytest.fixture(scope="module")
def folder(webui: WebUI, pair: Pair) -> Iterator[dict[str, bool]]:
    """The names of bad files among the checkpoints and among the LoRAs, and which of them are models."""
    models, loras = file_of(webui, pair.base).parent, lora_folder(webui)
    made: dict[Path, bool] = {}
    try:
        for place, good in ((models, file_of(webui, pair.distilled)), (loras, loras / f"{pair}_form_lora{ENDING}")):
            for name, (content, is_model) in files(good.read_bytes()).items():
                path = place / f"{name} {place.name}{ENDING}"
                path.write_bytes(content)
                made[path] = is_model
        look(webui)
        yield {path.stem: is_model for path, is_model in made.items()}
    finally:
        for path in made:
            path.unlink(missing_ok=True)
        look(webui)


def look(webui: WebUI) -> None:
    assert webui.call("/sdapi/v1/refresh-checkpoints", {})[0] == 200
    assert webui.call("/sdapi/v1/refresh-loras", {})[0] == 200


def test_every_file_is_listed_with_its_own_sentence(webui: WebUI, folder: dict[str, bool]) -> None:
    listed = {Path(model["file"]).stem: model for model in webui.get(f"{PREFIX}/models")}
    assert set(folder) <= set(listed)
    others = {name for name, model in listed.items() if name not in folder and model["family"] is None}
    assert not {name for name in others if not name.startswith("dd")}
    for name in folder:
        why = listed[name]["why"]
        assert why.isprintable()
        assert listed[name]["family"] is not None or (name in why and why.endswith("."))
    for name, is_model in folder.items():
        assert listed[name]["family"] is not None or not is_model


def test_good_files_make_the_images_they_made(webui: WebUI, pair: Pair, folder: dict[str, bool]) -> None:
    """Whose name comes after theirs in the list, too; and what has a null for metadata is a good one."""
    chosen = {"family": "custom", "switch_step": 2}
    good = webui.generate(pair.base, {**chosen, "distilled_model": pair.distilled}).must_work()
    fingerprint = webui.fingerprint()
    models = file_of(webui, pair.base).parent.name
    assert webui.generate(pair.base, {**chosen, "distilled_model": f"ddbad null {models}"}).same_as(good)
    assert webui.fingerprint() == fingerprint


def test_a_bad_file_is_refused_in_one_sentence(webui: WebUI, pair: Pair, folder: dict[str, bool]) -> None:
    """By the image as by the plan; nothing of the library's text stands in it."""
    webui.generate(pair.base).must_work()
    fingerprint = webui.fingerprint()
    for name, is_model in folder.items():
        status, told = plan(webui, {"distilled_model": name, "family": "custom"})
        assert status == (200 if is_model else 422), (name, told)
        if is_model:
            continue
        reply = webui.generate(pair.base, {"distilled_model": name, "family": "custom"})
        assert (reply.status, reply.sentence) == (422, told["detail"]), name
        assert reply.sentence.isprintable()
        assert name in reply.sentence
        assert not any(word in reply.sentence for word in ("Error", "__metadata__", "invalid", "Traceback"))
    assert webui.fingerprint() == fingerprint


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
@pytest.mark.once
def test_a_name_that_is_no_text(webui: WebUI, pair: Pair) -> None:
    good = file_of(webui, pair.distilled)
    path = good.with_name(os.fsdecode(b"ddbad \xff\xfe.safetensors"))
    try:
        path.hardlink_to(good)
    except OSError:
        pytest.skip("this file system wants UTF-8")
    try:
        known_to_host = webui.call("/sdapi/v1/refresh-checkpoints", {})[0] == 200  # A1111 1.10.1 fails at it, by itself
        assert webui.call(f"{PREFIX}/models")[0] == 200
        assert known_to_host or "DD_WEBUI_URL" in os.environ
        if known_to_host:
            webui.generate(pair.base, {"distilled_model": pair.distilled}).must_work()
    finally:
        path.unlink()
        look(webui)
