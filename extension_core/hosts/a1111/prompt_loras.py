"""The prompt's networks at other weights than the prompt's, for the layers of one model while it reads or runs.

The host's Lora brings each layer to `networks.loaded_networks` when the layer is called, and notes on the layer what it
holds (extensions-builtin/Lora/networks.py, 1.10.1). Both sets of parameters have such notes of their own, so each keeps
its networks merged.

That list and the networks in it are the process's: LoRA block weight changes them from step to step, and everybody
sees them. So they stay as they are; the layers are brought to a list of our own, of copies with other multipliers, by
the host's own functions. Copies are made of what the list says when the model is called, after every other extension
has had its say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from types import FunctionType, SimpleNamespace
from typing import Any

import torch
from modules import shared

from extension_core.hosts.common.files import choices
from extension_core.hosts.common.processing.attributes import during
from extension_core.hosts.refusal import RequestRefused

# The kinds of layers whose calls the host's Lora patches; those that its old way ("lora_functional") leaves alone last.
_KINDS = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm, torch.nn.MultiheadAttention)
_FUNCTIONAL = _KINDS[:-1]
_NAME = "network_layer_name"

# How layers of each kind are called when every extension is loaded.
_calls_at_start: dict[type[torch.nn.Module], Callable[..., Any]] = {}


def remember_calls() -> None:
    """When the app has started: what is another call later is one that an extension has put there for a request."""
    _calls_at_start.update((kind, kind.forward) for kind in _KINDS)


def text_at_factor(p: Any, factor: float) -> AbstractContextManager[None]:
    """Weights of the prompt's networks times `factor` in the text encoders, while this request reads its prompts.

    Around each reading, because the host activates other networks in between (hires prompts).
    """
    if factor == 1.0 or choices.networks() is None:
        return nullcontext()
    return during(p, get_conds_with_caching=_at_factor(p.get_conds_with_caching, _text_encoders, factor))


def unet_at_factor(denoiser: Any, factor: float) -> AbstractContextManager[None]:
    """Weights of the prompt's networks times `factor` in the U-Net, for one call of this denoiser.

    Inside of its inner model's `forward`, which comes after the callbacks `on_cfg_denoiser`.
    """
    if factor == 1.0 or choices.networks() is None:
        return nullcontext()
    inner = denoiser.inner_model
    return during(inner, forward=_at_factor(inner.forward, _unet, factor))


def bring_to_wanted(module: torch.nn.Module) -> None:
    """What the host does with a layer's networks when it is called, at the factor that is wanted just now."""
    called = vars(module).get("forward")
    if isinstance(called, _Called):
        called.merge()
        return
    networks = choices.networks()
    if networks is not None and hasattr(module, _NAME):
        networks.network_apply_weights(module)


def _unet() -> list[torch.nn.Module]:
    return [shared.sd_model.model.diffusion_model]


def _text_encoders() -> list[torch.nn.Module]:
    parts = (getattr(shared.sd_model, name, None) for name in ("conditioner", "cond_stage_model"))
    return [part for part in parts if isinstance(part, torch.nn.Module)]


def _at_factor(
    function: Callable[..., Any], parts: Callable[[], Sequence[torch.nn.Module]], factor: float
) -> Callable[..., Any]:
    def at_factor(*args: Any, **kwargs: Any) -> Any:
        networks = choices.networks()
        if networks is None or not networks.loaded_networks:
            return function(*args, **kwargs)
        _check_calls()
        view = _view(networks, [_scaled(net, factor) for net in networks.loaded_networks])
        with _called_over(view, parts()):
            return function(*args, **kwargs)

    return at_factor


@contextmanager
def _called_over(view: SimpleNamespace, parts: Sequence[torch.nn.Module]) -> Iterator[None]:
    """The layers of some modules are called by way of `_Called`; what their `forward` was is put back."""
    layers = {id(layer): layer for part in parts for layer in part.modules() if isinstance(layer, _KINDS)}
    called = [_Called(layer, view) for layer in layers.values() if hasattr(layer, _NAME)]
    try:
        for call in called:
            call.put()
        yield
    finally:
        for call in called:
            call.take_back()


