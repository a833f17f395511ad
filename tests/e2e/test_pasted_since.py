"""An infotext pasted after its file got another name, another content, or went away: the same image, or why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.e2e.client import NEUTRAL, TITLE, Pair, Reply, WebUI, png_base64
from tests.e2e.test_api import plan
from tests.e2e.test_forms import file_of, lora_folder
from tests.e2e.test_infotext import parameters, pasted

HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

# Settings, name of the file then, name of it now, what the paste adds.
RENAMED: dict[str, tuple[dict[str, Any], str, str, tuple[str, ...]]] = {
    "DMD2": ({}, "ddrn_dmd2_4step", "ddrn_plain", ("DD family: dmd2",)),
    "a name that tells a family": ({"switch_step": 2}, "ddrn_plain", "ddrn_sdxl_turbo", ("DD family: custom",)),
    "another family": ({"mode": "distilled"}, "ddrn_lightning_2step", "ddrn_lcm", ("DD family: lightning",)),
    "one step of DMD2": (
        {"mode": "distilled"},
        "ddrn_dmd2_1step",
        "ddrn_plain",
        ("DD family: dmd2", "DD file steps: 1"),
    ),
    "one step of Hyper-SD": (
        {"mode": "distilled"},
        "ddrn_hyper-sd_1step",
        "ddrn_hyper-sd_8steps",
        ("DD file steps: 1",),
    ),
    "another step count": ({}, "ddrn_lightning_2step", "ddrn_lightning_8step", ("DD file steps: 2",)),
    "a family that was named": (
        {"family": "dmd2", "mode": "distilled"},
        "ddrn_1step",
        "ddrn_plain",
        ("DD file steps: 1",),
    ),
    "a name that says the same": ({}, "ddrn_dmd2_4step", "ddrn_other_dmd2_4step", ()),
}


class Folder:
    """Copies of a checkpoint, each with a content of its own, under names that come and go."""

    def __init__(self, webui: WebUI, source: Path) -> None:
        self.webui, self.source, self.made = webui, source, set[Path]()

    def holds(self, name: str, told: str = "this one") -> Path:
        path = self.source.with_name(f"{name}.safetensors")
        save_file(load_file(self.source), path, metadata={"modelspec.license": told})
        self.made.add(path)
        self.look()
        return path

    def rename(self, path: Path, name: str) -> None:
        self.made.add(path.with_name(f"{name}.safetensors"))
        path.rename(path.with_name(f"{name}.safetensors"))
        self.look()

    def look(self) -> None:
        self.webui.call("/sdapi/v1/refresh-checkpoints", {})

    def clear(self) -> None:
        for path in self.made:
            path.unlink(missing_ok=True)
        self.look()


@pytest.fixture
def folder(webui: WebUI, pair: Pair) -> Iterator[Folder]:
    made = Folder(webui, file_of(webui, pair.distilled))
    yield made
    made.clear()


def only_added(text: str, before: str) -> list[str]:
    """Entries of an infotext that another one has not."""
    return [entry for entry in text.split(", ") if entry not in before.split(", ")]


@pytest.mark.parametrize("case", RENAMED)
def test_a_renamed_file_makes_the_same_image(webui: WebUI, pair: Pair, folder: Folder, case: str) -> None:
    settings, then, now, added = RENAMED[case]
    path = folder.holds(then)
    made = webui.generate(pair.base, {"distilled_model": then, **settings}, steps=6).must_work()
    text = parameters(made)
    folder.rename(path, now)
    webui.generate(pair.base, {"distilled_model": now, "mode": "distilled"}).must_work()  # so that its hash is known
    again = pasted(webui, pair, text)
    assert again.same_as(made)
    assert "DD note" not in again.infotext
    other_words = ("DD distilled model", "DD run as")  # the new name, and what it says
    differing = [entry for entry in only_added(again.infotext, text) if not entry.startswith(other_words)]
    assert sorted(differing) == sorted(added)
    once_more = pasted(webui, pair, parameters(again))
    assert once_more.same_as(made)
    assert once_more.infotext == again.infotext


def test_another_file_under_the_old_name_is_told(webui: WebUI, pair: Pair, folder: Folder) -> None:
    path = folder.holds("ddrn_plain")
    made = webui.generate(pair.base, {"distilled_model": "ddrn_plain"}).must_work()
    assert "DD note" not in pasted(webui, pair, parameters(made)).infotext
    path.unlink()
    folder.holds("ddrn_plain", "another")
    again = pasted(webui, pair, parameters(made)).must_work()
    wanted, found = (reply.infotext.split("DD distilled model hash: ")[1][:10] for reply in (made, again))
    assert wanted != found
    told = f"'ddrn_plain.safetensors' was asked for with the hash {wanted}, and the file of that name has {found}"
    assert told in again.infotext
    status, planned = plan(webui, {"distilled_model": f"ddrn_plain.safetensors [{wanted}]"})
    assert status == 200
    assert any(told in note for note in planned["notes"])
    status, planned = plan(webui, {"distilled_model": f"ddrn_plain.safetensors [{found}]"})
    assert not any("was asked for" in note for note in planned["notes"])


def test_a_family_of_another_version_is_refused(webui: WebUI, pair: Pair) -> None:
    """In its place another image would come out."""
    made = webui.generate(pair.base, {"distilled_model": pair.distilled, "family": "lcm"}).must_work()
    reply = pasted(webui, pair, parameters(made).replace("DD family: lcm", "DD family: newest"))
    assert reply.status == 422
    assert "family of Diversity Distillation is 'newest'; it must be one of auto" in reply.sentence


@pytest.mark.parametrize("tab", ["txt2img", "img2img"])
def test_what_another_version_has_written_is_told(webui: WebUI, pair: Pair, tab: str) -> None:
    """Keys and values that this one does not know; a request has no page to say it on, so its image's infotext does."""
    made = webui.generate(pair.base, {"distilled_model": pair.distilled, "family": "lcm"}).must_work()
    text = re.sub(
        r"DD version: [^,\n]+", "DD version: 9.9.9, DD newest: 3, DD size: 2x3, DD base CFG: high", made.infotext
    )
    picture = {"init_images": [png_base64(made.images[0])]} if tab == "img2img" else {}

    def sent(infotext: str, **more: Any) -> Reply:
        overrides = {**NEUTRAL, "sd_model_checkpoint": pair.base}
        request = {"infotext": infotext, "override_settings": overrides, "styles": [], **picture, **more}
        return webui.read(*webui.call(f"/sdapi/v1/{tab}", request)).must_work()

    as_it_was, reply = sent(made.infotext), sent(text)
    assert reply.same_as(as_it_was)
    assert "DD note" not in as_it_was.infotext
    told = "written by version 9.9.9 of this extension and holds DD newest, DD size, DD base CFG 'high', which this one"
    assert told in reply.infotext.split("DD note: ")[1]
    own = [{"distilled_model": pair.distilled, "family": "lcm"}]
    assert "DD note" not in sent(text, alwayson_scripts={TITLE: {"args": own}}).infotext
    assert told in sent(text, alwayson_scripts={TITLE: {"args": [True]}}).infotext


