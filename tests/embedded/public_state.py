"""What anybody in the process can see of a host beside a request's own objects: settings, flags, classes, globals."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch

# The host's and its Lora's modules, and k-diffusion's; of the classes those that others hook.
_MODULES = ("modules", "networks", "network", "extra_networks_lora", "k_diffusion", "backend", "modules_forge")
_LAYERS = (torch.nn.Module, torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)
# Python's own note on a class of which something was copied.
_NOTED = "__slotnames__"
_MISSING: Any = object()


class PublicState:
    """As it is when this is made; asked later for what has become another object, and of settings another value."""

    def __init__(self) -> None:
        self._before = [(name, attributes, dict(attributes)) for name, attributes in _owners()]

    def changed(self) -> set[str]:
        """Names that came, went or are not what they were."""
        return {
            f"{name}.{key}"
            for name, attributes, before in self._before
            if (now := dict(attributes)) != before
            for key in now.keys() | before.keys()
            if key != _NOTED and now.get(key, _MISSING) is not before.get(key, _MISSING)
        }


def _owners() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, attributes) of everything that is looked at; the attributes are live."""
    from modules import extra_networks, shared

    yield "opts", shared.opts.data
    yield "cmd_opts", vars(shared.cmd_opts)
    yield "registry", extra_networks.extra_network_registry
    for name, network in extra_networks.extra_network_registry.items():
        yield f"registry.{name}", vars(network)
    classes: dict[int, type] = {id(layer): layer for layer in _LAYERS}
    for name, module in list(sys.modules.items()):
        if module is not None and _is_looked_at(name):
            yield name, vars(module)
            found = [value for value in vars(module).values() if isinstance(value, type)]
            classes |= {id(value): value for value in found if _is_looked_at(value.__module__)}
    for looked_at in classes.values():
        yield f"{looked_at.__module__}.{looked_at.__qualname__}", vars(looked_at)


def _is_looked_at(module: str) -> bool:
    return module.partition(".")[0] in _MODULES


def active_networks() -> tuple[tuple[str, float, float], ...]:
    """(name, weight in the text encoder, in the U-Net) of each network that the host has activated."""
    networks = sys.modules.get("networks")
    return tuple((net.name, net.te_multiplier, net.unet_multiplier) for net in getattr(networks, "loaded_networks", ()))