class _Called:
    """A layer's `forward` while its networks are those of a view, not the host's."""

    __slots__ = ("_before", "_kept", "_layer", "_view")

    def __init__(self, layer: torch.nn.Module, view: SimpleNamespace) -> None:
        self._layer, self._view = layer, view
        self._kept = vars(layer).get("forward")
        self._before = layer.forward

    def put(self) -> None:
        vars(self._layer)["forward"] = self

    def take_back(self) -> None:
        if self._kept is None:
            vars(self._layer).pop("forward", None)
        else:
            vars(self._layer)["forward"] = self._kept

    def merge(self) -> None:
        """Bring the layer to the view's networks; nothing to do where it holds them."""
        self._view.network_apply_weights(self._layer)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if getattr(shared.opts, "lora_functional", False) and isinstance(self._layer, _FUNCTIONAL):
            return self._view.network_forward(self._layer, args[0], lambda _layer, x: self._as_it_is(x))
        self.merge()
        return self._as_it_is(*args, **kwargs)

    def _as_it_is(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's own call; the host leaves a layer without a name alone (`network_apply_weights`, 1.10.1)."""
        name = vars(self._layer).get(_NAME)
        vars(self._layer)[_NAME] = None
        try:
            return self._before(*args, **kwargs)
        finally:
            vars(self._layer)[_NAME] = name


def _check_calls() -> None:
    """The calls of layers are the host's.

    Regional Prompter puts its own in their place for requests whose regions have LoRAs each, knows layers by the names
    that `_Called` hides, and changes the weights of LoRAs from call to call.

    Raises:
        RequestRefused: another extension has put calls of its own there.
    """
    others = [kind.__name__ for kind, call in _calls_at_start.items() if kind.forward is not call]
    if others:
        raise RequestRefused(
            "Diversity Distillation is to give LoRAs other weights in one model but another extension has replaced "
            f"torch.nn.{others[0]}.forward for this request, as Regional Prompter does to give LoRAs to regions; "
            "switch that extension off or set LoRAs to both models and their factors to 1."
        )


def _view(networks: Any, loaded: list[Any]) -> SimpleNamespace:
    """The host's module of networks with another list: its own functions, which find that list where they look for it.

    Raises:
        RequestRefused: another extension's functions are in the place of the host's.
    """
    own = {**vars(networks), "loaded_networks": loaded}
    for name, value in vars(networks).items():
        if isinstance(value, FunctionType) and value.__globals__ is vars(networks):
            own[name] = FunctionType(value.__code__, own, name, value.__defaults__, value.__closure__)
            own[name].__kwdefaults__ = value.__kwdefaults__
    if getattr(own["network_apply_weights"], "__globals__", None) is not own:
        raise RequestRefused(
            "Diversity Distillation is to give LoRAs other weights in one model but another extension has replaced the "
            "host's merging of LoRAs (networks.network_apply_weights); switch that extension off or set LoRAs to both "
            "models and their factors to 1."
        )
    return SimpleNamespace(**own)


def _scaled(net: Any, factor: float) -> Any:
    """A network with other multipliers; its tensors are shared. At 0 it changes no layer."""
    scaled = copy(net)
    scaled.te_multiplier, scaled.unet_multiplier = net.te_multiplier * factor, net.unet_multiplier * factor
    scaled.modules = {} if factor == 0.0 else _Modules(net.modules, scaled)
    return scaled


class _Modules:
    """A network's modules by layer, each copied for another network when it is asked for."""

    def __init__(self, modules: dict[str, Any], network: Any) -> None:
        self._modules, self._network = modules, network

    def get(self, name: str, default: Any = None) -> Any:
        module = self._modules.get(name)
        if module is None:
            return default
        scaled = copy(module)
        scaled.network = self._network
        return scaled
