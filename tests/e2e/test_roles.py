"""The loaded checkpoint as the distilled model: the image of the other way round, with everything that goes with it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.e2e.client import NEUTRAL, Pair, Reply, WebUI
from tests.e2e.plots import Along, plot
from tests.e2e.test_equalities import OF_EACH_KIND, SAMPLERS, prompt
from tests.e2e.test_equalities import settings as alike
from tests.e2e.test_forms import file_of, placed
from tests.e2e.test_memory import AMPLE
from tests.e2e.test_passes import HIRES, from_picture, mask
from tests.e2e.test_planning import plan
from tests.e2e.test_xyz import label
from tests.matrices import marked_but

FEW = (*OF_EACH_KIND, "DPM++ 2M", "UniPC")


@pytest.fixture(autouse=True, scope="module")
def _seeded(webui: WebUI, pair: Pair) -> None:
    """The host's VAE encoder draws from torch's global generator, which every ordinary image leaves in one state."""
    webui.generate(pair.base).must_work()


def ways(webui: WebUI, base: str, distilled: str, asked: dict[str, Any], **request: Any) -> tuple[Reply, Reply]:
    """(the base loaded and the distilled model chosen, the other way round)."""
    usual = webui.generate(base, {**asked, "distilled_model": distilled}, **request).must_work()
    before = fingerprint(webui, distilled)
    turned = webui.generate(distilled, {**asked, "distilled_model": base, "loaded_is": "distilled"}, **request)
    assert fingerprint(webui, distilled) == before
    return usual, turned.must_work()


_prompts = itertools.count()


def fingerprint(webui: WebUI, model: str) -> str:
    """Of a loaded model, without what a prompt before has merged into it; a new prompt is really read."""
    webui.generate(model, prompt=f"a wall {next(_prompts)}").must_work()
    return webui.fingerprint()


def pasted(webui: WebUI, model: str, text: str) -> Reply:
    """What the host makes of an infotext; to load its checkpoint, too, is a setting that is off by default."""
    overrides = {**NEUTRAL, "sd_model_checkpoint": model}
    request = {"infotext": text, "override_settings": overrides, "styles": []}
    return webui.read(*webui.call("/sdapi/v1/txt2img", request)).must_work()


def same_both_ways(webui: WebUI, pair: Pair, asked: dict[str, Any], **request: Any) -> Reply:
    usual, turned = ways(webui, pair.base, pair.distilled, asked, **request)
    assert turned.same_as(usual)
    for key in ("DD plan", "DD switch: ", "DD U-Net calls", "DD run as"):
        assert entry(turned.infotext, key) == entry(usual.infotext, key)
    return turned


def entry(infotext: str, key: str) -> str:
    return infotext.partition(f"{key}")[2].partition(", DD")[0]


@pytest.mark.parametrize("sampler", marked_but(FEW, SAMPLERS, pytest.mark.slow))
def test_every_sampler(webui: WebUI, pair: Pair, sampler: str) -> None:
    asked = alike(pair, switch_step=2)
    for lora in (False, True):
        turned = same_both_ways(webui, pair, asked, sampler_name=sampler, prompt=prompt(pair, lora), steps=5)
        assert "DD loaded is: distilled" in turned.infotext
        assert f"DD distilled model: {pair.base}" in turned.infotext


@pytest.mark.parametrize("family", ["dmd2", "lightning", "hyper", "lcm"])
def test_the_familys_levels(webui: WebUI, pair: Pair, family: str) -> None:
    asked = {"family": family, "switch_step": 2, "base_steps": 3, "base_cfg": 4}
    same_both_ways(webui, pair, asked)


@pytest.mark.parametrize("asked", [{"mode": "distilled"}, {"mode": "base"}, {"mode": "skip_first"}, {"switch_step": 0}])
def test_modes(webui: WebUI, pair: Pair, asked: dict[str, Any]) -> None:
    same_both_ways(webui, pair, alike(pair, **asked))


def test_the_loaded_one_alone_needs_no_other(webui: WebUI, pair: Pair) -> None:
    alone = {"loaded_is": "distilled", "mode": "distilled", "family": "custom", "distilled_cfg": 5}
    assert webui.generate(pair.distilled, alone).same_as(webui.generate(pair.distilled))
    refused = webui.generate(pair.distilled, {**alone, "mode": "hybrid"})
    assert refused.status == 422
    assert "has no base" in refused.sentence
    assert "set Loaded checkpoint is to base" in refused.sentence


@pytest.mark.parametrize("passes", ["first", "hires", "both"])
def test_hires(webui: WebUI, pair: Pair, passes: str) -> None:
    same_both_ways(webui, pair, alike(pair, switch_step=3, passes=passes), **HIRES, prompt=prompt(pair, True))


@pytest.mark.parametrize("sampler", ["Euler", "DDIM", "LCM"])
def test_img2img(webui: WebUI, pair: Pair, sampler: str) -> None:
    request = from_picture(0.9, sampler_name=sampler, steps=8, mask=mask(), inpainting_fill=1)
    same_both_ways(webui, pair, alike(pair, switch_step=4), **request)


def test_batches_and_a_base_sampler(webui: WebUI, pair: Pair) -> None:
    same_both_ways(webui, pair, alike(pair, switch_step=2), n_iter=2, batch_size=2, prompt=prompt(pair, True))
    for base_sampler in ("Heun", "DDIM"):
        same_both_ways(webui, pair, alike(pair, switch_step=2, base_sampler=base_sampler), sampler_name="Euler a")


@pytest.mark.parametrize(
    "asked",
    [
        {"lora_targets": "base"},
        {"lora_targets": "distilled"},
        {"base_lora_factor": 0.5, "distilled_lora_factor": 2},
        {"base_lora_factor": 0.5, "distilled_lora_factor": 2, "text_encoder": "base"},
    ],
)
def test_loras_on_each(webui: WebUI, pair: Pair, asked: dict[str, Any]) -> None:
    for _ in range(2):  # what was merged for the one is there for the next
        same_both_ways(webui, pair, alike(pair, switch_step=2, **asked), prompt=prompt(pair, True))


@pytest.mark.parametrize("residency", ["ram", "8bit", "both"])
def test_memory(webui: WebUI, pair: Pair, residency: str) -> None:
    """8 bits change the base's steps, and the same ones."""
    asked = alike(pair, switch_step=2, residency=residency)
    for card in (None, AMPLE):
        request = {"prompt": prompt(pair, True), "faults": card}
        turned = same_both_ways(webui, pair, asked, **request)
        again = {**asked, "distilled_model": pair.base, "loaded_is": "distilled"}
        assert webui.generate(pair.distilled, again, **request).same_as(turned)
        plain = webui.generate(pair.distilled, {**again, "residency": "both"}, **request)
        assert plain.same_as(turned) == (residency != "8bit")


