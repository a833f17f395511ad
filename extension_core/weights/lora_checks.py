"""May this LoRA be merged into that U-Net? Answered from names and shapes, before any tensor is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from extension_core.errors import DiversityError
from extension_core.weights.architectures import (
    UNKNOWN,
    architecture,
    by_width_and_names,
    other_architecture,
    same_blocks,
)
from extension_core.weights.compatibility import Shapes, input_channels, kind_of, prediction_type
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table
from extension_core.weights.lora_file import LoraFile
from extension_core.weights.lora_names import NUMBERED, UNET_PREFIXES, underscored
from extension_core.weights.lora_sides import fits, sides_of
from extension_core.weights.reader import Header

_WIDTH_OF = re.compile(r"attn2_to_[kv]$")
_FIRST_LAYERS = ("lora_unet_input_blocks_0_0", "lora_unet_conv_in")
_WHOLE = re.compile(r"\.(?:weight|bias)$")
_MAGNITUDES = re.compile(r"\.lora_magnitude_vector(?:\.|$)")
_BIASES = (".lora_up.bias", ".diff_b")
_PLAIN = "choose a plain LoRA"


def check_lora(lora: LoraFile, unet_shapes: Shapes) -> None:
    """Refuse a LoRA that does not belong to a U-Net.

    Args:
        unet_shapes: canonical name -> shape of the U-Net's tensors.

    Raises:
        DiversityError: it is of another architecture, of an unknown kind, or changes nothing; with counts and the
            first three names.
    """
    layers = _host_layers(unet_shapes)
    fitting = [layer for layer in lora.unet_layers if _inside(layer) in layers]
    ours, theirs = architecture(unet_shapes), lora_architecture(lora)
    if not fitting:
        _check_other_architecture(lora, ours)
    check_by_itself(lora)
    _check_channels(lora, unet_shapes)
    other_shapes = [layer for layer in fitting if not _fits(lora, layer, layers[_inside(layer)])]
    if other_shapes:
        kinds = (
            f"is {theirs} but the loaded checkpoint is {ours}" if ours != theirs else f"is not for this {ours} model"
        )
        raise _refusal(
            lora,
            f"{kinds}: it has other shapes for {len(other_shapes)} of its {len(lora.unet_layers)} U-Net layers, first "
            f"{', '.join(other_shapes[:3])}; {_for(ours)}",
        )
    if not fitting:
        found = _some(lora.layers, "layers") if lora.layers else "no layers"
        raise _refusal(
            lora, f"changes nothing in the U-Net of the loaded checkpoint: none of its {found} is there; {_for(ours)}"
        )
    if not same_blocks(lora.unet_layers, unet_shapes):
        raise _refusal(lora, f"is {theirs} but the loaded checkpoint is {ours}; {_for(ours)}")
    _check_biases(lora, fitting, unet_shapes)


def check_by_itself(lora: LoraFile) -> None:
    """Refuse a LoRA that hosts read otherwise than it is meant, whatever it is put on.

    Raises:
        DiversityError: says what in it.
    """
    _check_tensors(lora)
    _check_ranks(lora)


def prediction_note(lora: Header, base: str) -> tuple[str, ...]:
    """What the user should know of a LoRA that says it was trained for another prediction type.

    It is no reason to refuse: what is learnt of pictures carries over, what is learnt of few steps may not.

    Args:
        base: 'eps' or 'v', of the loaded checkpoint.
    """
    stated = prediction_type(lora.metadata, {}, None)
    if stated is None or stated == base:
        return ()
    note = (
        f"The LoRA '{lora.path.name}' says that it was trained on a model that predicts {stated}, but the "
        f"loaded checkpoint predicts {base}; if images are broken, choose a LoRA for {base}-prediction."
    )
    return (note,)


def lora_architecture(lora: LoraFile) -> str:
    """Name of the architecture that a LoRA's layers belong to."""
    changes = (sides_of(lora.shapes, layer) for layer in lora.unet_layers if _WIDTH_OF.search(layer))
    return by_width_and_names(
        {sides[1] for sides in changes if sides is not None}, [_inside(layer) for layer in lora.unet_layers]
    )


def _check_other_architecture(lora: LoraFile, ours: str) -> None:
    if any(NUMBERED.match(key) for key in lora.unknown):
        raise _refusal(
            lora,
            "is in the form of cloneofsimo's trainer, which numbers layers in place of naming them; convert it to "
            "kohya's format",
        )
    other = other_architecture(lora.header.shapes)
    if other is not None:
        raise _refusal(lora, f"is for {other} but the loaded checkpoint is {ours}; {_for(ours)}")


