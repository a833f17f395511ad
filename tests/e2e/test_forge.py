"""What Forge offers beside A1111, in both phases: patches and controls of the U-Net, its memory, its own CFGs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.client import Pair, Reply, WebUI, png_base64
from tests.e2e.flavour import REAL_HOSTS_ALONE
from tests.e2e.refiner import refined
from tests.e2e.test_equalities import settings
from tests.e2e.test_passes import HIRES, picture
from tests.matrices import marked_but

pytestmark = pytest.mark.forge

FREEU = "FreeU Integrated (SD 1.x, SD 2.x, SDXL)"
KOHYA = "Kohya HRFix Integrated"
NEVER_OOM = "Never OOM Integrated"
CONTROLNET = "ControlNet"
SAG = "SelfAttentionGuidance Integrated (SD 1.x, SD 2.x, SDXL)"
THRESHOLDING = "DynamicThresholding (CFG-Fix) Integrated"


def freeu(start: float, end: float) -> dict[str, Any]:
    """Strong FreeU over a part of the steps, as it counts them."""
    return {FREEU: [True, 1.5, 1.6, 0.9, 0.2, start, end]}


def kohya(start: float, end: float) -> dict[str, Any]:
    """Halved features in the second block, over a share of the schedule (0 is the highest noise)."""
    return {KOHYA: [True, 2, 2.0, start, end, True, "bicubic", "bicubic"]}


def control(pair: Pair, start: float, end: float) -> dict[str, Any]:
    """A picture's control over a share of the schedule."""
    unit = {"enabled": True, "module": "None", "model": pair.controlnet, "image": png_base64(picture()), "weight": 1.0}
    return {CONTROLNET: [{**unit, "guidance_start": start, "guidance_end": end}]}


def patches(pair: Pair, feature: str, start: float, end: float) -> dict[str, Any]:
    """A neighbour of the tests' own, or one of the host's."""
    if feature in ("patch", "control"):
        return {"DD patch": [feature, start, end]}
    assert feature != "ControlNet" or pair.controlnet, "the host has no NAME_controlnet; see docs/testing.md"
    of_host = {"FreeU": freeu, "Kohya": kohya, "ControlNet": lambda *part: control(pair, *part)}
    return of_host[feature](start, end)


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
@pytest.mark.parametrize("preview", [False, True], ids=["", "DT-preview"])
def test_what_is_exchanged_at_each_step_acts_in_both_phases(
    webui: WebUI, pair: Pair, sampler: str, preview: bool
) -> None:
    """An extension that puts another patcher in the host's place as the steps go: alone on each model the host's."""
    # One more patch at each step: the host's own images grow brighter from step to step.
    request = {"sampler_name": sampler, "faults": {"exchange": 0.1}}
    for mode, model in (("base", pair.base), ("distilled", pair.distilled)):
        ours = webui.generate(pair.base, settings(pair, mode=mode, dt=preview), **request)
        assert ours.same_as(webui.generate(model, **request)), mode
        assert not ours.same_as(webui.generate(model, sampler_name=sampler)), mode
    hybrid = webui.generate(pair.base, settings(pair, switch_step=2, dt=preview), **request)
    assert not hybrid.same_as(webui.generate(pair.base, settings(pair, switch_step=2), sampler_name=sampler))
    assert hybrid.same_as(webui.generate(pair.base, settings(pair, switch_step=2), **request))


@pytest.mark.parametrize(
    "feature",
    ["patch", "control", *(pytest.param(name, marks=REAL_HOSTS_ALONE) for name in ("FreeU", "Kohya", "ControlNet"))],
)
def test_what_patches_the_unet_acts_in_both_phases(webui: WebUI, pair: Pair, feature: str) -> None:
    """Alone on each model it is the host's own; in a hybrid run it changes the base's part and the distilled part."""
    request = {"width": 128, "height": 128}
    whole = {**request, "scripts": patches(pair, feature, 0.0, 1.0)}
    late = {**request, "scripts": patches(pair, feature, 0.6, 1.0)}
    assert webui.generate(pair.base, settings(pair, mode="base"), **whole).same_as(webui.generate(pair.base, **whole))
    distilled = webui.generate(pair.base, settings(pair, mode="distilled"), **whole)
    plain = webui.generate(pair.base, settings(pair), **request)
    in_both = webui.generate(pair.base, settings(pair), **whole)
    in_distilled = webui.generate(pair.base, settings(pair), **late)
    assert not in_distilled.same_as(plain), "it does not act in the distilled phase"
    assert not in_both.same_as(in_distilled), "it does not act in the base phase"
    assert webui.generate(pair.base, settings(pair), **request).same_as(plain), "it acts after its request"
    assert distilled.same_as(webui.generate(pair.distilled, **whole))
    assert webui.generate(pair.base, settings(pair, residency="ram"), **whole).same_as(in_both)
    in_8_bits = webui.generate(pair.base, settings(pair, residency="8bit"), **whole)
    late_in_8_bits = webui.generate(pair.base, settings(pair, residency="8bit"), **late)
    assert not in_8_bits.same_as(late_in_8_bits), "it does not act on the base in 8 bits"


