"""A second set of values for the parameters of a live module, exchanged by pointer.

One module with two sets keeps every hook that hosts and other extensions put on it, in both phases. What is equal in
both sets is not held twice. The hosts' network loaders rewrite weights in place and note on each layer what they did
(extensions-builtin/Lora/networks.py, A1111 1.10.1); those notes belong to the weights and are exchanged with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from extension_core.weights.naming import NamedParameter
from extension_core.weights.transfer import Copies, Exchange

# Written by the host on layers: Lora's state, and the copies that its fp8 mode keeps beside the weights.
BOOKKEEPING = ("network_current_names", "network_weights_backup", "network_bias_backup", "fp16_weight", "fp16_bias")
_MISSING: Any = object()


@dataclass
class Slot:
    """One parameter and the tensor that waits to take its place."""

    parameter: torch.nn.Parameter
    waiting: torch.Tensor

    def prepare(self, exchange_copies: Exchange | None) -> None:
        """Everything that may fail for want of memory."""
        if exchange_copies is not None and exchange_copies.copies.serves(self.parameter.device):
            self.waiting = exchange_copies.copies.in_ram(self.waiting)
            exchange_copies.reserve([self.parameter.data])
        elif self.waiting.device != self.parameter.device:  # medvram and lowvram move modules about
            self.waiting = self.waiting.to(self.parameter.device)

    def exchange(self, exchange_copies: Exchange | None) -> None:
        """Swap the live and the waiting values: by pointer where both are in one memory, else through the bus."""
        if exchange_copies is not None and exchange_copies.copies.serves(self.parameter.device):
            self.waiting = exchange_copies.exchange(self.parameter.data, self.waiting)
        else:
            self.waiting, self.parameter.data = self.parameter.data, self.waiting


@dataclass
class Layer:
    """A module with at least one slot, its host bookkeeping, and the parameters both sets share."""

    module: torch.nn.Module
    slots: list[Slot] = field(default_factory=list[Slot])
    shared: list[NamedParameter] = field(default_factory=list[NamedParameter])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])

    def prepare(self, exchange_copies: Exchange | None) -> None:
        """Everything that may fail for want of memory, before anything is swapped."""
        if self.shared and self.module.__dict__.get("network_weights_backup") is not None:
            self._unshare()
        for slot in self.slots:
            slot.prepare(exchange_copies)

    def exchange(self, exchange_copies: Exchange | None) -> None:
        """Swap values and notes."""
        for slot in self.slots:
            slot.exchange(exchange_copies)
        exchange_notes(self.module, self.notes)

    def _unshare(self) -> None:
        """A network was merged into this layer with the one set in: from now on each set needs its own."""
        for named in self.shared:
            self.slots.append(Slot(getattr(named.owner, named.attribute), named.clean.clone()))
        self.shared.clear()


def exchange_notes(module: torch.nn.Module, notes: dict[str, Any]) -> None:
    """Swap what the host has noted on a layer with what it noted while other weights were in it."""
    attributes = module.__dict__
    if not notes and attributes.keys().isdisjoint(BOOKKEEPING):
        return
    for name in BOOKKEEPING:
        live = attributes.pop(name, _MISSING)
        waiting = notes.pop(name, _MISSING)
        if waiting is not _MISSING:
            attributes[name] = waiting
        if live is not _MISSING:
            notes[name] = live


class ParameterSet:
    """The second set: `exchange` puts it in, `exchange` again takes it out.

    What waits is beside the parameters (`keep_beside`) or in RAM (`keep_in_ram`).
    """

    def __init__(self, layers: Iterable[Layer], alike: Iterable[Layer] = ()) -> None:
        """Args:
        layers: those with a second value.
        alike: those with none, which both sets share while the same networks are in them.
        """
        self._layers, self._alike = list(layers), list(alike)
        self._exchange: Exchange | None = None
        self._arriving: list[RemovableHandle] = []
        self.active = False

    def __len__(self) -> int:
        return sum(len(layer.slots) for layer in self._layers)

    @property
    def bytes_held(self) -> int:
        """Bytes of the waiting tensors: what the second set costs, wherever it is."""
        return sum(map(_bytes, self._waiting()))

    @property
    def in_ram(self) -> bool:
        """Whether what waits is in RAM, not beside the parameters."""
        return self._exchange is not None

    def bytes_missing_on(self, device: torch.device) -> int:
        """Bytes of the waiting tensors that are elsewhere."""
        return sum(_bytes(tensor) for tensor in self._waiting() if tensor.device.type != device.type)

    @property
    def modules(self) -> list[torch.nn.Module]:
        """The layers in which the two sets differ."""
        return [layer.module for layer in self._layers]

    def keep_beside(self) -> None:
        """What waits is where the parameters are, from the next exchange on."""
        self.settle()
        self._exchange = None

    def keep_in_ram(self, copies: Copies) -> None:
        """What waits is in RAM from now on, and comes and goes by `copies`."""
        self.settle()
        for layer in self._layers:
            for slot in layer.slots:
                slot.waiting = copies.in_ram(slot.waiting)
        if self._exchange is None or self._exchange.copies is not copies:
            self._exchange = Exchange(copies)

    def exchange(self) -> None:
        """Swap the two sets, all or nothing; a layer's values may still be on their way until it is called."""
        self.settle()
        for layer in self._layers:
            layer.prepare(self._exchange)
        if self._exchange is not None:
            self._exchange.copies.begin()
        for layer in self._layers:
            layer.exchange(self._exchange)
            if self._exchange is not None:
                self._await_arrival(layer.module, self._exchange.copies.mark())
        self.active = not self.active

    def _await_arrival(self, module: torch.nn.Module, wait: Callable[[], None] | None) -> None:
        if wait is not None:
            self._arriving.append(module.register_forward_pre_hook(lambda _module, _args: wait()))

    def settle(self) -> None:
        """Wait until every value is where it belongs, for readers that do not call the layers."""
        if self._arriving and self._exchange is not None:
            self._exchange.copies.finish()
        for handle in self._arriving:
            handle.remove()
        self._arriving.clear()

    def _waiting(self) -> Iterator[torch.Tensor]:
        return (slot.waiting for layer in self._layers for slot in layer.slots)

    def activate(self, active: bool) -> None:
        """Put the second set in (True) or the module's own back (False)."""
        if self.active != active:
            self.exchange()

    def keep_networks_apart(self) -> None:
        """From now on each set has networks of its own in every layer, also in those that both share."""
        self._layers += self._alike
        self._alike.clear()

    def clear(self) -> None:
        """Free the second set, which must be out."""
        assert not self.active
        self.settle()
        self._layers.clear()
        self._alike.clear()
        self._exchange = None


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def build(
    parameters: Iterable[NamedParameter], load: Callable[[str], torch.Tensor | None], copies: Copies | None = None
) -> ParameterSet:
    """Build the second set of some parameters.

    Args:
        load: gives a name's second value [...] in any dtype, None if it has none.
        copies: if given, the set waits in RAM from the first tensor on.
    """
    layers: dict[int, Layer] = {}
    for named in parameters:
        layer = layers.setdefault(id(named.layer), Layer(named.layer))
        live = named.tensor
        loaded = load(named.name)
        second = None if loaded is None else loaded.to(device=live.device, dtype=live.dtype)
        if loaded is None or second is None or torch.equal(_comparable(second), _comparable(named.clean)):
            layer.shared.append(named)
            continue
        own = _own_memory(second, loaded)
        slot = Slot(getattr(named.owner, named.attribute), own if copies is None else copies.in_ram(own))
        layer.slots.append(slot)
        half_copy = f"fp16_{named.attribute}"
        if half_copy in named.layer.__dict__:
            layer.notes[half_copy] = loaded.to("cpu", torch.float16)
    different = [layer for layer in layers.values() if layer.slots]
    second_set = ParameterSet(different, (layer for layer in layers.values() if not layer.slots))
    if copies is not None:
        second_set.keep_in_ram(copies)
    return second_set


def _comparable(tensor: torch.Tensor) -> torch.Tensor:
    """float8 tensors cannot be compared by value; their bytes can."""
    return tensor.view(torch.uint8) if tensor.element_size() == 1 else tensor


def _own_memory(second: torch.Tensor, loaded: torch.Tensor) -> torch.Tensor:
    """A copy if `second` is still the file's mapping: a file that is replaced later must not change the model."""
    return second.clone() if second.data_ptr() == loaded.data_ptr() else second
