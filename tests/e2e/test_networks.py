"""The prompt's LoRAs on one model or on both, at weights of their own: the images that the host makes with such models.

On both hosts `<lora:x:0.5>` is the oracle for a factor of 0.5 on `<lora:x:1>`, and a checkpoint with the LoRA merged in
for a LoRA on one model alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.checkpoints import KINDS, make_network
from tests.e2e.client import Pair, Reply, WebUI
from tests.e2e.flavour import REAL_HOSTS_ALONE
from tests.e2e.refiner import refined
from tests.e2e.test_forms import MERGING, lora_folder, merged_checkpoint, placed
from tests.e2e.test_forms import settings as form_settings

CATS = "a red cat"


def settings(pair: Pair, **values: Any) -> dict[str, Any]:
    return form_settings(pair.distilled, **values)


def with_loras(pair: Pair, first: float, second: float | None = None) -> str:
    more = "" if second is None else f" <lora:{pair}_form_lora:{second}>"
    return f"{CATS} <lora:{pair.lora}:{first}>{more}"


def hybrid(webui: WebUI, pair: Pair, prompt: str, k: int = 2, **values: Any) -> Reply:
    return webui.generate(pair.base, settings(pair, switch_step=k, **values), prompt=prompt).must_work()


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M", "Heun", "DDIM"])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_factor_is_the_weight_in_the_prompt(webui: WebUI, pair: Pair, factor: float, sampler: str) -> None:
    """On each model alone as loaded natively, on both as the same prompt with other weights; two LoRAs at once."""
    request = {"sampler_name": sampler}
    full = {**request, "prompt": with_loras(pair, 1.0, 0.5)}
    less = {**request, "prompt": with_loras(pair, factor, 0.5 * factor)}
    factors = {"base_lora_factor": factor, "distilled_lora_factor": factor}
    of_base = webui.generate(pair.base, settings(pair, mode="base", **factors), **full)
    assert of_base.same_as(webui.generate(pair.base, **less))
    of_distilled = webui.generate(pair.base, settings(pair, mode="distilled", **factors), **full)
    assert of_distilled.same_as(webui.generate(pair.distilled, **less))
    both = webui.generate(pair.base, settings(pair, **factors), **full)
    assert both.same_as(webui.generate(pair.base, settings(pair), **less))
    assert not both.same_as(webui.generate(pair.base, settings(pair), **full))


def test_one_model_alone(webui: WebUI, pair: Pair) -> None:
    """Where only one model runs the LoRA is there or not, and a factor of 0 is as good as leaving it out."""
    prompt, plain = with_loras(pair, 1.0), f"{CATS} "
    base, distilled = (webui.generate(model, prompt=plain) for model in (pair.base, pair.distilled))
    base_lora, distilled_lora = (webui.generate(model, prompt=prompt) for model in (pair.base, pair.distilled))
    for k, target, native in (
        (4, "base", base_lora),
        (4, "distilled", base),
        (0, "base", distilled),
        (0, "distilled", distilled_lora),
    ):
        assert hybrid(webui, pair, prompt, k, lora_targets=target).same_as(native), (k, target)
    assert hybrid(webui, pair, prompt, 4, base_lora_factor=0).same_as(base)
    assert hybrid(webui, pair, prompt, 0, distilled_lora_factor=0).same_as(distilled)
    without_second = webui.generate(
        pair.base, {"mode": "base", "base_cfg": 5, "lora_targets": "distilled"}, prompt=prompt
    )
    assert without_second.same_as(base)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_on_the_base_alone_is_a_base_with_it_merged_in(webui: WebUI, pair: Pair, k: int) -> None:
    """Within rounding: the file rounds the merged weights once more. The distilled model reads the plain prompt."""
    prompt = f"{CATS} <lora:{pair}_form_lora:1>"
    ours = hybrid(webui, pair, prompt, k, lora_targets="base")
    with merged_checkpoint(webui, pair, 1.0) as merged:
        by_file = webui.generate(merged, settings(pair, switch_step=k), prompt=f"{CATS} ")
    rounding = ours.distance(by_file)
    others = [hybrid(webui, pair, prompt, k, lora_targets=target) for target in ("both", "distilled")]
    assert rounding < 0.05
    assert all(rounding * 5 < ours.distance(other) for other in others)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_on_the_distilled_alone_is_a_distilled_with_it_merged_in(webui: WebUI, pair: Pair, k: int) -> None:
    """By the file of forms: the base's LoRA as distilled model is the base with the LoRA on the distilled steps."""
    prompt = f"{CATS} <lora:{pair}_form_lora:0.8>"
    itself = form_settings(pair.base, switch_step=k, lora_targets="distilled")
    ours = webui.generate(pair.base, itself, prompt=prompt)
    as_model = form_settings(f"LoRA: {pair}_form_lora", switch_step=k, lora_strength=0.8)
    assert ours.same_as(webui.generate(pair.base, as_model, prompt=f"{CATS} "))
    assert not ours.same_as(webui.generate(pair.base, prompt=prompt))


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_a_lora_as_distilled_model_keeps_its_own_weight(webui: WebUI, pair: Pair, factor: float) -> None:
    """The factor is for the prompt's LoRAs: as the same prompt with other weights, in U-Net and text encoder."""
    model = form_settings(f"LoRA: {pair}_form_lora", switch_step=0, lora_strength=0.8)
    ours = webui.generate(pair.base, {**model, "distilled_lora_factor": factor}, prompt=with_loras(pair, 1.0))
    less = with_loras(pair, factor) if factor else f"{CATS} "
    assert ours.same_as(webui.generate(pair.base, model, prompt=less))
    hybrid_model = {**model, "switch_step": 2, "base_lora_factor": factor}
    both = webui.generate(pair.base, {**hybrid_model, "distilled_lora_factor": factor}, prompt=with_loras(pair, 1.0))
    assert both.same_as(webui.generate(pair.base, {**model, "switch_step": 2}, prompt=less))


