"""The images of a hybrid request against what the host makes by itself of the same models."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.flavour import ON_A_REAL_HOST, REAL_HOSTS_ALONE, flavour_under_test
from tests.e2e.refiner import refined
from tests.matrices import marked_but

# Same operations on both sides: a CFG other than 1 in both phases and the host's own schedule.
ALIKE = {"family": "custom", "base_cfg": 5, "distilled_cfg": 5}
# DPM fast and DPM adaptive walk on a grid of their own and are run once for each phase. On A1111 LCM's 50 sigmas make
# the Refiner's ratio at least 0.95 at once. Those cannot be made to switch after the same step.
REFINER_CANNOT = {"a1111": ("DPM fast", "DPM adaptive", "LCM"), "forge": ("DPM fast", "DPM adaptive")}
STEPS = 4
COMMON_SAMPLERS = (
    *("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a", "Euler"),
    *("LMS", "Heun", "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "DDIM", "PLMS", "UniPC", "LCM"),
)
# Those that the embedded WebUI does not play.
RARER_SAMPLERS = {"a1111": ("Restart", "DDIM CFG++")}
RARER_SAMPLERS["forge"] = (*RARER_SAMPLERS["a1111"], "HeunPP2", "IPNDM", "IPNDM_V", "DEIS", "DDPM")
# First and second order, with noise and without, in sigmas and in timesteps, over many steps and on a grid of its own.
OF_EACH_KIND = ("Euler a", "Heun", "DPM++ 2M SDE", "DPM fast", "DDIM", "LCM")
SAMPLERS = COMMON_SAMPLERS + (RARER_SAMPLERS[flavour_under_test()] if ON_A_REAL_HOST else ())


def settings(pair: Pair, **values: Any) -> dict[str, Any]:
    return {"distilled_model": pair.distilled, **ALIKE, **values}


def prompt(pair: Pair, lora: bool) -> str:
    return f"a red cat <lora:{pair.lora}:0.8>" if lora else "a red cat"


def test_the_list_of_samplers_is_the_hosts(webui: WebUI) -> None:
    """No sampler of the host goes untested."""
    assert set(webui.samplers()) == set(SAMPLERS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equals_the_host(webui: WebUI, pairs: list[Pair], sampler: str) -> None:
    """Distilled is the distilled checkpoint loaded natively, base the base, hybrid the host's Refiner: bit for bit."""
    _equals_the_host(webui, pairs, sampler, lora=False)


@pytest.mark.parametrize("sampler", marked_but(OF_EACH_KIND, SAMPLERS, pytest.mark.slow))
def test_equals_the_host_with_a_lora(webui: WebUI, pairs: list[Pair], sampler: str) -> None:
    """The same with a LoRA in the prompt, which is both models'."""
    _equals_the_host(webui, pairs, sampler, lora=True)


def _equals_the_host(webui: WebUI, pairs: list[Pair], sampler: str, lora: bool) -> None:
    wrong = {
        str(pair): found
        for pair in pairs
        if (pair.lora or not lora) and (found := _differences(webui, pair, sampler, lora))
    }
    assert not wrong