def test_what_was_asked_stands_beside_what_ran(webui: WebUI, pair: Pair, folder: Folder) -> None:
    folder.holds("ddrn_sdxl_turbo")
    asked = {"sampler_name": "DPM++ SDE", "scheduler": "Karras", "steps": 20, "cfg_scale": 7}
    reply = webui.generate(pair.base, {"distilled_model": "ddrn_sdxl_turbo"}, **asked).must_work()
    assert "Steps: 4, Sampler: Euler a, Schedule type: Automatic, CFG scale: 1" in reply.infotext
    assert 'DD asked: "Sampler DPM++ SDE, Schedule type Karras, Steps 20, CFG scale 7"' in reply.infotext
    assert "DD run as: turbo," in reply.infotext
    as_it_ran = {"sampler_name": "Euler a", "scheduler": "Automatic", "steps": 4, "cfg_scale": 1}
    same = webui.generate(pair.base, {"distilled_model": "ddrn_sdxl_turbo"}, **as_it_ran)
    assert same.same_as(reply)
    assert "DD asked" not in same.infotext


def test_the_steps_of_a_file_can_be_said(webui: WebUI, pair: Pair) -> None:
    """As its name would say them."""
    settings = {"distilled_model": pair.distilled, "family": "dmd2", "file_steps": 1}
    status, told = plan(webui, {**settings, "mode": "distilled"}, steps=20)
    assert status == 200
    assert told["line"].startswith("distilled 399 -> 0")
    status, told = plan(webui, settings)
    assert status == 422
    assert "is a DMD2 model for one step" in told["detail"]
    status, told = plan(webui, {**settings, "file_steps": 2})
    assert told["steps"] == 2


NOWHERE = ("turbo", "o", "a", "lcm", "monsters", "not here since [0123456789]", "ddrn/nothing.safetensors")