def test_changed_switched_off_and_back(webui: WebUI, pair: Pair) -> None:
    """Every image is the same whatever came before it, and the base is as it was."""
    webui.generate(pair.base).must_work()
    before = webui.fingerprint()
    requests = [
        (with_loras(pair, 1.0), {"lora_targets": "base"}),
        (with_loras(pair, 1.0, 0.5), {"lora_targets": "distilled"}),
        (with_loras(pair, 1.0), {"base_lora_factor": 0.5, "distilled_lora_factor": 1.5}),
        (f"{CATS} ", {"lora_targets": "base"}),
        (with_loras(pair, 1.0), {}),
    ]
    first = [hybrid(webui, pair, prompt, **values) for prompt, values in requests]
    assert len({reply.images[0].tobytes() for reply in first}) == len(first)
    plain = webui.generate(pair.base)
    again = [hybrid(webui, pair, prompt, **values) for prompt, values in reversed(requests)]
    assert all(one.same_as(other) for one, other in zip(first, reversed(again), strict=True))
    assert webui.generate(pair.base).same_as(plain)
    assert webui.fingerprint() == before


@pytest.mark.parametrize("values", [{}, {"lora_targets": "base"}, {"base_lora_factor": 0.5}], ids=str)
def test_a_second_image_merges_nothing(webui: WebUI, pair: Pair, values: dict[str, Any]) -> None:
    """Other seed and other words, the same networks: each model has kept them."""
    merging = MERGING[webui.flavour]

    def merges(words: str, seed: int) -> int:
        prompt = f"{words} <lora:{pair.lora}:1>"
        counted = {"faults": {"count": [merging]}, "seed": seed, "prompt": prompt}
        webui.generate(pair.base, settings(pair, switch_step=2, **values), **counted).must_work()
        return webui.get("/dd-faults/counts")[merging]

    webui.generate(pair.base).must_work()
    assert merges("a red cat", 1) > 0
    assert merges("a red cat", 2) == 0
    assert merges("a blue dog", 3) == 0