def _differences(webui: WebUI, pair: Pair, sampler: str, lora: bool) -> list[str]:
    request = {"sampler_name": sampler, "prompt": prompt(pair, lora)}
    off = webui.generate(pair.base, **request)
    hybrid = webui.generate(pair.base, settings(pair), **request)
    distilled = webui.generate(pair.base, settings(pair, mode="distilled"), **request)
    base = webui.generate(pair.base, settings(pair, mode="base"), **request)
    again = webui.generate(pair.base, **request)
    checks = {
        "mode base is not the base": base.same_as(off),
        "off after hybrid is not the base": again.same_as(off),
        "hybrid is the base": not hybrid.same_as(off),
        "hybrid is the distilled model": not hybrid.same_as(distilled),
    }
    if sampler not in REFINER_CANNOT[webui.flavour]:
        by_host = refined(webui, hybrid, pair.base, pair.distilled, **request)
        checks["hybrid is not the Refiner's image"] = hybrid.same_as(by_host)
    native = webui.generate(pair.distilled, **request)
    checks["mode distilled is not the distilled checkpoint"] = distilled.same_as(native)
    return [what for what, holds in checks.items() if not holds]


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "LCM", "PLMS"])
def test_switch_step_0_and_all(webui: WebUI, pairs: list[Pair], sampler: str) -> None:
    """k = 0 is mode distilled, k = all is mode base."""
    for pair in pairs:
        for k, mode in ((0, "distilled"), (STEPS, "base")):
            by_step = webui.generate(pair.base, settings(pair, switch_step=k), sampler_name=sampler)
            by_mode = webui.generate(pair.base, settings(pair, mode=mode), sampler_name=sampler)
            assert by_step.same_as(by_mode), (pair, mode)


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M", "Heun", "DDIM", "UniPC"])
@pytest.mark.parametrize("k", marked_but([1], [1, 2, 3], pytest.mark.slow))
def test_other_text_encoder(webui: WebUI, pairs: list[Pair], sampler: str, k: int) -> None:
    """With a second file whose text encoder differs, each phase reads the prompt with its own model's."""
    for pair in (p for p in pairs if p.other_text_encoder):
        request = {"sampler_name": sampler, "prompt": prompt(pair, lora=True), "steps": 5}
        chosen = settings(pair, distilled_model=pair.other_text_encoder, switch_step=k)
        hybrid = webui.generate(pair.base, chosen, **request)
        if k == 1:
            native = webui.generate(pair.other_text_encoder, **request)
            assert webui.generate(pair.base, {**chosen, "switch_step": 0}, **request).same_as(native)
            shared = webui.generate(pair.base, {**chosen, "text_encoder": "base"}, **request)
            assert not shared.same_as(hybrid)
        assert hybrid.same_as(refined(webui, hybrid, pair.base, pair.other_text_encoder, **request)), pair


@REAL_HOSTS_ALONE
def test_textual_inversion(webui: WebUI, pairs: list[Pair]) -> None:
    """An embedding in the prompt is read by the base's text encoder and by the second file's own."""
    for pair in (p for p in pairs if p.embedding):
        request = {"prompt": f"a {pair.embedding} cat", "negative_prompt": f"bad {pair.embedding}"}
        for distilled in filter(None, (pair.distilled, pair.other_text_encoder)):
            chosen = settings(pair, distilled_model=distilled)
            hybrid = webui.generate(pair.base, chosen, **request)
            assert hybrid.same_as(refined(webui, hybrid, pair.base, distilled, **request)), (pair, distilled)
            assert not hybrid.same_as(webui.generate(pair.base, chosen, prompt="a cat", negative_prompt="bad"))
            native = webui.generate(distilled, **request)
            assert webui.generate(pair.base, {**chosen, "switch_step": 0}, **request).same_as(native), (pair, distilled)


def test_cfg_1_leaves_the_unconditional_half_out(webui: WebUI, pairs: list[Pair]) -> None:
    """Within rounding of the host's own CFG 1, which computes it."""
    for pair in pairs:
        request = {"sampler_name": "Euler", "cfg_scale": 1}
        native = webui.generate(pair.distilled, **request)
        ours = webui.generate(pair.base, settings(pair, mode="distilled", distilled_cfg=1), **request)
        assert ours.must_work().distance(native.must_work()) < 0.5, pair