def _check_tensors(lora: LoraFile) -> None:
    """Refuse a file of which not every tensor is understood: what is not read may change what the rest means."""
    if any(_MAGNITUDES.search(key) for key in lora.unknown) or _turned_magnitudes(lora):
        raise _refusal(
            lora,
            "is a DoRA with a magnitude for each output, as peft writes them and LyCORIS by now, which WebUIs' LoRA "
            f"loaders compute otherwise; {_PLAIN}, or one that was merged into a checkpoint",
        )
    whole = [key for key in lora.unknown if _WHOLE.search(key) and ".lora_" not in key]
    if whole:
        raise _refusal(
            lora,
            f"holds {_some(whole, 'tensors')} of layers that were trained as a whole (peft's modules_to_save), for "
            f"which WebUIs' LoRA loaders have no place; {_PLAIN}, or one that was merged into a checkpoint",
        )
    if lora.unknown:
        raise _refusal(
            lora,
            f"holds {_some(lora.unknown, 'tensors')} of a kind that Diversity Distillation does not know; convert it "
            "to kohya's format",
        )
    seen: set[str] = set()
    names = (place.name for place in lora.places.values())
    if twice := sorted({name for name in names if name in seen or seen.add(name)}):
        raise _refusal(lora, f"holds {_some(twice, 'tensors')} under two names each; choose one with one set of names")


def _turned_magnitudes(lora: LoraFile) -> bool:
    """Hosts read [1, in, ...] rightly, [out, 1, ...] by another norm (Forge) or along the wrong side (A1111)."""
    shapes = (shape for name, shape in lora.shapes.items() if name.endswith(".dora_scale"))
    return any(len(shape) < 2 or shape[0] != 1 for shape in shapes)


def _check_ranks(lora: LoraFile) -> None:
    for place in lora.places.values():
        stated, rank = lora.stated.get(place.component), lora.rank(place.layer)
        if stated is None or rank is None or f"{place.layer}.alpha" in lora.shapes:
            continue
        if (other := stated.rank_of(place.path)) != rank:
            raise _refusal(
                lora,
                f"states rank {other:g} for '{place.path}', whose tensors have rank {rank}, so its strength is not "
                "known; download it again or convert it to kohya's format",
            )


def _check_channels(lora: LoraFile, unet_shapes: Shapes) -> None:
    """Refuse a LoRA of a model that takes another picture beside the latent; a 9-channel model's is padded by hosts."""
    base = input_channels(unet_shapes)
    for layer in _FIRST_LAYERS:
        down = lora.shapes.get(f"{layer}.lora_down.weight")
        if down is not None and len(down) == 4 and down[1] not in (base, 4 if base == 9 else base):
            raise _refusal(
                lora,
                f"is for {kind_of(down[1])} ({down[1]} input channels) but the loaded checkpoint is {kind_of(base)} "
                f"({base} input channels); choose a LoRA for the same kind",
            )


def _check_biases(lora: LoraFile, fitting: Iterable[str], unet_shapes: Shapes) -> None:
    biased = _by_either_name({name: shape for name, shape in unet_shapes.items() if name.endswith(".bias")}, ".bias")
    changed = [layer for layer in fitting if any(f"{layer}{part}" in lora.shapes for part in _BIASES)]
    without = [layer for layer in changed if _inside(layer) not in biased]
    if without:
        raise _refusal(
            lora,
            f"changes the bias of {_some(without, 'layers')} that have none in the loaded checkpoint; "
            "choose a LoRA for the loaded checkpoint's architecture",
        )


def _refusal(lora: LoraFile, found: str) -> DiversityError:
    return DiversityError(f"The LoRA '{lora.header.path.name}' {found}.")


def _for(ours: str) -> str:
    return "choose a LoRA for the loaded checkpoint's architecture" if ours == UNKNOWN else f"choose a LoRA for {ours}"


def _some(names: Collection[str], what: str) -> str:
    return f"{len(names)} {what}, first {', '.join(list(names)[:3])},"


def _inside(layer: str) -> str:
    return next(layer.removeprefix(prefix) for prefix in UNET_PREFIXES if layer.startswith(prefix))


def _host_layers(unet_shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shape of a layer's weight by either name, dots replaced, as kohya writes it."""
    return _by_either_name({name: shape for name, shape in unet_shapes.items() if name.endswith(".weight")}, ".weight")


def _by_either_name(tensors: Mapping[str, tuple[int, ...]], ending: str) -> dict[str, tuple[int, ...]]:
    result = {underscored(n.removeprefix(UNET_PREFIX).removesuffix(ending)): shape for n, shape in tensors.items()}
    for theirs, ours in diffusers_table(tensors).items():
        result[underscored(theirs.removesuffix(ending))] = tensors[ours]
    return result


def _fits(lora: LoraFile, layer: str, weight: tuple[int, ...]) -> bool:
    """Whether a change belongs to a weight; kinds that do not say their sides are left to the host."""
    whole, sides = lora.shapes.get(f"{layer}.diff"), sides_of(lora.shapes, layer)
    if len(weight) < 2 or sides is None:
        return whole is None or whole == weight
    return fits(sides, weight)
