"""A copy of a model's own values in 8 bits, from which layers compute while others' values are in their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from extension_core.weights.naming import NamedParameter
from extension_core.weights.parameter_set import exchange_notes

Merge = Callable[[torch.nn.Module], None]

_FLOAT8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(_FLOAT8).max


@dataclass(frozen=True)
class Packed:
    """A tensor in 8 bits (float8 e4m3), or as it was where 8 bits would save nothing to speak of.

    Attributes:
        scale: what the values of each first index are multiplied by, [n, 1, ...] in float32; None if kept as it was.
    """

    values: torch.Tensor
    scale: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)

    def unpack(self, like: torch.Tensor) -> torch.Tensor:
        """The values [rows, ...] in the number type, and on the device, of another tensor of that shape."""
        if self.scale is None:
            return self.values.to(device=like.device, dtype=like.dtype)
        values = self.values.to(device=like.device, dtype=torch.float32)
        return values.mul_(self.scale.to(like.device)).to(like.dtype)


def packed_bytes(shape: Sequence[int], number_size: int) -> int:
    """Bytes that `pack` leaves of a tensor of this shape, whose numbers take `number_size` bytes."""
    if len(shape) < 2 or number_size == 1:
        return math.prod(shape) * number_size
    return math.prod(shape) + 4 * shape[0]


def pack(tensor: torch.Tensor) -> Packed:
    """A tensor [rows, ...] in 8 bits; the largest value of each row or output channel takes the largest float8.

    Norms and biases (one dimension) stay as they are: few numbers on which much depends.
    """
    if tensor.ndim < 2 or tensor.element_size() == 1:
        return Packed(tensor.clone())
    rows = tensor.flatten(1).abs().amax(dim=1).float().clamp_min(torch.finfo(torch.float32).tiny)
    scale = (rows / _LARGEST).reshape(-1, *[1] * (tensor.ndim - 1))
    return Packed((tensor.float() / scale).to(_FLOAT8), scale)


@dataclass
class _Layer:
    """A layer's own values in 8 bits, with what the host has noted on it while they were in."""

    module: torch.nn.Module
    merge: Merge
    parameters: list[torch.nn.Parameter] = field(default_factory=list[torch.nn.Parameter])
    packed: list[Packed] = field(default_factory=list[Packed])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    replaced: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    has_notes: bool = False

    def enter(self) -> None:
        """Merge other networks before the layer computes: its first call is to be as all that follow."""
        self.replaced = [parameter.data for parameter in self.parameters]
        self._unpack()
        exchange_notes(self.module, self.notes)
        self.has_notes = True
        held = self._networks()
        self.merge(self.module)
        if self._networks() != held:
            self.packed = [pack(parameter.data) for parameter in self.parameters]
            self._unpack()

    def leave(self) -> None:
        if self.has_notes:
            exchange_notes(self.module, self.notes)
            self.has_notes = False
        for parameter, before in zip(self.parameters, self.replaced, strict=bool(self.replaced)):
            parameter.data = before
        self.replaced = []

    def _unpack(self) -> None:
        for parameter, packed in zip(self.parameters, self.packed, strict=True):
            parameter.data = packed.unpack(parameter.data)

    def _networks(self) -> object:
        return self.module.__dict__.get("network_current_names")


class EightBit:
    """The values that are in some layers now, in 8 bits."""

    def __init__(self, parameters: Iterable[NamedParameter], merge: Merge) -> None:
        """Networks in the values are left out; `merge` brings a layer to those that are wanted now."""
        self._layers: dict[int, _Layer] = {}
        with torch.no_grad():
            for named in parameters:
                layer = self._layers.setdefault(id(named.layer), _Layer(named.layer, merge))
                layer.parameters.append(getattr(named.owner, named.attribute))
                layer.packed.append(pack(named.clean))

    @property
    def bytes_held(self) -> int:
        """Bytes that it takes."""
        return sum(packed.nbytes for layer in self._layers.values() for packed in layer.packed)

    def covers(self, modules: Iterable[torch.nn.Module]) -> bool:
        """Whether each of these layers is among them."""
        return all(id(module) in self._layers for module in modules)

    @contextmanager
    def active(self) -> Generator[None, None, None]:
        """Layers compute from these values, each unpacked while it is called."""
        with ExitStack() as stack:
            for layer in self._layers.values():
                stack.callback(layer.leave)
                stack.callback(layer.module.register_forward_pre_hook(_entering(layer)).remove)
                stack.callback(layer.module.register_forward_hook(_leaving(layer), always_call=True).remove)
            yield


def _entering(layer: _Layer) -> Callable[[torch.nn.Module, Any], None]:
    return lambda _module, _args: layer.enter()


def _leaving(layer: _Layer) -> Callable[[torch.nn.Module, Any, Any], None]:
    return lambda _module, _args, _output: layer.leave()
