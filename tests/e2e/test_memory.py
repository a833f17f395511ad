"""Where the two models live changes no image but by 8 bits; memory that runs out ends in an image or a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.client import Pair, Reply, WebUI
from tests.e2e.flavour import flavour_under_test
from tests.e2e.test_carry import file_of, listed
from tests.e2e.test_forms import settings as form_settings
from tests.matrices import marked_but

AMPLE = {"card": 1 << 40}
FULL = {"card": 0}
LOADING = {
    "a1111": "extension_core.weights.second_model.parameter_set.build",
    "forge": "extension_core.hosts.forge.loading.load_unet",
}
EIGHT_BITS = "extension_core.weights.second_model.EightBit"
# Where memory can run out beside the denoiser's calls, with the residency that comes there.
STAGES = {
    "a1111": (
        (EIGHT_BITS, "8bit"),
        ("extension_core.weights.parameter_set.Slot.prepare", "both"),
        ("extension_core.weights.parameter_set.Slot.prepare", "ram"),
        ("extension_core.weights.eight_bit.Packed.unpack", "8bit"),
        ("extension_core.hosts.a1111.conditioning.own_conds", "auto"),
    ),
    "forge": (
        ("extension_core.hosts.forge.base_unet.second_unet", "8bit"),
        ("extension_core.hosts.forge.unets.bring", "ram"),
        ("extension_core.hosts.forge.unets.to_ram", "ram"),
        ("backend.memory_management.load_models_gpu", "both"),
        ("extension_core.hosts.forge.text.OwnText.conds", "auto"),
    ),
}[flavour_under_test()]
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two calls a step": {"sampler_name": "Heun"},
    "timesteps": {"sampler_name": "DDIM"},
    "hires": {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.7,
              "hr_additional_modules": ["Use same choices"]},
    "batch": {"batch_size": 2, "n_iter": 2},
}  # fmt: skip


def hybrid(webui: WebUI, pair: Pair, residency: str, card: dict[str, Any] | None = None, **request: Any) -> Reply:
    extra = request.pop("settings", {})
    chosen = form_settings(pair.distilled, **{"switch_step": 2, "residency": residency, **extra})
    return webui.generate(pair.base, chosen, faults=card, **request)


def lives(reply: Reply) -> str:
    return reply.must_work().infotext.split("DD memory: ")[1].split(', "DD')[0].split(", DD")[0]


def keeps_models_in_ram(webui: WebUI) -> bool:
    """Whether the host was started with --medvram or --lowvram, which Forge has not."""
    if webui.flavour == "forge":
        return False
    flags = webui.get("/sdapi/v1/cmd-flags")
    return bool(flags.get("medvram") or flags.get("lowvram"))


@pytest.fixture
def unchanged(webui: WebUI, pair: Pair) -> Any:
    """The base is bit for bit what it was, and makes the image that it made."""
    image = webui.generate(pair.base).must_work()
    before = webui.fingerprint()
    yield
    assert webui.generate(pair.base).same_as(image)
    assert webui.fingerprint() == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", REQUESTS)
def test_the_same_image_wherever_they_live(webui: WebUI, pair: Pair, name: str) -> None:
    request = REQUESTS[name]
    extra = {"passes": "both"} if name == "hires" else {}
    both = hybrid(webui, pair, "both", AMPLE, settings=extra, **request)
    for residency, card in (("ram", AMPLE), ("auto", AMPLE), ("auto", FULL), ("ram", None), ("both", AMPLE)):
        reply = hybrid(webui, pair, residency, card, settings=extra, **request)
        assert reply.same_as(both), (residency, card)
    plain = webui.generate(pair.base, form_settings(pair.distilled, switch_step=2, **extra), **request)
    assert plain.same_as(both)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("lora_targets", ["both", "base", "distilled"])
def test_with_networks_that_come_and_go(webui: WebUI, pair: Pair, lora_targets: str) -> None:
    """Networks merged into a set are with it wherever it is."""
    prompts = (f"a red cat <lora:{pair.lora}:1>", "a red cat", f"a red cat <lora:{pair.lora}:0.5>")
    extra = {"lora_targets": lora_targets}
    expected = [hybrid(webui, pair, "both", settings=extra, prompt=prompt) for prompt in prompts]
    for residency, card in (("ram", AMPLE), ("auto", FULL), ("both", AMPLE), ("ram", AMPLE)):
        for prompt, image in zip(prompts, expected, strict=True):
            reply = hybrid(webui, pair, residency, card, settings=extra, prompt=prompt)
            assert reply.same_as(image), (residency, card, prompt)


@pytest.mark.usefixtures("unchanged")
def test_with_its_own_text_encoder(webui: WebUI, pair: Pair) -> None:
    if pair.other_text_encoder is None:
        pytest.skip("the host lists no distilled model with another text encoder")
    extra = {"distilled_model": pair.other_text_encoder}
    both = hybrid(webui, pair, "both", settings=extra)
    for residency in ("ram", "8bit", "ram", "both"):
        reply = hybrid(webui, pair, residency, AMPLE, settings={**extra, "switch_step": 0})
        assert reply.same_as(hybrid(webui, pair, "both", settings={**extra, "switch_step": 0})), residency
    assert hybrid(webui, pair, "ram", AMPLE, settings=extra).same_as(both)


@pytest.mark.usefixtures("unchanged")
def test_auto_says_what_it_chose_and_why(webui: WebUI, pair: Pair) -> None:
    ample, full = (lives(hybrid(webui, pair, "auto", card)) for card in (AMPLE, FULL))
    assert "else in RAM" in full
    if keeps_models_in_ram(webui):
        assert ample == full
        assert "the host keeps idle models in RAM" in full
    else:
        assert ample.strip('"').startswith("both models on "), ample
        assert "GiB free" in ample
        assert "0.0 GiB free" in full
    asked = lives(hybrid(webui, pair, "ram", AMPLE))
    assert "else in RAM" in asked
    assert "free" not in asked


def rounded(tensor: torch.Tensor, flavour: str) -> torch.Tensor:
    """float8 e4m3 and back: A1111's rows are scaled to its range, Forge's own storage is not."""
    if flavour == "forge":
        return tensor.to(torch.float8_e4m3fn).to(tensor.dtype)
    if tensor.ndim < 2:
        return tensor
    rows = tensor.float().reshape(len(tensor), -1)
    scale = rows.abs().amax(1, keepdim=True) / 448.0
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return ((rows / scale).to(torch.float8_e4m3fn).float() * scale).reshape(tensor.shape)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("k", [1, 2])
def test_8_bits_are_a_base_that_was_rounded_to_them(webui: WebUI, pair: Pair, k: int) -> None:
    """The hybrid from a file with the rounded base, text encoder and all else being equal."""
    extra = {"switch_step": k}
    exact, in_8_bits = (hybrid(webui, pair, residency, AMPLE, settings=extra) for residency in ("both", "8bit"))
    base, distilled = (load_file(file_of(webui, model)) for model in (pair.base, pair.distilled))
    changed = {
        name: rounded(tensor.float(), webui.flavour)
        for name, tensor in base.items()
        if name.startswith("model.diffusion_model.") and not torch.equal(tensor, distilled[name])
    }
    with listed(webui, file_of(webui, pair.base).with_name("ddrounded.safetensors"), {**base, **changed}):
        by_file = webui.generate("ddrounded", form_settings(pair.distilled, switch_step=k))
    assert in_8_bits.same_as(by_file), in_8_bits.distance(by_file)
    assert not in_8_bits.same_as(exact)
    assert "in 8 bits" in lives(in_8_bits)


@pytest.mark.usefixtures("unchanged")
def test_8_bits_matter_to_the_bases_steps_alone(webui: WebUI, pair: Pair) -> None:
    """Where one model makes every step there is nothing to save; networks are merged into the 8 bits as well."""
    for k, mode in ((0, "hybrid"), (4, "hybrid"), (1, "distilled"), (1, "base")):
        extra = {"switch_step": k, "mode": mode}
        reply = hybrid(webui, pair, "8bit", AMPLE, settings=extra)
        assert reply.same_as(hybrid(webui, pair, "both", settings=extra)), (k, mode)
        assert "8 bits" not in lives(reply)
    with_lora = f"a red cat <lora:{pair.lora}:1>"
    first, plain = (hybrid(webui, pair, "8bit", AMPLE, prompt=prompt) for prompt in (with_lora, "a red cat"))
    assert not plain.same_as(first)
    assert hybrid(webui, pair, "8bit", AMPLE, prompt=with_lora).same_as(first)
    assert hybrid(webui, pair, "8bit", AMPLE, prompt=with_lora).same_as(first), "computed as the first time"
    assert hybrid(webui, pair, "8bit", AMPLE, prompt="a red cat").same_as(plain)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("call", marked_but([1, 2], [1, 2, 3, 4], pytest.mark.slow))
@pytest.mark.parametrize("residency", ["auto", "both", "8bit"])
def test_memory_that_runs_out_once_ends_in_the_image(webui: WebUI, pair: Pair, residency: str, call: int) -> None:
    """At any call the idle model makes room and the call is made again; the user is told."""
    if residency == "auto" and keeps_models_in_ram(webui):
        pytest.skip("the idle model is in RAM already")
    webui.generate(pair.distilled).must_work()  # a model for which memory ran out is kept in RAM while it is resident
    expected = hybrid(webui, pair, "both" if call == 1 else residency, AMPLE)
    reply = hybrid(webui, pair, residency, {**AMPLE, "call": call, "kind": "oom"})
    if (residency, call) != ("8bit", 2):  # the base's second step is then computed exactly
        assert reply.same_as(expected)
    assert "Memory ran out with" in reply.infotext
    assert "ran out" in lives(reply)
    assert "else in RAM" in lives(hybrid(webui, pair, "auto", AMPLE))


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("call", marked_but([1, 2], [1, 2, 3, 4], pytest.mark.slow))
def test_memory_that_runs_out_for_good_ends_in_a_sentence(webui: WebUI, pair: Pair, call: int) -> None:
    for residency in ("both", "ram", "8bit"):
        reply = hybrid(webui, pair, residency, {**AMPLE, "call": call, "kind": "oom for good"})
        assert reply.status == 422
        assert "Memory ran out while sampling (injected: out of memory); make the image or the batch smaller" in (
            reply.sentence
        )


@pytest.mark.usefixtures("unchanged")
def test_memory_that_runs_out_while_loading(webui: WebUI, pair: Pair) -> None:
    expected = hybrid(webui, pair, "both")
    webui.generate(pair.distilled).must_work()
    reply = hybrid(webui, pair, "both", {**AMPLE, "oom_inside": [LOADING[webui.flavour], 100]})
    assert reply.status == 422
    assert "There is not enough memory for the distilled model" in reply.sentence
    assert hybrid(webui, pair, "both").same_as(expected)
    if webui.flavour == "a1111":  # Forge loads models to RAM to begin with
        webui.generate(pair.distilled).must_work()
        reply = hybrid(webui, pair, "both", {**AMPLE, "oom_inside": [LOADING["a1111"], 1]})
        assert reply.same_as(expected)
        assert "ran out with both" in lives(reply)
        assert "Memory ran out with both models on " in reply.infotext
        assert "else in RAM" in lives(hybrid(webui, pair, "auto", AMPLE)), "it would run out again"
        webui.generate(pair.distilled).must_work()
        reply = hybrid(webui, pair, "8bit", {**AMPLE, "oom_inside": [EIGHT_BITS, 1]})
        assert reply.same_as(expected)
        warning = reply.infotext.split("Memory ran out with base ")[1]
        assert " in 8 bits, its own values in RAM; distilled on " in warning


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("inside", "residency"), STAGES)
@pytest.mark.parametrize("times", [1, 1000])
def test_memory_that_runs_out_at_any_stage(webui: WebUI, pair: Pair, inside: str, residency: str, times: int) -> None:
    """An image, and the right one, or a sentence; the next image is right in any case."""
    webui.generate(pair.distilled).must_work()
    extra = {"distilled_model": pair.other_text_encoder or pair.distilled}
    reply = hybrid(webui, pair, residency, {**AMPLE, "oom_inside": [inside, times]}, settings=extra)
    exact, usual = (hybrid(webui, pair, where, AMPLE, settings=extra) for where in ("both", residency))
    if reply.status == 200:
        assert reply.same_as(exact) or reply.same_as(usual)
    else:
        assert reply.status == 422
        assert "injected: out of memory" in reply.sentence
        assert reply.sentence.startswith(("Memory ran out while ", "There is not enough memory for"))


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("residency", ["both", "ram", "8bit"])
def test_the_host_sends_its_model_away_and_back(webui: WebUI, pair: Pair, residency: str) -> None:
    """Unloaded, reloaded, another checkpoint and back: each time the second model is rebuilt or goes along."""
    expected = hybrid(webui, pair, residency, AMPLE).must_work()
    for path in ("/sdapi/v1/unload-checkpoint", "/sdapi/v1/reload-checkpoint"):
        status, body = webui.call(path, {})
        assert status == 200, body
        if path.endswith("reload-checkpoint"):
            assert hybrid(webui, pair, residency, AMPLE).same_as(expected)
    webui.generate(pair.distilled).must_work()
    assert hybrid(webui, pair, residency, AMPLE).same_as(expected)
