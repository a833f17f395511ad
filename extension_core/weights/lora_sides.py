"""Between how many inputs and how many outputs a LoRA's change of a layer goes, told by its tensors' shapes.

Shapes are those that LyCORIS writes and A1111's LoRA loader multiplies (extensions-builtin/Lora/network_*.py, 1.10.1);
OFT, IA3 and norms say nothing of a layer's inputs.
"""

from __future__ import annotations

import math

from extension_core.weights.compatibility import Shapes

Sides = tuple[int, int]


def sides_of(shapes: Shapes, layer: str) -> Sides | None:
    """(outputs, inputs) of a layer's change, None if they cannot be told.

    Inputs count once for every place of a convolution's kernel where the file has both in one side.
    """
    return _product(shapes, layer) or _whole(shapes, layer) or _hadamard(shapes, layer) or _kronecker(shapes, layer)


def fits(sides: Sides, weight: tuple[int, ...]) -> bool:
    """Whether a change goes between the sides of a weight [outputs, inputs, ...].

    An inpainting model's 9 channels take a change for 4: hosts pad it.
    """
    outputs, inputs = sides
    kernel, channels = math.prod(weight[2:]), (weight[1], 4) if weight[1] == 9 else (weight[1],)
    return outputs == weight[0] and any(inputs in (count, count * kernel) for count in channels)


def _two(shapes: Shapes, name: str) -> tuple[int, int] | None:
    """The first two sides of a tensor that has as many."""
    shape = shapes.get(name, ())
    return (shape[0], shape[1]) if len(shape) > 1 else None


def _product(shapes: Shapes, layer: str) -> Sides | None:
    up, down = (_two(shapes, f"{layer}.lora_{part}.weight") for part in ("up", "down"))
    return (up[0], down[1]) if up and down else None


def _whole(shapes: Shapes, layer: str) -> Sides | None:
    return _two(shapes, f"{layer}.diff")


def _hadamard(shapes: Shapes, layer: str) -> Sides | None:
    """[outputs, rank] and [rank, inputs] twice; with a core [rank, rank, ...] the first is [rank, outputs]."""
    first, second = (_two(shapes, f"{layer}.hada_w1_{part}") for part in "ab")
    return (first[f"{layer}.hada_t1" in shapes], second[1]) if first and second else None


def _kronecker(shapes: Shapes, layer: str) -> Sides | None:
    """Two matrices, each whole or a product, whose sides multiply."""
    first, second = _factor(shapes, f"{layer}.lokr_w1", ""), _factor(shapes, f"{layer}.lokr_w2", f"{layer}.lokr_t2")
    return (first[0] * second[0], first[1] * second[1]) if first and second else None


def _factor(shapes: Shapes, name: str, core: str) -> Sides | None:
    if (whole := _two(shapes, name)) is not None:
        return whole
    first, second = (_two(shapes, f"{name}_{part}") for part in "ab")
    return (first[core in shapes], second[1]) if first and second else None