@REAL_HOSTS_ALONE
def test_never_oom_changes_no_image(webui: WebUI, pair: Pair) -> None:
    """Both models are unloaded and streamed from main memory."""
    plain = webui.generate(pair.base, settings(pair))
    try:
        assert webui.generate(pair.base, settings(pair), scripts={NEVER_OOM: [True, False]}).same_as(plain)
    finally:
        assert webui.generate(pair.base, settings(pair), scripts={NEVER_OOM: [False, False]}).same_as(plain)


def test_everything_unloaded_between_two_images(webui: WebUI, pair: Pair) -> None:
    """The host's memory management lets both models go and brings both back, networks included."""
    request = {"prompt": f"a red cat <lora:{pair.lora}:0.8>"}
    first = webui.generate(pair.base, settings(pair), **request)
    webui.call("/sdapi/v1/unload-checkpoint", {})
    assert webui.generate(pair.base, settings(pair), **request).same_as(first)


def test_networks_follow_the_prompt(webui: WebUI, pair: Pair) -> None:
    """With a LoRA, without, with another strength, and with the first again after requests that never switched."""
    strong, weak = (f"a red cat <lora:{pair.lora}:{strength}>" for strength in (0.8, 0.3))
    first = webui.generate(pair.base, settings(pair), prompt=strong)
    without = webui.generate(pair.base, settings(pair))
    other = webui.generate(pair.base, settings(pair), prompt=weak)
    webui.generate(pair.base).must_work()
    assert webui.generate(pair.base, settings(pair), prompt=strong).same_as(first)
    assert webui.generate(pair.base, settings(pair)).same_as(without)
    assert not first.same_as(other)
    assert not first.same_as(without)


@pytest.mark.parametrize("passes", ["first", "hires", "both"])
def test_the_hires_pass_takes_each_phase_s_cfg(webui: WebUI, pair: Pair, passes: str) -> None:
    """`hr_cfg` is the host's way to guide the hires pass; the phases' own CFGs take its place, whatever was sent."""

    def made(base_cfg: float, distilled_cfg: float, hr_cfg: float) -> Reply:
        chosen = settings(pair, passes=passes, switch_step=4, base_cfg=base_cfg, distilled_cfg=distilled_cfg)
        return webui.generate(pair.base, chosen, **HIRES, hr_cfg=hr_cfg)

    reference = made(1, 5, 1)
    assert made(1, 5, 9).same_as(reference)
    assert not made(7, 5, 1).same_as(reference)
    assert not made(1, 1, 1).same_as(reference)


def test_other_modules_for_the_hires_pass_are_refused(webui: WebUI, pair: Pair) -> None:
    """The host would reload everything between the passes."""
    reply = webui.generate(pair.base, settings(pair), **HIRES, hr_additional_modules=["other.safetensors"])
    assert reply.status == 422
    assert "both switch models" in reply.sentence


@pytest.fixture
def stored(webui: WebUI, pair: Pair, request: pytest.FixtureRequest) -> Iterator[Reply]:
    """U-Nets stored in the given way; the host looks at the setting when another checkpoint is asked for.

    Gives an image of the base as it is stored otherwise.
    """

    def store(way: str) -> None:
        webui.call("/sdapi/v1/options", {"forge_unet_storage_dtype": way})
        for name in (pair.distilled, pair.base):
            webui.call("/sdapi/v1/options", {"sd_model_checkpoint": name})

    usual = webui.generate(pair.base, prompt=f"a red cat <lora:{pair.lora}:0.7>")
    store(request.param)
    yield usual
    store("Automatic")