def test_memory_that_runs_out(webui: WebUI, pair: Pair) -> None:
    """The idle model waits in RAM from then on, whichever it is."""
    asked = {**alike(pair, switch_step=2, residency="both"), "distilled_model": pair.base, "loaded_is": "distilled"}
    expected = webui.generate(pair.distilled, asked, faults=AMPLE).must_work()
    for residency in ("both", "8bit"):
        ran_out = webui.generate(
            pair.distilled, {**asked, "residency": residency}, faults={**AMPLE, "call": 1, "kind": "oom"}
        )
        assert "Memory ran out" in ran_out.must_work().infotext
        assert ran_out.same_as(expected)


def test_8_bits_for_either_part_of_one_file(webui: WebUI, pair: Pair) -> None:
    """One after the other: the same second model is base or distilled model, and in 8 bits is the base each time."""
    asked = alike(pair, switch_step=2, residency="8bit")
    other = {**asked, "distilled_model": pair.base}
    first = [webui.generate(pair.distilled, {**other, "loaded_is": role}) for role in ("base", "distilled")]
    second = [webui.generate(pair.distilled, {**other, "loaded_is": role}) for role in ("base", "distilled")]
    assert [a.same_as(b) for a, b in zip(first, second, strict=True)] == [True, True]
    assert not first[0].same_as(first[1])


