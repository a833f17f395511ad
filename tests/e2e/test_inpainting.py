"""A base that is an inpainting model (9 channels): its picture goes into every call, of both models, at every CFG.

At CFG 1 A1111 computes both halves. It comes to the conditional prediction itself where both are of one prompt and run
one after the other; without that, rounding differs. Forge leaves the unconditional half out by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.e2e.client import Pair, Reply, WebUI
from tests.e2e.flavour import flavour_under_test
from tests.e2e.refiner import refined
from tests.e2e.test_api import PREFIX
from tests.e2e.test_equalities import settings
from tests.e2e.test_forms import lora_folder, placed
from tests.e2e.test_passes import HIRES, from_picture, mask
from tests.matrices import marked_but

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


def by_host(webui: WebUI, cfg: float, request: dict[str, Any]) -> dict[str, Any]:
    """The request as the host comes to the same image by itself, at CFG 1 too."""
    if cfg != 1 or webui.flavour == "forge":
        return {**request, "cfg_scale": cfg}
    return {**request, "cfg_scale": 1, "negative_prompt": PROMPT, "options": {"batch_cond_uncond": False}}


@pytest.mark.parametrize("sampler", marked_but(["Euler"], ["Euler", "DPM++ 2M", "DDIM"], pytest.mark.slow))
@pytest.mark.parametrize("cfg", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_equals_the_host(webui: WebUI, inpainting: Pair, way: str, cfg: int, sampler: str) -> None:
    """Base, distilled and hybrid, bit for bit: the host's base, the distilled file loaded natively, the Refiner."""
    request = {"sampler_name": sampler, "prompt": PROMPT, **WAYS[way]}
    ours = {"base_cfg": cfg, "distilled_cfg": cfg, "passes": "both"}
    native = by_host(webui, cfg, request)
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
    native = by_host(webui, cfg, {**WAYS["mask"], "prompt": f"{words}<lora:{name}:te=0:unet=0.8>"})
    if "negative_prompt" in native:
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


# Networks on the first convolution of 4 channels. A1111 itself leaves out all but plain LoRAs there.
FIRST = "lora_unet_input_blocks_0_0"
NARROW = ("lora", "loha", "lokr") if flavour_under_test() == "forge" else ("lora",)