@pytest.mark.parametrize("stored", ["float8-e4m3fn", "float8-e5m2", "float8-e4m3fn (fp16 LoRA)"], indirect=True)
def test_unets_in_8_bits(webui: WebUI, pair: Pair, stored: Reply) -> None:
    """With the prompt's networks merged, and applied at each call; the same images as the host's own."""
    request = {"prompt": f"a red cat <lora:{pair.lora}:0.7>"}
    off = webui.generate(pair.base, **request)
    assert not off.same_as(stored)
    hybrid = webui.generate(pair.base, settings(pair), **request)
    assert hybrid.same_as(refined(webui, hybrid, pair.base, pair.distilled, **request))
    distilled = webui.generate(pair.base, settings(pair, mode="distilled"), **request)
    assert distilled.same_as(webui.generate(pair.distilled, **request))
    assert webui.generate(pair.base, settings(pair, mode="base"), **request).same_as(off)
    for residency in ("both", "ram", "8bit"):  # the base is in 8 bits as it is
        assert webui.generate(pair.base, settings(pair, residency=residency), **request).same_as(hybrid)
    chosen = settings(pair, distilled_model=f"LoRA: {pair.lora}", lora_strength=0.7)
    by_lora = webui.generate(pair.base, {**chosen, "switch_step": 0}, prompt="a red cat")
    assert by_lora.same_as(webui.generate(pair.base, prompt=f"a red cat <lora:{pair.lora}:0.7>"))
    assert not hybrid.same_as(off)


@pytest.mark.parametrize("passes", marked_but(["first"], ["first", "hires"], pytest.mark.slow))
@pytest.mark.parametrize("mode", ["hybrid", "base", "distilled"])
@pytest.mark.parametrize(("base_cfg", "distilled_cfg"), [(5, 1), (1, 5), (5, 5), (1, 1)])
def test_self_attention_guidance_that_does_nothing_is_told(
    webui: WebUI, pair: Pair, base_cfg: int, distilled_cfg: int, mode: str, passes: str
) -> None:
    """This host's own keeps away from both phases where the request's CFG is 1, and prints that to the log alone."""
    chosen = settings(pair, mode=mode, switch_step=2, base_cfg=base_cfg, distilled_cfg=distilled_cfg, passes="both")
    request = {**(HIRES if passes == "hires" else {}), "steps": 4}
    plain = webui.generate(pair.base, chosen, **request)
    guided = webui.generate(pair.base, chosen, scripts={SAG: [True]}, **request).must_work()
    told = "SelfAttentionGuidance Integrated has no effect" in guided.infotext
    assert told == guided.same_as(plain)
    assert told == ((base_cfg if mode == "base" else distilled_cfg) == 1)
    assert "SelfAttentionGuidance" not in plain.infotext
    if told:
        assert f"{'base' if mode == 'base' else 'distilled'} CFG" in guided.infotext


@pytest.mark.parametrize("mode", ["hybrid", "base", "distilled"])
@pytest.mark.parametrize(("base_cfg", "distilled_cfg"), [(5, 1), (1, 5), (5, 5), (1, 1)])
def test_what_guides_with_a_half_that_is_missing_is_told(
    webui: WebUI, pair: Pair, base_cfg: int, distilled_cfg: int, mode: str
) -> None:
    """It acts at CFG 1 too, on zeros, as it does on the host alone; the note names the phases."""
    chosen = settings(pair, mode=mode, switch_step=2, base_cfg=base_cfg, distilled_cfg=distilled_cfg)
    guided = webui.generate(pair.base, chosen, scripts={THRESHOLDING: [True]}).must_work()
    took_part = {"base": mode != "distilled" and base_cfg == 1, "distilled": mode != "base" and distilled_cfg == 1}
    named = " and ".join(phase for phase, missing in took_part.items() if missing)
    assert (f"which a phase at CFG 1 has not ({named})" in guided.infotext) == bool(named)
    if mode != "hybrid":
        model, cfg = (pair.base, base_cfg) if mode == "base" else (pair.distilled, distilled_cfg)
        assert guided.same_as(webui.generate(model, cfg_scale=cfg, scripts={THRESHOLDING: [True]}))