def test_hires_passes_too(webui: WebUI, pair: Pair) -> None:
    """With networks of its own in the hires prompt; the same prompt with other weights is the oracle."""
    hires = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.6, "hr_second_pass_steps": 4}
    factors = {"base_lora_factor": 0.5, "distilled_lora_factor": 0.5, "passes": "both"}
    full = {"prompt": with_loras(pair, 1.0), "hr_prompt": with_loras(pair, 0.5), **hires}
    less = {"prompt": with_loras(pair, 0.5), "hr_prompt": with_loras(pair, 0.25), **hires}
    ours = webui.generate(pair.base, settings(pair, **factors), **full)
    assert ours.same_as(webui.generate(pair.base, settings(pair, passes="both"), **less))
    assert not ours.same_as(webui.generate(pair.base, settings(pair, passes="both"), **full))


def test_hires_prompts_are_read_at_the_factor(webui: WebUI, pair: Pair) -> None:
    """In the text encoder alone, which the host has read its hires prompts with when the first pass is over."""
    hires = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.6, "hr_second_pass_steps": 4}
    factors = {"base_lora_factor": 0.5, "distilled_lora_factor": 0.5, "passes": "both"}

    def prompts(first: int, second: int) -> dict[str, Any]:
        in_text = (f"<lora:{pair.lora}:te={weight}:unet=0>" for weight in (first, second))
        return {"prompt": f"{CATS} {next(in_text)}", "hr_prompt": f"a blue dog {next(in_text)}", **hires}

    ours = webui.generate(pair.base, settings(pair, **factors), **prompts(10, 8))
    assert ours.same_as(webui.generate(pair.base, settings(pair, passes="both"), **prompts(5, 4)))
    assert not ours.same_as(webui.generate(pair.base, settings(pair, passes="both"), **prompts(10, 8)))
    assert not ours.same_as(webui.generate(pair.base, settings(pair, passes="both"), **prompts(5, 8)))


def test_the_infotext_tells_it(webui: WebUI, pair: Pair) -> None:
    values = {"lora_targets": "base", "base_lora_factor": 0.5}
    reply = hybrid(webui, pair, with_loras(pair, 1.0), **values)
    assert "DD LoRA targets: base" in reply.infotext
    assert "DD base LoRA factor: 0.5" in reply.infotext


@pytest.mark.parametrize(
    "fault", [{"call": 1, "kind": "error"}, {"call": 3, "kind": "oom"}, {"call": 3, "kind": "interrupt"}]
)
def test_whatever_ends_a_request_the_weights_come_back(webui: WebUI, pair: Pair, fault: dict[str, Any]) -> None:
    prompt = with_loras(pair, 1.0)
    values = {"base_lora_factor": 0.5, "distilled_lora_factor": 1.5}
    good, native = hybrid(webui, pair, prompt, **values), webui.generate(pair.base, prompt=prompt)
    plain = webui.generate(pair.base)
    before = webui.fingerprint()
    webui.generate(pair.base, settings(pair, switch_step=2, **values), prompt=prompt, faults=fault)
    assert webui.generate(pair.base).same_as(plain)
    assert webui.fingerprint() == before
    assert webui.generate(pair.base, prompt=prompt).same_as(native)
    assert hybrid(webui, pair, prompt, **values).same_as(good)


@pytest.fixture
def at_each_call(webui: WebUI, pair: Pair) -> dict[str, Any]:
    """The host merges no LoRA but runs them beside each layer. It takes back what a request sets if it was saved."""
    webui.call("/sdapi/v1/options", {"lora_functional": False})
    options = {"lora_functional": True}
    calls = "networks.network_forward"
    request = {"options": options, "prompt": with_loras(pair, 1.0, 0.5)}
    webui.generate(pair.distilled, faults={"count": [calls]}, **request).must_work()
    if not webui.get("/dd-faults/counts")[calls]:
        pytest.skip("another extension takes lora_functional back")
    return options


