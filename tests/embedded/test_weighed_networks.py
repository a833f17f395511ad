"""LoRAs at weights of their own beside an extension that changes them from step to step, and with layers of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.embedded.ours import Ours, ours
from tests.embedded.public_state import active_networks

__all__ = ["ours"]
pytestmark = pytest.mark.a1111
LORA = "a red cat <lora:tiny:1>"


class Neighbour:
    """As LoRA block weight's start= and stop=: weights in the host's own list, set when a step begins, and kept."""

    def __init__(self, on: Any, weight_at: Callable[[int], float | None]) -> None:
        self.found: list[float] = []
        self._weight_at = weight_at
        self._calls = 0
        on("cfg_denoiser")(self._step)

    def _step(self, _params: Any) -> None:
        from networks import loaded_networks

        weight, self._calls = self._weight_at(self._calls), self._calls + 1
        for net in loaded_networks:
            self.found.append(net.unet_multiplier)
            if weight is not None:
                net.te_multiplier = net.unet_multiplier = weight


def stepwise(*weights: float | None) -> Callable[[int], float | None]:
    return lambda call: weights[call % len(weights)]


@pytest.mark.parametrize("sampler", ["Euler a", "DDIM"])
@pytest.mark.parametrize("mode", ["base", "distilled", "hybrid"])
def test_both_have_their_way(ours: Ours, on: Any, mode: str, sampler: str) -> None:
    """Its weights times our factor are the weights that it would have set to the same prompt at our factor."""
    ours.host.post("options", lora_in_memory_limit=0)
    factors = {"base_lora_factor": 0.5, "distilled_lora_factor": 0.5, "mode": mode, "switch_step": 2}
    request = {"sampler_name": sampler, "steps": 5}
    weights = (0.0, None, 1.0, None, 0.25)[: 5 if sampler != "DDIM" else 4]
    its = Neighbour(on, stepwise(*weights))
    mine = ours.run(factors, prompt=LORA, **request)
    assert its.found == [1.0, *_kept(weights)]
    Neighbour(on, stepwise(*(weight if weight is None else weight * 0.5 for weight in weights)))
    plain = {**factors, "base_lora_factor": 1, "distilled_lora_factor": 1}
    less = ours.run(plain, prompt="a red cat <lora:tiny:0.5>", **request)
    on("cfg_denoiser")(lambda _params: None)
    assert mine.equals(less)
    assert not mine.equals(ours.run(factors, prompt=LORA, **request))


def _kept(weights: tuple[float | None, ...]) -> list[float]:
    """What it finds from call to call is what it has left."""
    left, found = 1.0, []
    for weight in weights[:-1]:
        left = left if weight is None else weight
        found.append(left)
    return found


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_the_hosts_list_is_as_it_was_at_every_layer(ours: Ours, factor: float) -> None:
    from modules import shared

    seen: set[Any] = set()
    layers = [m for m in shared.sd_model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))]
    handles = [m.register_forward_pre_hook(lambda *_: seen.add(active_networks())) for m in layers]
    try:
        answer = ours.run({"base_lora_factor": factor, "distilled_lora_factor": 1, "switch_step": 2}, prompt=LORA)
    finally:
        for handle in handles:
            handle.remove()
    assert answer.status == 200
    assert seen <= {(), (("tiny", 1.0, 1.0),)}  # none while the VAE of the start runs
    assert not [layer for layer in layers if "forward" in vars(layer)]
    assert all(vars(layer).get("network_layer_name") != "" for layer in layers)


def test_a_layer_with_a_forward_of_another_extension(ours: Ours) -> None:
    """As ControlNet's LLLite sets on single layers; it is called, and stands there after."""
    from modules import shared

    layer = next(m for m in shared.sd_model.model.diffusion_model.modules() if isinstance(m, torch.nn.Linear))
    original, calls = layer.forward, []

    def another(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return original(x)

    expected = ours.run({"mode": "base", "base_lora_factor": 0.5}, prompt=LORA)
    layer.forward = another  # type: ignore[method-assign]
    try:
        answer = ours.run({"mode": "base", "base_lora_factor": 0.5}, prompt=LORA)
        assert vars(layer)["forward"] is another
    finally:
        del layer.forward
    assert calls
    assert answer.equals(expected)


def test_a_replaced_merging_is_refused_by_name(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would merge the host's own list, at the weights of the prompt; without factors it is not our business."""
    import networks

    original = networks.network_apply_weights
    monkeypatch.setattr(networks, "network_apply_weights", lambda layer: original(layer))
    refused = ours.run({"mode": "base", "base_lora_factor": 0.5}, prompt=LORA)
    assert refused.status == 422
    assert "networks.network_apply_weights" in str(refused.body)
    assert ours.run({"mode": "base", "base_cfg": 5}, prompt=LORA).equals(ours.plain(prompt=LORA))


def test_calls_of_layers_by_others_are_refused_by_name(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Regional Prompter calls them for a request, which finds a layer by the name that ours hide."""
    from extension_core.hosts.a1111.prompt_loras import remember_calls

    remember_calls()  # no app has started here
    original = torch.nn.Linear.forward
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda layer, x: original(layer, x))
    refused = ours.run({"mode": "base", "base_lora_factor": 0.5}, prompt=LORA)
    assert refused.status == 422
    assert "torch.nn.Linear.forward" in str(refused.body)
    assert ours.run({"mode": "base", "base_cfg": 5}, prompt=LORA).equals(ours.plain(prompt=LORA))
