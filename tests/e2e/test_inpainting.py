"""A base that is an inpainting model (9 channels): its picture goes into every call, of both models, at every CFG.

At CFG 1 the host computes both halves. It comes to the conditional prediction itself where both are of one prompt and
run one after the other; without that, rounding differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Pair, Reply, WebUI
from tests.e2e.refiner import refined
from tests.e2e.test_api import PREFIX
from tests.e2e.test_equalities import settings
from tests.e2e.test_passes import HIRES, from_picture, mask

pytestmark = pytest.mark.a1111
PROMPT = "a red cat"
WAYS: dict[str, dict[str, Any]] = {
    "txt2img": {"steps": 8},
    "hires": {**HIRES, "hr_upscaler": "Lanczos", "steps": 8},
    "img2img": from_picture(0.9, steps=8),
    "mask": from_picture(0.9, steps=8, mask=mask(), inpainting_fill=1, inpaint_full_res=False, mask_blur=2),
    "batch": from_picture(0.9, steps=8, batch_size=2, mask=mask(), inpainting_fill=0, mask_blur=0),
}


@pytest.fixture(scope="module")
def inpainting(webui: WebUI, pair: Pair) -> Pair:
    names = {Path(model["filename"]).stem for model in webui.get("/sdapi/v1/sd-models")}
    if "yaml_inpaint_base" not in names:
        pytest.skip("the host has no pair of inpainting models yaml_inpaint_base and yaml_inpaint_distilled")
    webui.generate(pair.base).must_work()
    return Pair("yaml_inpaint_base", "yaml_inpaint_distilled", None, None)


def made(webui: WebUI, model: str, chosen: dict[str, Any] | None = None, **request: Any) -> Reply:
    """A request after an ordinary image, which leaves the generator that the VAE's encoder draws from in one state."""
    webui.generate(model).must_work()
    return webui.generate(model, chosen, **request)


def by_host(cfg: float, request: dict[str, Any]) -> dict[str, Any]:
    """The request as the host comes to the same image by itself, at CFG 1 too."""
    if cfg != 1:
        return {**request, "cfg_scale": cfg}
    return {**request, "cfg_scale": 1, "negative_prompt": PROMPT, "options": {"batch_cond_uncond": False}}


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "DDIM"])
@pytest.mark.parametrize("cfg", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_equals_the_host(webui: WebUI, inpainting: Pair, way: str, cfg: int, sampler: str) -> None:
    """Base, distilled and hybrid, bit for bit: the host's base, the distilled file loaded natively, the Refiner."""
    request = {"sampler_name": sampler, "prompt": PROMPT, **WAYS[way]}
    ours = {"base_cfg": cfg, "distilled_cfg": cfg, "passes": "both"}
    native = by_host(cfg, request)
    base = made(webui, inpainting.base, settings(inpainting, mode="base", **ours), **request)
    off = made(webui, inpainting.base, **native)
    assert base.same_as(off)
    distilled = made(webui, inpainting.base, settings(inpainting, mode="distilled", **ours), **request)
    assert distilled.same_as(made(webui, inpainting.distilled, **native))
    hybrid = made(webui, inpainting.base, settings(inpainting, **ours, switch_step=4), **request)
    assert not hybrid.same_as(off)
    assert not hybrid.same_as(distilled)
    made(webui, inpainting.base)
    if way != "hires":  # whose switch the Refiner makes by the share of its own pass
        assert hybrid.same_as(refined(webui, hybrid, inpainting.base, inpainting.distilled, **native))


@pytest.mark.parametrize("way", ["txt2img", "mask"])
def test_the_picture_matters(webui: WebUI, inpainting: Pair, way: str) -> None:
    """The witness for the equalities: with another picture, or none of it hidden, the image is another."""
    ours = settings(inpainting, base_cfg=1, distilled_cfg=1)
    full = made(webui, inpainting.base, ours, **WAYS[way])
    shown = made(webui, inpainting.base, ours, options={"inpainting_mask_weight": 0.0}, **WAYS[way])
    assert full.same_as(shown) == (way == "txt2img")


@pytest.mark.parametrize("options", [{"skip_early_cond": 1.0}, {"skip_early_cond": 0.4}], ids=str)
def test_the_hosts_own_skip(webui: WebUI, inpainting: Pair, options: dict[str, Any]) -> None:
    """It leaves the pictures' rows as they were, and so fails with such a model alone; not in our runs."""
    ours = settings(inpainting, mode="base", base_cfg=3)
    skipped = made(webui, inpainting.base, ours, options=options, **WAYS["mask"])
    assert "Skip Early CFG" in skipped.must_work().infotext
    conditional = made(webui, inpainting.base, {**ours, "base_cfg": 1}, **WAYS["mask"])
    assert skipped.same_as(conditional) == (options["skip_early_cond"] == 1.0)


@pytest.mark.parametrize("cfg", [1, 3])
def test_a_lora_as_the_distilled_model(webui: WebUI, inpainting: Pair, pair: Pair, cfg: int) -> None:
    """As the same LoRA in the prompt of the base alone; it knows 4 of the 9 channels."""
    words, name = f"{PROMPT} ", f"{pair}_form_lora"
    native = by_host(cfg, {**WAYS["mask"], "prompt": f"{words}<lora:{name}:te=0:unet=0.8>"})
    if cfg == 1:
        native["negative_prompt"] = words
    alone = settings(inpainting, base_cfg=cfg, distilled_cfg=cfg, lora_strength=0.8, text_encoder="base")
    alone |= {"distilled_model": f"LoRA: {name}", "mode": "distilled"}
    request = {**WAYS["mask"], "prompt": words}
    ours = made(webui, inpainting.base, alone, **request)
    assert ours.same_as(made(webui, inpainting.base, **native))
    hybrid = made(webui, inpainting.base, {**alone, "mode": "hybrid", "switch_step": 2}, **request)
    assert not hybrid.same_as(ours)


def test_two_kinds_are_refused_by_name(webui: WebUI, inpainting: Pair, pair: Pair) -> None:
    """Before anything is made, and the plan says the same."""
    for base, distilled, kinds in (
        (inpainting.base, pair.distilled, ("4 input channels", "an inpainting model (9 input channels)")),
        (pair.base, inpainting.distilled, ("an inpainting model (9 input channels)", "4 input channels")),
    ):
        webui.generate(base).must_work()
        for mode in ("hybrid", "distilled"):
            chosen = {"distilled_model": distilled, "mode": mode}
            refused = webui.generate(base, chosen)
            status, told = webui.call(f"{PREFIX}/plan", {"args": [chosen]})
            assert refused.status == status == 422, (refused.body, told)
            assert refused.sentence == told["detail"]
            assert refused.sentence.index(kinds[0]) < refused.sentence.rindex(kinds[1])