def test_each_phase_has_its_own_cfg(webui: WebUI, pair: Pair) -> None:
    """The base's CFG changes the hybrid image, and not the distilled phase's part in it."""
    low = webui.generate(pair.base, settings(pair, base_cfg=1))
    high = webui.generate(pair.base, settings(pair, base_cfg=9))
    only_distilled = [webui.generate(pair.base, settings(pair, mode="distilled", base_cfg=cfg)) for cfg in (1, 9)]
    assert not low.same_as(high)
    assert only_distilled[0].same_as(only_distilled[1])


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M", "DDIM"])
def test_batches_variations_and_prompt_features(webui: WebUI, pair: Pair, sampler: str) -> None:
    """Batches, batch count, variation seeds, AND, prompt editing, attention and clip skip as on the Refiner's way."""
    requests: list[dict[str, Any]] = [
        {"batch_size": 2, "n_iter": 2},
        *([{"subseed": 7, "subseed_strength": 0.4}] if ON_A_REAL_HOST else []),
        {"prompt": "a red cat AND a (blue:1.3) dog :0.7"},
        {"prompt": "a [red:green:0.5] cat, [fish|bird] BREAK on a table"},
        {"options": {"CLIP_stop_at_last_layers": 2}},
    ]
    for request in requests:
        request = {"sampler_name": sampler, **request}
        hybrid = webui.generate(pair.base, settings(pair, switch_step=2), **request)
        assert hybrid.same_as(refined(webui, hybrid, pair.base, pair.distilled, **request)), request


def test_tiling(webui: WebUI, pair: Pair) -> None:
    """Against the distilled checkpoint loaded natively: the host's Refiner loses tiling at its reload (1.10.1)."""
    native = webui.generate(pair.distilled, tiling=True)
    assert webui.generate(pair.base, settings(pair, mode="distilled"), tiling=True).same_as(native)
    tiled = webui.generate(pair.base, settings(pair), tiling=True)
    without_effect = webui.flavour == "forge"  # it says so itself: "Tiling is currently under maintenance" (dfdcbab6)
    assert tiled.same_as(webui.generate(pair.base, settings(pair))) == without_effect


def test_cfg_1_with_and_prompts_still_uses_the_unconditional_half(webui: WebUI, pair: Pair) -> None:
    """AND adds each part to the unconditional prediction, at CFG 1 too; on Forge it is what that host makes of it."""
    request = {"prompt": "a red cat AND a blue dog :0.7", "cfg_scale": 1}
    native = webui.generate(pair.distilled, **request)
    ours = webui.generate(pair.base, settings(pair, mode="distilled", distilled_cfg=1), **request)
    assert ours.same_as(native)


@pytest.mark.parametrize(
    "options",
    [
        {"always_discard_next_to_last_sigma": True},
        {"sgm_noise_multiplier": True},
        {"batch_cond_uncond": False},
        {"pad_cond_uncond": True},
        {"skip_early_cond": 0.3},
        {"s_min_uncond": 4.0, "s_min_uncond_all": True},
        {"eta_ancestral": 0.5, "s_noise": 1.02},
        {"eta_noise_seed_delta": 31337},
        {"use_old_karras_scheduler_sigmas": True},
        {"no_dpmpp_sde_batch_determinism": False, "enable_quantization": True},
    ],
    ids=lambda options: "+".join(options),
)
def test_the_hosts_settings_keep_working(webui: WebUI, pair: Pair, options: dict[str, Any]) -> None:
    """Settings that change schedule, noise or guidance act in a hybrid request as in the host's own."""
    request = {"sampler_name": "DPM++ 2S a", "options": options, "steps": 5, "prompt": "a red cat " * 30}
    hybrid = webui.generate(pair.base, settings(pair, switch_step=2), **request)
    assert hybrid.same_as(refined(webui, hybrid, pair.base, pair.distilled, **request))


def test_discarded_sigmas_do_not_shorten_a_family(webui: WebUI, pair: Pair) -> None:
    chosen = {"distilled_model": pair.distilled, "family": "dmd2"}
    plain = webui.generate(pair.base, chosen)
    discarding = webui.generate(pair.base, chosen, options={"always_discard_next_to_last_sigma": True})
    assert plain.same_as(discarding)