@pytest.mark.parametrize("text_encoder", ["auto", "base", "own"])
def test_another_text_encoder(webui: WebUI, pair: Pair, text_encoder: str) -> None:
    if pair.other_text_encoder is None:
        pytest.skip("the host lists no distilled model with another text encoder")
    asked = alike(pair, switch_step=2, text_encoder=text_encoder)
    for targets in ("both", "base", "distilled"):
        usual, turned = ways(
            webui, pair.base, pair.other_text_encoder, {**asked, "lora_targets": targets}, prompt=prompt(pair, True)
        )
        assert turned.same_as(usual), targets


def test_what_the_loaded_one_lends_is_said(webui: WebUI, pair: Pair) -> None:
    """Text encoder and VAE, where the base has none or another."""
    asked = alike(pair, switch_step=2, loaded_is="distilled")
    bare = webui.generate(pair.distilled, {**asked, "distilled_model": f"{pair}_form_unet"}).must_work()
    assert f"The base '{pair}_form_unet.safetensors' holds no text encoder" in bare.infotext
    path = file_of(webui, pair.base)
    tensors = {key: t * 1.1 if key.startswith("first_stage_model.") else t for key, t in load_file(path).items()}
    with placed(webui, path.with_name("ddother_vae.safetensors")) as other:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, other)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        lent = webui.generate(pair.distilled, {**asked, "distilled_model": "ddother_vae"}).must_work()
        assert "has another VAE than the loaded checkpoint" in lent.infotext
    assert "VAE" not in webui.generate(pair.distilled, {**asked, "distilled_model": pair.base}).must_work().infotext


def test_the_infotext_makes_it_again(webui: WebUI, pair: Pair) -> None:
    made = webui.generate(
        pair.distilled, {"distilled_model": pair.base, "loaded_is": "distilled", "family": "dmd2", "switch_step": 2}
    ).must_work()
    assert pasted(webui, pair.distilled, made.infotext).same_as(made)
    without = made.infotext.replace("DD loaded is: distilled, ", "")
    assert without != made.infotext
    old = pasted(webui, pair.distilled, without)
    assert old.same_as(
        webui.generate(pair.distilled, {"distilled_model": pair.base, "family": "dmd2", "switch_step": 2})
    )


def test_the_plan_and_the_frames(webui: WebUI, pair: Pair) -> None:
    asked = {"distilled_model": pair.base, "loaded_is": "distilled", "family": "dmd2", "switch_step": 2}
    reply = webui.generate(pair.distilled, {**asked, "dt": {"return": True}}).must_work()
    frames = reply.info["dt"]["frames"]
    assert [(frame["phase"], frame["model"]) for frame in frames] == [
        ("base", pair.base),
        ("base", pair.base),
        ("distilled", pair.distilled),
        ("distilled", pair.distilled),
    ]
    told = plan(webui, asked)
    assert told["line"] in reply.infotext
    assert (told["checkpoint"], told["loaded_is"]) == (pair.distilled, "distilled")
    assert plan(webui, {**asked, "loaded_is": "base"})["loaded_is"] == "base"


def test_a_plot_over_it(webui: WebUI, pair: Pair) -> None:
    asked = {"distilled_model": pair.base, "family": "dmd2", "switch_step": 2}
    swept = plot(webui, pair.distilled, Along(label("loaded_is"), ["base", "distilled"]), settings=asked).must_work()
    singles = [webui.generate(pair.distilled, {**asked, "loaded_is": role}) for role in ("base", "distilled")]
    assert [np.array_equal(cell, one.images[0]) for cell, one in zip(swept.images[1:], singles, strict=True)] == [
        True
    ] * 2


def test_refusals(webui: WebUI, pair: Pair) -> None:
    turned = {"loaded_is": "distilled", "family": "custom"}
    webui.generate(pair.distilled).must_work()
    for asked, said in (
        ({"distilled_model": f"LoRA: {pair.lora}"}, "is a LoRA, which acts on the loaded checkpoint"),
        ({"distilled_model": pair.base, "carry_from": pair.base}, "here the loaded checkpoint is the distilled model"),
        ({"distilled_model": "not there"}, "The base 'not there' is not among"),
    ):
        reply = webui.generate(pair.distilled, {**turned, **asked})
        status, told = webui.call("/diversity-distillation/v1/plan", {"args": [{**turned, **asked}]})
        assert reply.status == status == 422
        assert said in reply.sentence
        assert reply.sentence == told["detail"]


