"""Public reports about extensions, tried with the real ones; each test runs where the WebUI under test has its own.

Two oracles: of two equal models a hybrid image is the image of that model with the extension, and where one model makes
all steps it is that model's own.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_equalities import settings
from tests.e2e.test_field_cases import made
from tests.e2e.test_passes import from_picture, mask

LORA = "a cat <lora:{lora}:1%s>"
TWO = {"prompt": "red cat BREAK blue dog", "width": 128}
TILES = {"Latent tile width": 16, "Latent tile height": 16, "Latent tile overlap": 8}
WIDE = {"width": 192, "height": 192}

# Title, values by label where they are not the default, and the request.
EXTENSIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Dynamic Thresholding": (
        "Dynamic Thresholding (CFG Scale Fix)",
        {"Enable Dynamic Thresholding (CFG Scale Fix)": True, "Mimic CFG Scale": 3.0},
        {},
    ),
    "CADS": ("CADS", {"Active": True}, {}),
    "LoRA Block Weight": ("LoRA Block Weight", {}, {"prompt": LORA % ":lbw=MIDD"}),
    "LoRA Block Weight, zero blocks": ("LoRA Block Weight", {}, {"prompt": LORA % ":lbw=NONE"}),
    "LoRA Block Weight, from a step on": ("LoRA Block Weight", {}, {"prompt": LORA % ":start=3", "steps": 6}),
    "Regional Prompter by attention": (
        "Regional Prompter", {"Regional Prompter": True}, {**TWO, "batch_size": 2}
    ),
    "Regional Prompter by latent": (
        "Regional Prompter", {"Regional Prompter": True, "Generation Mode": "Latent"}, {**TWO, "n_iter": 2}
    ),
    "Tiled Diffusion": ("Tiled Diffusion", {"Enable Tiled Diffusion": True, **TILES}, WIDE),
    "Tiled Diffusion by DDIM in img2img": (
        "Tiled Diffusion",
        {"Enable Tiled Diffusion": True, **TILES},
        {**from_picture(0.9), **WIDE, "sampler_name": "DDIM", "steps": 6},
    ),
    "Soft Inpainting": (
        "Soft Inpainting",
        {"Soft inpainting": True},
        {**from_picture(0.9), "mask": mask(), "mask_blur": 4, "inpainting_fill": 1, "steps": 8},
    ),
    "NegPiP": ("NegPiP", {}, {"prompt": "a cat, (blue:-1.5)"}),
}  # fmt: skip
# Without the extension: the request where it is other than the same one with the extension at its defaults.
WITHOUT: dict[str, dict[str, Any]] = {
    **{name: {"prompt": "a cat <lora:{lora}:1>"} for name in EXTENSIONS if name.startswith("LoRA Block Weight")},
    "NegPiP": {"prompt": "a cat, (blue:1.5)"},
}


def arguments(webui: WebUI, title: str, img2img: bool, values: dict[str, Any]) -> dict[str, list[Any]]:
    """Of an extension's script, by the labels of its components; skips where the host has it not."""
    for script in webui.get("/sdapi/v1/script-info"):
        if script["name"] == title.lower() and script["is_img2img"] == img2img:
            labels = [each["label"] for each in script["args"]]
            args = [each["value"] for each in script["args"]]
            for label, value in values.items():
                args[labels.index(label)] = value
            return {title: args}
    pytest.skip(f"the host has no {title}")


@pytest.mark.parametrize("name", EXTENSIONS)
def test_an_extension_acts_in_both_phases(webui: WebUI, pair: Pair, name: str) -> None:
    title, values, request = EXTENSIONS[name]
    scripts = arguments(webui, title, "init_images" in request, values)
    request = {**request, "prompt": request.get("prompt", "a red cat").format(lora=pair.lora)}
    plain = {**request, **WITHOUT.get(name, {})}
    plain["prompt"] = plain["prompt"].format(lora=pair.lora)
    ours = settings(pair, passes="both", switch_step=2)
    before = made(webui, pair, pair.base, **plain).must_work()
    base, distilled = (made(webui, pair, model, scripts=scripts, **request) for model in (pair.base, pair.distilled))
    assert not base.same_as(before), "the extension does nothing"
    itself = {**ours, "distilled_model": pair.base}
    assert made(webui, pair, pair.base, itself, scripts=scripts, **request).same_as(base), "both phases"
    alone = made(webui, pair, pair.base, {**ours, "mode": "distilled"}, scripts=scripts, **request)
    assert alone.same_as(distilled), "the distilled model alone"
    hybrid = made(webui, pair, pair.base, ours, scripts=scripts, **request).must_work()
    assert "DD U-Net calls: " in hybrid.infotext
    assert made(webui, pair, pair.base, **plain).same_as(before), "something was left behind"


def test_negpip_at_cfg_1_acts_in_every_image(webui: WebUI, pair: Pair) -> None:
    """Told to act in every other one."""
    scripts = arguments(webui, "NegPiP", False, {})
    ours = {"distilled_model": pair.distilled, "family": "dmd2"}
    negative, positive = ("a cat, (blue:-1.5)", "a cat, (blue:1.5)")
    first = webui.generate(pair.base, ours, scripts=scripts, prompt=negative).must_work()
    assert not first.same_as(webui.generate(pair.base, ours, scripts=scripts, prompt=positive))
    for _ in range(3):
        assert webui.generate(pair.base, ours, scripts=scripts, prompt=negative).same_as(first)


def test_dynamic_prompts_loras_in_each_batch(webui: WebUI, pair: Pair) -> None:
    """Each image of a batch count is the one of the prompt that its infotext tells, LoRA included."""
    scripts = arguments(webui, "Dynamic Prompts v2.17.1", False, {})
    ours = settings(pair)
    prompt = f"a {{red|blue|green}} cat {{<lora:{pair.lora}:1>|<lora:{pair.lora}:0.3>|}}"
    many = webui.generate(pair.base, ours, scripts=scripts, prompt=prompt, n_iter=4).must_work()
    assert len(set(many.info["all_prompts"])) > 1
    for index, (told, image) in enumerate(zip(many.info["all_prompts"], many.images[-4:], strict=True)):
        one = webui.generate(pair.base, ours, prompt=told, seed=1 + index).must_work()
        assert (one.images[0] == image).all(), told