def named_in_infotext(webui: WebUI, pair: Pair, name: str, key: str) -> Reply:
    text = "a cat\nSteps: 4, Sampler: Euler, CFG scale: 1, Seed: 1, Size: 64x64, DD mode: hybrid, "
    models = {"DD distilled model": pair.distilled, key: name}
    text += ", ".join(f"{each}: {model}" for each, model in models.items())
    return pasted(webui, pair, text + (", DD distilled model hash: fedcba9876" if key.endswith("model") else ""))


def named_by_settings(webui: WebUI, pair: Pair, name: str, key: str) -> Reply:
    option = key.removeprefix("DD ").replace(" ", "_")
    return webui.generate(pair.base, {"distilled_model": pair.distilled, option: name})


@pytest.mark.parametrize("ask", [named_by_settings, named_in_infotext])
@pytest.mark.parametrize("key", ["DD distilled model", "DD carry from"])
@pytest.mark.parametrize("name", NOWHERE)
def test_a_name_that_nothing_has_is_refused_with_the_nearest(
    webui: WebUI, pair: Pair, ask: Callable[..., Reply], key: str, name: str
) -> None:
    """Files contain those letters, and the loaded base is one of them."""
    reply = ask(webui, pair, name, key)
    assert reply.status == 422, reply.sentence
    assert f"'{name}' is not among the host's checkpoints, U-Nets and LoRAs; the nearest is '" in reply.sentence
    assert reply.sentence.count(".") - reply.sentence.count(".safetensors") - name.count(".") <= 3


def write_lora(source: Path, path: Path, factor: float, **metadata: str) -> Path:
    save_file({key: factor * tensor for key, tensor in load_file(source).items()}, path, metadata=metadata)
    return path


@pytest.mark.parametrize("stated", ["0123456789abcdef" * 4, "0x" + "fedcba98" * 8], ids=["plain", "with 0x"])
def test_a_lora_that_states_a_hash_of_its_own_is_found_by_it(webui: WebUI, pair: Pair, stated: str) -> None:
    """As trainers write it: of the tensors, of the file, or anything."""
    loras = lora_folder(webui)
    source = loras / f"{pair}_form_lora.safetensors"
    path = write_lora(source, loras / "ddrn_dmd2_lora.safetensors", 1.5, sshs_model_hash=stated)
    now = path.with_name("ddrn_style.safetensors")
    try:
        webui.call("/sdapi/v1/refresh-loras", {})
        made = webui.generate(pair.base, {"distilled_model": "ddrn_dmd2_lora"}, steps=6).must_work()
        path.rename(now)
        webui.call("/sdapi/v1/refresh-loras", {})
        again = pasted(webui, pair, parameters(made))
        assert again.same_as(made)
        assert "DD family: dmd2" in again.infotext
    finally:
        path.unlink(missing_ok=True), now.unlink(missing_ok=True)
        webui.call("/sdapi/v1/refresh-loras", {})


@pytest.mark.parametrize("shared", [HASH_OF_NOTHING, "89abcdef" * 8], ids=["of nothing", "of three"])
def test_a_hash_that_proves_nothing_finds_no_lora(webui: WebUI, pair: Pair, shared: str) -> None:
    """A trainer's files all state one: the one that is gone is refused, the other is never taken in its place."""
    loras = lora_folder(webui)
    source = loras / f"{pair}_form_lora.safetensors"
    names = [f"ddrn_style_{number}" for number in range(3)]
    paths = [
        write_lora(source, loras / f"{name}.safetensors", 1 + number, sshs_model_hash=shared)
        for number, name in enumerate(names)
    ]
    try:
        webui.call("/sdapi/v1/refresh-loras", {})
        made = webui.generate(pair.base, {"distilled_model": names[0]}).must_work()
        assert f"DD distilled model hash: {shared[:12]}" in made.infotext
        again = pasted(webui, pair, parameters(made))
        assert again.same_as(made)
        paths[0].unlink()
        if shared == HASH_OF_NOTHING:
            paths[2].unlink()  # the last that states it is no better
        webui.call("/sdapi/v1/refresh-loras", {})
        reply = pasted(webui, pair, parameters(made))
        assert reply.status == 422, reply.infotext
        assert f"'LoRA: {names[0]}' is not among the host's checkpoints, U-Nets and LoRAs; the nearest is" in (
            reply.sentence
        )
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
        webui.call("/sdapi/v1/refresh-loras", {})
