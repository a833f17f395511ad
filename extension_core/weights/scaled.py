"""Weights stored in 8 bits or fewer: those that are a plain number type or a scale beside it are read, others refused.

Two ways to write a scale are in use: `<layer>.scale_weight` with the marker `scaled_fp8` (ComfyUI's first), and
`<layer>.weight_scale` (its later one, and that of compressed-tensors). Both mean weight = stored * scale. The scales of
a layer's inputs (`scale_input`, `input_scale`) serve to compute in 8 bits, which no host does with a second model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from extension_core.errors import DiversityError

_FLOATS_OF_8_BITS = ("F8_E4M3", "F8_E5M2")
_WHOLE_NUMBERS = ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64")
_MARKERS = ("scaled_fp8", "model.diffusion_model.scaled_fp8", "diffusion_model.scaled_fp8")
_SCALES = ("scale_weight", "weight_scale")
_OF_INPUTS = ("scale_input", "input_scale")
_OF_LAYERS = ("weight", "bias", *_SCALES, *_OF_INPUTS)
# Endings of keys that only quantised files have, and what those are called.
_QUANTISED: tuple[tuple[str, str], ...] = (
    (".quant_state.bitsandbytes__nf4", "in bitsandbytes' nf4"),
    (".quant_state.bitsandbytes__fp4", "in bitsandbytes' fp4"),
    (".weight.absmax", "in 4 or 8 bits by bitsandbytes"),
    (".weight_format", "in int8 by bitsandbytes"),
    (".SCB", "in int8 by bitsandbytes"),
    (".qweight", "in whole numbers by GPTQ or AWQ"),
    (".qzeros", "in whole numbers by GPTQ or AWQ"),
    (".weight_packed", "packed by compressed-tensors"),
    (".comfy_quant", "in a form of ComfyUI's own"),
    (".proj_down", "by SVDQuant (Nunchaku)"),
    (".smooth_factor", "by SVDQuant (Nunchaku)"),
)
_ENDINGS = tuple(ending for ending, _ in _QUANTISED)
_REMEDY = "choose the model in fp16, bf16 or 8-bit floats"


@dataclass(frozen=True)
class Stored:
    """A tensor as a file's header tells of it: number type in safetensors' names, and shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Scales:
    """What belongs to a file's weights without being one.

    Attributes:
        of: key of a weight -> key of its scale.
        hidden: keys that say how others are to be read.
    """

    of: Mapping[str, str]
    hidden: frozenset[str]


def scales_in(path: Path, stored: Mapping[str, Stored]) -> Scales:
    """The scales of a file's weights.

    Raises:
        DiversityError: weights are stored in a form that cannot be read, or beside something of unknown meaning.
    """
    _refuse_quantised(path, stored)
    of: dict[str, str] = {}
    hidden = {key for key in _MARKERS if key in stored}
    for key, found in stored.items():
        layer, _, attribute = key.rpartition(".")
        weight = f"{layer}.weight"
        if attribute in (*_SCALES, *_OF_INPUTS) and weight in stored:
            hidden.add(key)
            if attribute in _SCALES:
                _check_scale(path, key, found, stored[weight])
                of[weight] = key
    _check_neighbours(path, stored)
    return Scales(of, frozenset(hidden))


def unscaled(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Weight * scale in single precision; the scale is one number, or one for each output [out, ...]."""
    factor = scale.float()
    if factor.numel() > 1:
        factor = factor.reshape(-1, *(1 for _ in weight.shape[1:]))
    return weight.float() * factor


def _refuse_quantised(path: Path, keys: Iterable[str]) -> None:
    for key in keys:
        if key.endswith(_ENDINGS):
            how = next(how for ending, how in _QUANTISED if key.endswith(ending))
            raise _refusal(path, f"its weights are quantised {how} (it holds '{key}')")


def _check_scale(path: Path, key: str, scale: Stored, weight: Stored) -> None:
    numbers = 1
    for side in scale.shape:
        numbers *= side
    if numbers not in (1, weight.shape[0] if weight.shape else 1) or weight.dtype not in _FLOATS_OF_8_BITS:
        raise _refusal(
            path,
            f"its weights are quantised by blocks or in whole numbers ('{key}' is {list(scale.shape)} beside a weight "
            f"{list(weight.shape)} of {weight.dtype})",
        )


def _check_neighbours(path: Path, stored: Mapping[str, Stored]) -> None:
    """What lies beside a weight of few bits may change what it means, so it must be known."""
    few = {
        key.removesuffix(".weight")
        for key, found in stored.items()
        if key.endswith(".weight") and len(found.shape) > 1 and found.dtype in (*_FLOATS_OF_8_BITS, *_WHOLE_NUMBERS)
    }
    for layer in few:
        if (found := stored[f"{layer}.weight"]).dtype in _WHOLE_NUMBERS:
            raise _refusal(path, f"its weights are whole numbers ('{layer}.weight' is {found.dtype})")
    for key in stored:
        layer, _, attribute = key.rpartition(".")
        if layer in few and attribute not in _OF_LAYERS:
            raise _refusal(path, f"beside its 8-bit weights it holds '{key}', whose meaning is not known here")


def _refusal(path: Path, found: str) -> DiversityError:
    return DiversityError(f"The distilled model '{path.name}' cannot be used: {found}; {_REMEDY}.")