def narrow_network(kind: str, outputs: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """(tensors by the last parts of their names, what they add to the weight [outputs, 4, 3, 3])."""
    draw = torch.Generator().manual_seed(11)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw) * 0.25

    if kind == "lora":
        parts = {"lora_up.weight": some(outputs, 4, 1, 1), "lora_down.weight": some(4, 4, 3, 3)}
        change = parts["lora_up.weight"].flatten(1) @ parts["lora_down.weight"].flatten(1)
    elif kind == "loha":
        halves = {f"hada_w{i}_{x}": some(*shape) for i in (1, 2) for x, shape in (("a", (outputs, 4)), ("b", (4, 36)))}
        parts = halves
        change = (halves["hada_w1_a"] @ halves["hada_w1_b"]) * (halves["hada_w2_a"] @ halves["hada_w2_b"])
    else:
        parts = {"lokr_w1": some(2, 2), "lokr_w2": some(outputs // 2, 2, 3, 3)}
        change = torch.kron(parts["lokr_w1"].reshape(2, 2, 1, 1), parts["lokr_w2"])
    return {**parts, "alpha": torch.tensor(4.0)}, change.reshape(outputs, 4, 3, 3)


@pytest.fixture(params=NARROW)
def narrow(request: pytest.FixtureRequest, webui: WebUI, inpainting: Pair, pair: Pair) -> Iterator[tuple[str, str]]:
    """A network for 4 channels, and a LoRA that says the same of 9; both with the pair's LoRA on other layers.

    Under names of this kind alone: Forge reads a file of the prompt once by its name (`load_lora_state_dict`,
    sd_forge_lora/networks.py, dfdcbab6), whatever is written there later.
    """
    folder = lora_folder(webui)
    rest = load_file(folder / f"{pair}_form_lora.safetensors")
    base = next(m["filename"] for m in webui.get("/sdapi/v1/sd-models") if Path(m["filename"]).stem == inpainting.base)
    outputs = load_file(base)["model.diffusion_model.input_blocks.0.0.weight"].shape[0]
    parts, change = narrow_network(request.param, outputs)
    down = torch.nn.functional.pad(change, (0, 0, 0, 0, 0, 5))
    wide = {"lora_up.weight": torch.eye(outputs).reshape(outputs, outputs, 1, 1), "lora_down.weight": down}
    little, all_channels = f"ddnarrow_{request.param}", f"ddwide_{request.param}"
    files = {little: parts, all_channels: {**wide, "alpha": torch.tensor(float(outputs))}}
    with ExitStack() as stack:
        for name, tensors in files.items():
            path = stack.enter_context(placed(webui, folder / f"{name}.safetensors"))
            first = {f"{FIRST}.{part}": tensor.contiguous() for part, tensor in tensors.items()}
            save_file({**rest, **first}, path, metadata={"ss_network_module": "lycoris.kohya", "ss_output_name": name})
        webui.call("/sdapi/v1/refresh-loras", {})
        yield little, all_channels


def test_a_lora_for_4_channels(webui: WebUI, inpainting: Pair, pair: Pair, narrow: tuple[str, str]) -> None:
    """In the prompt and as distilled model: as one that leaves the mask's and the picture's channels as they are."""
    little, wide = (f"{PROMPT} <lora:{name}:1>" for name in narrow)
    # A1111 pads what has 4 channels, and leaves out what has 9; Forge fails at the former.
    known = wide if flavour_under_test() == "forge" else little
    request, cfgs = WAYS["mask"], {"base_cfg": 3, "distilled_cfg": 3}
    plain = made(webui, inpainting.base, **request)

    def differ(ours: Reply, other: Reply) -> bool:
        return ours.must_work().distance(other.must_work()) > 0.05  # what sums in another order round away

    for mode, model in (("base", inpainting.base), ("distilled", inpainting.distilled)):
        ours = made(webui, inpainting.base, settings(inpainting, mode=mode, **cfgs), prompt=little, **request)
        native = made(webui, model, prompt=known, cfg_scale=3, **request)
        assert not differ(ours, native), mode
        # The witness: it does change the first convolution.
        others = f"{PROMPT} <lora:{pair}_form_lora:1>"
        assert differ(native, made(webui, model, prompt=others, cfg_scale=3, **request)), mode
    for more in ({}, {"base_lora_factor": 0.5, "distilled_lora_factor": 0}, {"residency": "8bit"}):
        hybrid = settings(inpainting, switch_step=2, **cfgs, **more)
        ours = [made(webui, inpainting.base, hybrid, prompt=prompt, **request) for prompt in (little, known)]
        assert not differ(*ours), more
    for mode in ("hybrid", "distilled"):
        ours = []
        for name in narrow if known == wide else narrow[:1]:
            chosen = settings(inpainting, mode=mode, switch_step=2, **cfgs) | {"distilled_model": f"LoRA: {name}"}
            ours.append(made(webui, inpainting.base, chosen, **request))
            assert webui.call(f"{PREFIX}/plan", {"args": [chosen]})[0] == 200
        assert not differ(ours[0], ours[-1]), mode
        if mode == "distilled":
            assert not differ(ours[0], made(webui, inpainting.base, prompt=known, cfg_scale=3, **request))
    assert made(webui, inpainting.base, **request).same_as(plain)


@pytest.mark.forge
def test_a_lora_of_another_kind_of_model_in_the_prompt(
    webui: WebUI, inpainting: Pair, pair: Pair, narrow: tuple[str, str]
) -> None:
    """One of an inpainting model on another: this host has no way to merge it; A1111 leaves that layer out."""
    webui.generate(pair.base).must_work()
    before = webui.fingerprint()
    for mode in ("base", "hybrid", "distilled"):
        refused = webui.generate(pair.base, settings(pair, mode=mode), prompt=f"{PROMPT} <lora:{narrow[1]}:1>")
        assert refused.status == 422
        assert f"The LoRA '{narrow[1]}.safetensors' is for another kind of model" in refused.sentence
    webui.generate(pair.base).must_work()
    assert webui.fingerprint() == before


@pytest.mark.forge
@pytest.mark.parametrize(("channels", "kind"), [(8, "an InstructPix2Pix model"), (5, "a depth model")])
def test_kinds_that_this_host_cannot_feed_are_refused_by_name(
    webui: WebUI, inpainting: Pair, channels: int, kind: str
) -> None:
    """It takes them for inpainting models, so it makes no image with them by itself either."""
    files = {Path(model["filename"]).stem: Path(model["filename"]) for model in webui.get("/sdapi/v1/sd-models")}
    source = files[inpainting.base]
    description = source.with_suffix(".yaml")
    tensors = load_file(source)
    name = "model.diffusion_model.input_blocks.0.0.weight"
    tensors[name] = tensors[name][:, :channels].contiguous()
    with (
        placed(webui, source.with_name("ddkind.safetensors")) as path,
        placed(webui, path.with_suffix(".yaml")) as told,
    ):
        save_file(tensors, path)
        if description.exists():
            told.write_text(description.read_text().replace("in_channels: 9", f"in_channels: {channels}"))
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        assert webui.generate("ddkind").status == 500
        for mode in ("base", "hybrid", "distilled"):
            chosen = {"distilled_model": inpainting.distilled, "mode": mode}
            refused = webui.generate("ddkind", chosen)
            status, told_by_plan = webui.call(f"{PREFIX}/plan", {"args": [chosen]})
            assert refused.status == status == 422
            assert refused.sentence == told_by_plan["detail"]
            assert f"'ddkind.safetensors' is {kind} ({channels} input channels)" in refused.sentence
        webui.generate(inpainting.base).must_work()


def test_hires_from_latents_is_refused_by_name(webui: WebUI, inpainting: Pair) -> None:
    """The hosts then give the picture of the first pass's size, and fail."""
    made(webui, inpainting.base)
    request = {**HIRES, "hr_upscaler": "Latent", "steps": 6}
    for mode in ("base", "hybrid", "distilled"):
        chosen = settings(inpainting, mode=mode, switch_step=2)
        refused = webui.generate(inpainting.base, chosen, **request)
        asked = {"args": [chosen], "request": {"enable_hr": True, "hr_upscaler": "Latent", "steps": 6}}
        status, told = webui.call(f"{PREFIX}/plan", asked)
        assert refused.status == status == 422, (refused.body, told)
        assert refused.sentence == told["detail"]
        assert "cannot enlarge latents" in refused.sentence