@pytest.mark.a1111
def test_loras_that_act_at_each_call(webui: WebUI, pair: Pair, at_each_call: dict[str, Any]) -> None:
    """As the host makes it on each model and with its Refiner, at factors and on one model; then merged ones."""
    prompt, plain = with_loras(pair, 1.0, 0.5), f"{CATS} "
    merged = webui.generate(pair.base, settings(pair), prompt=prompt)
    distilled, base = (webui.generate(m, prompt=prompt, options=at_each_call) for m in (pair.distilled, pair.base))
    without = webui.generate(pair.distilled, prompt=plain, options=at_each_call)

    def ours(words: str = prompt, **values: Any) -> Reply:
        return webui.generate(pair.base, settings(pair, **values), prompt=words, options=at_each_call).must_work()

    assert ours(mode="base").same_as(base)
    assert ours(mode="distilled").same_as(distilled)
    both = ours()
    assert both.same_as(refined(webui, both, pair.base, pair.distilled, prompt=prompt, options=at_each_call))
    assert both.distance(merged) < 0.05 < both.distance(ours(plain))
    half = {"base_lora_factor": 0.5, "distilled_lora_factor": 0.5}
    assert ours(**half).same_as(ours(with_loras(pair, 0.5, 0.25)))
    assert ours(mode="distilled", lora_targets="base").same_as(without)
    assert ours(mode="base", lora_targets="base").same_as(base)
    webui.generate(pair.base).must_work()  # the host keeps what it has read of the last prompt
    again = webui.generate(pair.base, settings(pair), prompt=prompt)
    assert again.same_as(merged)


@pytest.fixture(params=[KINDS[0], *(pytest.param(kind, marks=REAL_HOSTS_ALONE) for kind in KINDS[1:])])
def network(request: pytest.FixtureRequest, webui: WebUI, pair: Pair) -> Iterator[str]:
    """Name of a network of each of LyCORIS's kinds, made for this test."""
    if request.param == "oft" and webui.flavour == "forge":
        pytest.skip("Forge knows no OFT")
    base = next(m["filename"] for m in webui.get("/sdapi/v1/sd-models") if Path(m["filename"]).stem == pair.base)
    name = f"ddkind_{request.param}"
    with placed(webui, lora_folder(webui) / f"{name}.safetensors") as path:
        make_network(Path(base), path, request.param, seed=9)
        webui.call("/sdapi/v1/refresh-loras", {})
        yield name


def test_every_kind_of_network(webui: WebUI, pair: Pair, network: str) -> None:
    """As the host applies it, on both models and on each alone, at a factor, and merged once."""
    full, half = (f"{CATS} <lora:{network}:{weight}>" for weight in (1, 0.5))
    native = webui.generate(pair.distilled, prompt=full).must_work()
    assert not native.same_as(webui.generate(pair.distilled, prompt=f"{CATS} "))
    assert hybrid(webui, pair, full, 0).same_as(native)
    assert hybrid(webui, pair, full, 4).same_as(webui.generate(pair.base, prompt=full))
    assert hybrid(webui, pair, full, 0, distilled_lora_factor=0.5).same_as(webui.generate(pair.distilled, prompt=half))
    assert hybrid(webui, pair, full, 4, base_lora_factor=0.5).same_as(webui.generate(pair.base, prompt=half))
    assert hybrid(webui, pair, full, 0, lora_targets="base").same_as(webui.generate(pair.distilled, prompt=f"{CATS} "))
    both = hybrid(webui, pair, full)
    assert both.same_as(refined(webui, both, pair.base, pair.distilled, prompt=full))
    assert hybrid(webui, pair, full).same_as(both)
    merging = MERGING[webui.flavour]
    counted = {"faults": {"count": [merging]}, "seed": 5, "prompt": full}
    webui.generate(pair.base, settings(pair, switch_step=2), **counted).must_work()
    assert webui.get("/dd-faults/counts")[merging] == 0
