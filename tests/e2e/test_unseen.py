"""While a request runs, nobody else sees anything of the host's changed that the host alone would not change.

The oracle is the same request without this extension: what the host itself exchanges meanwhile (schedules, counters,
the networks of the prompt) may be exchanged, and nothing else. `tests/e2e/faults/dd_witness.py` does the looking.
"""

from __future__ import annotations

import ast
from typing import Any

import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_equalities import settings as pair_settings
from tests.e2e.test_forms import settings as form_settings
from tests.e2e.test_networks import with_loras

pytestmark = pytest.mark.forge

HIRES = {
    "enable_hr": True,
    "hr_scale": 1.5,
    "hr_upscaler": "Latent",
    "denoising_strength": 0.7,
    "hr_second_pass_steps": 4,
    "hr_additional_modules": ["Use same choices"],
}
LOADING_NETWORKS = "while networks load: "
# What copying an object notes on its class, in Python itself.
COPIED = "__slotnames__"
# What the host's own functions note when they load a model, be it their own or one more (backend/operations.py and
# backend/memory_management.py, dfdcbab6).
LOADING = {
    *(f"backend.operations: current_{name}" for name in ("device", "dtype", "manual_cast_enabled", "bnb_dtype")),
    "backend.memory_management: signal_empty_cache",
}


def _requests(pair: Pair) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """(settings, the rest of the request) by what is special about it."""
    one, two = with_loras(pair, 1.0), with_loras(pair, 1.0, 0.5)
    hybrid = pair_settings(pair, switch_step=2)
    own = form_settings(pair.other_text_encoder or "", switch_step=2)
    lora = form_settings(f"LoRA: {pair}_form_lora", switch_step=2)
    hires = {**HIRES, "prompt": two, "hr_prompt": with_loras(pair, 0.5)}
    batches = {"batch_size": 2, "n_iter": 2}
    return {
        "plain": (hybrid, {}),
        "LoRAs": (hybrid, {"prompt": two}),
        "none on the base": ({**hybrid, "base_lora_factor": 0}, {"prompt": one}),
        "half on the distilled": ({**hybrid, "distilled_lora_factor": 0.5}, {"prompt": two}),
        "none and half": ({**hybrid, "base_lora_factor": 0, "distilled_lora_factor": 0.5}, {"prompt": one, **batches}),
        "own text encoder": (own, {"prompt": two}),
        "own text encoder, half": ({**own, "distilled_lora_factor": 0.5}, {"prompt": two, **batches}),
        "own text encoder in hires": ({**own, "passes": "both"}, hires),
        "factors in hires": ({**hybrid, "passes": "both", "base_lora_factor": 0.5, "distilled_lora_factor": 2}, hires),
        "a LoRA as distilled model": ({**lora, "base_lora_factor": 0.5}, {"prompt": one}),
        "in turns": ({**hybrid, "residency": "ram"}, {"prompt": one}),
        "8 bits": ({**hybrid, "residency": "8bit"}, {"prompt": one}),
        "two samplers": ({**hybrid, "base_sampler": "Heun"}, {"sampler_name": "Euler a"}),
        "timesteps": (hybrid, {"sampler_name": "DDIM", "prompt": one}),
        "the base alone": (pair_settings(pair, mode="base", base_lora_factor=0.5), {"prompt": one}),
        "the distilled alone": (pair_settings(pair, mode="distilled", distilled_lora_factor=0.5), {"prompt": one}),
        "DT-preview": ({**hybrid, "dt": True}, {"prompt": one}),
        "DT-preview alone": ({"enabled": False, "dt": True}, {"prompt": one}),
    }


NAMES = tuple(_requests(Pair("x_base", "x_distilled", "x_distilled_otherte", "x_lora")))


def watched(webui: WebUI, pair: Pair, settings: dict[str, Any] | None, request: dict[str, Any]) -> dict[str, Any]:
    """What was seen of the host's while this request ran."""
    faults = {"watch": True, **({"card": 1 << 40} if (settings or {}).get("residency") else {})}
    webui.generate(pair.base, settings, faults=faults, **request).must_work()
    return webui.get("/dd-faults/seen")


def on_the_way(alone: dict[str, Any]) -> dict[str, set[str]]:
    """What the host's own loading shows, be it for a moment that a look may miss.

    Forge puts a prompt's networks on one by one, and only then notes the result as the one with networks.
    """
    known = {
        LOADING_NETWORKS + name: set(values)
        for name, values in alone["seen"].items()
        if not name.startswith(LOADING_NETWORKS)
    }
    for part in ("unet", "clip"):
        known[f"{LOADING_NETWORKS}{part} in use"] |= {"another", "original"}
        loaded = map(ast.literal_eval, alone["seen"][f"{part} with networks: networks"])
        known[f"{LOADING_NETWORKS}{part} in use: networks"] |= {
            str(names[:count]) for names in loaded for count in range(len(names) + 1)
        }
    return known


def more_than(alone: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """What was seen that was not seen of the host alone."""
    known = {name: set(values) for name, values in alone["seen"].items()}
    if "unet in use" in known:
        for name, values in on_the_way(alone).items():
            known[name] = known.get(name, set()) | values
    more = {name: extra for name, values in seen["seen"].items() if (extra := sorted(set(values) - known[name]))}
    others = set(seen["changed"]) - set(alone["changed"]) - LOADING
    changed = sorted(name for name in others if not name.endswith(COPIED))
    return {**more, **({"changed": changed} if changed else {})}


@pytest.mark.parametrize("name", NAMES)
def test_nobody_sees_more_than_of_the_host_alone(webui: WebUI, pair: Pair, name: str) -> None:
    """While models and networks are loaded, too, and when they are there already."""
    settings, request = _requests(pair)[name]
    webui.generate(pair.base, **request).must_work()
    webui.generate(pair.base).must_work()
    after_another, after_itself = (watched(webui, pair, None, request) for _ in range(2))
    webui.generate(pair.base, form_settings(pair.base)).must_work()
    webui.generate(pair.base).must_work()
    for alone in (after_another, after_itself):
        seen = watched(webui, pair, settings, request)
        assert more_than(alone, seen) == {}
        assert seen["looks"]["thread"] > 10
        assert seen["looks"]["process_before_every_sampling"] >= 1


def test_the_witness_sees(webui: WebUI, pair: Pair) -> None:
    """What the host itself exchanges for a request is seen, so that the others could be."""
    alone = watched(webui, pair, None, {"prompt": with_loras(pair, 1.0), "sampler_name": "DDIM"})
    assert "the loaded model: forge_objects" in alone["changed"]
    assert set(alone["seen"]["unet in use"]) >= {"with networks"}
    assert any(pair.lora in networks for networks in alone["seen"]["unet in use: networks"] if pair.lora)