@pytest.fixture(scope="module")
def merge(webui: WebUI, pair: Pair) -> Iterator[str]:
    """The distilled checkpoint under the name of a Lightning merge, and the base under one that hints at nothing."""
    paths = [file_of(webui, name).with_name(new) for name, new in ((pair.distilled, MERGE), (pair.base, PLAIN))]
    with placed(webui, paths[0]), placed(webui, paths[1]):
        for name, path in zip((pair.distilled, pair.base), paths, strict=True):
            tensors = load_file(file_of(webui, name))
            tensors["ddcopy"] = torch.zeros(1)  # so that neither is a copy of the other's file
            save_file(tensors, path)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        yield paths[0].stem
        webui.generate(pair.base).must_work()


MERGE, PLAIN = "ddxl_lightning_4step.safetensors", "ddplain_v1.safetensors"


def test_auto(webui: WebUI, pair: Pair, merge: str) -> None:
    """A Lightning merge is loaded and an ordinary checkpoint chosen: what API clients sent before is as it was."""
    asked = {"distilled_model": "ddplain_v1", "switch_step": 1}
    turned = webui.generate(merge, {**asked, "loaded_is": "auto"}, steps=20).must_work()
    assert turned.same_as(webui.generate(merge, {**asked, "loaded_is": "distilled"}, steps=20))
    assert "DD loaded is: distilled" in turned.infotext
    assert "so 'ddplain_v1' makes the base's steps and the loaded checkpoint finishes the image" in turned.infotext
    assert "DD run as: lightning for 4 steps" in turned.infotext
    before = webui.generate(merge, asked, steps=20).must_work()
    assert before.same_as(webui.generate(merge, {**asked, "loaded_is": "base"}, steps=20))
    assert not before.same_as(turned)
    assert "The roles look reversed" in before.infotext
    assert pasted(webui, merge, turned.infotext).same_as(turned)
    assert pasted(webui, merge, before.infotext).same_as(before)


def test_auto_where_it_is_not_sure(webui: WebUI, pair: Pair, merge: str) -> None:
    told = plan(webui, {"distilled_model": pair.distilled, "loaded_is": "auto"})
    assert told["loaded_is"] == "base"
    webui.generate(pair.base).must_work()
    assert plan(webui, {"distilled_model": merge, "loaded_is": "auto"})["loaded_is"] == "base"


def test_by_position_what_is_left_out_is_as_before(webui: WebUI, pair: Pair, merge: str) -> None:
    """The host fills up an API's values with those of the page's components, where `auto` stands."""
    payload = {"prompt": "a red cat", "seed": 1, "steps": 4, "width": 64, "height": 64, "sampler_name": "Euler"}
    payload["alwayson_scripts"] = {"Diversity Distillation": {"args": [True, "ddplain_v1"]}}
    payload["override_settings"] = {"sd_model_checkpoint": merge}
    reply = WebUI.read(*webui.call("/sdapi/v1/txt2img", payload)).must_work()
    assert "DD loaded is" not in reply.infotext
    assert "The roles look reversed" in reply.infotext


def test_compare(webui: WebUI, pair: Pair) -> None:
    """The base alone is made as the host makes it with that checkpoint loaded."""
    asked = {"distilled_model": pair.base, "loaded_is": "distilled", "family": "dmd2", "switch_step": 2}
    request: dict[str, Any] = {"sampler_name": "DPM++ 2M", "prompt": prompt(pair, True)}
    compared = webui.generate(pair.distilled, {**asked, "base_cfg": 3, "dt": {"compare": True}}, **request).must_work()
    hybrid = webui.generate(pair.distilled, {**asked, "base_cfg": 3}, **request).must_work()
    base = webui.generate(pair.base, **{**request, "steps": 20}).must_work()
    distilled = webui.generate(pair.distilled, {**asked, "mode": "distilled"}, **request).must_work()
    expected = [one.images[0] for one in (hybrid, base, distilled)]
    assert [np.array_equal(a, b) for a, b in zip(compared.images, expected, strict=True)] == [True] * 3
