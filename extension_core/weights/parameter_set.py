"""A second set of values for the parameters of a live module, exchanged by pointer.

One module with two sets keeps every hook that hosts and other extensions put on it, in both phases. What is equal in
both sets is not held twice. The hosts' network loaders rewrite weights in place and note on each layer what they did
(extensions-builtin/Lora/networks.py, A1111 1.10.1); those notes belong to the weights and are exchanged with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

from extension_core.weights.naming import NamedParameter

# Written by the host on layers: Lora's state, and the copies that its fp8 mode keeps beside the weights.
BOOKKEEPING = ("network_current_names", "network_weights_backup", "network_bias_backup", "fp16_weight", "fp16_bias")
_MISSING: Any = object()


@dataclass
class Slot:
    """One parameter and the tensor that waits to take its place."""

    parameter: torch.nn.Parameter
    waiting: torch.Tensor

    def prepare(self) -> None:
        """Bring the waiting tensor to where the live one is; medvram and lowvram move modules about."""
        if self.waiting.device != self.parameter.device:
            self.waiting = self.waiting.to(self.parameter.device)

    def exchange(self) -> None:
        """Swap the live and the waiting tensor."""
        self.waiting, self.parameter.data = self.parameter.data, self.waiting


@dataclass
class Layer:
    """A module with at least one slot, its host bookkeeping, and the parameters both sets share."""

    module: torch.nn.Module
    slots: list[Slot] = field(default_factory=list)
    shared: list[NamedParameter] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        """Everything that may fail for want of memory, before anything is swapped."""
        if self.shared and self.module.__dict__.get("network_weights_backup") is not None:
            self._unshare()
        for slot in self.slots:
            slot.prepare()

    def exchange(self) -> None:
        """Swap tensors and notes."""
        for slot in self.slots:
            slot.exchange()
        attributes = self.module.__dict__
        if not self.notes and attributes.keys().isdisjoint(BOOKKEEPING):
            return
        for name in BOOKKEEPING:
            live = attributes.pop(name, _MISSING)
            waiting = self.notes.pop(name, _MISSING)
            if waiting is not _MISSING:
                attributes[name] = waiting
            if live is not _MISSING:
                self.notes[name] = live

    def _unshare(self) -> None:
        """A network was merged into this layer with the one set in: from now on each set needs its own."""
        for named in self.shared:
            self.slots.append(Slot(getattr(named.owner, named.attribute), named.clean.clone()))
        self.shared.clear()


class ParameterSet:
    """The second set: `exchange` puts it in, `exchange` again takes it out."""

    def __init__(self, layers: Iterable[Layer], alike: Iterable[Layer] = ()) -> None:
        """Args:
        layers: those with a second value.
        alike: those with none, which both sets share while the same networks are in them.
        """
        self._layers, self._alike = list(layers), list(alike)
        self.active = False

    def __len__(self) -> int:
        return sum(len(layer.slots) for layer in self._layers)

    @property
    def bytes_held(self) -> int:
        """Bytes of the waiting tensors: what the second set costs."""
        return sum(slot.waiting.numel() * slot.waiting.element_size() for layer in self._layers for slot in layer.slots)

    def exchange(self) -> None:
        """Swap the two sets, all or nothing."""
        for layer in self._layers:
            layer.prepare()
        for layer in self._layers:
            layer.exchange()
        self.active = not self.active

    def activate(self, wanted: bool) -> None:
        """Put the second set in (True) or the module's own back (False)."""
        if self.active != wanted:
            self.exchange()

    def keep_networks_apart(self) -> None:
        """From now on each set has networks of its own in every layer, also in those that both share."""
        self._layers += self._alike
        self._alike.clear()

    def clear(self) -> None:
        """Free the second set, which must be out."""
        assert not self.active
        self._layers.clear()
        self._alike.clear()


def build(parameters: Iterable[NamedParameter], load: Callable[[str], torch.Tensor | None]) -> ParameterSet:
    """Build the second set of some parameters; `load` gives a name's second value in any dtype, None if it has none."""
    layers: dict[int, Layer] = {}
    for named in parameters:
        layer = layers.setdefault(id(named.layer), Layer(named.layer))
        live = named.tensor
        loaded = load(named.name)
        second = None if loaded is None else loaded.to(device=live.device, dtype=live.dtype)
        if loaded is None or second is None or torch.equal(_comparable(second), _comparable(named.clean)):
            layer.shared.append(named)
            continue
        layer.slots.append(Slot(getattr(named.owner, named.attribute), _own_memory(second, loaded)))
        half_copy = f"fp16_{named.attribute}"
        if half_copy in named.layer.__dict__:
            layer.notes[half_copy] = loaded.to("cpu", torch.float16)
    different = [layer for layer in layers.values() if layer.slots]
    return ParameterSet(different, (layer for layer in layers.values() if not layer.slots))


def _comparable(tensor: torch.Tensor) -> torch.Tensor:
    """float8 tensors cannot be compared by value; their bytes can."""
    return tensor.view(torch.uint8) if tensor.element_size() == 1 else tensor


def _own_memory(second: torch.Tensor, loaded: torch.Tensor) -> torch.Tensor:
    """A copy if `second` is still the file's mapping: a file that is replaced later must not change the model."""
    return second.clone() if second.data_ptr() == loaded.data_ptr() else second
