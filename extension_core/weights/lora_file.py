"""LoRA files: which layers they change, and their tensors under the names, and at the scale, that hosts read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from extension_core.errors import DiversityError
from extension_core.weights.compatibility import Shapes
from extension_core.weights.lora_names import TEXT_PREFIXES, UNET_PREFIXES, Names, Place, is_lora
from extension_core.weights.lora_scales import Stated, stated_in
from extension_core.weights.reader import Header, open_tensors

__all__ = ["LoraFile", "is_lora", "left_out_note", "lora_tensors", "read_lora", "uses_text_encoder"]

# Textual inversions that travel with a LoRA; only a prompt can use them.
_EMBEDDINGS = "bundle_emb."
# What a host's loader passes over beside a layer's weight, or reads otherwise than its neighbours.
_FOR_US = ("lora_up.bias", "scale", "diff_b")
# Which tensor's first side is a layer's rank, by the kind of its change.
_RANKS = ("lora_down.weight", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")


@dataclass(frozen=True)
class LoraFile:
    """What a LoRA file says before its tensors are read.

    Attributes:
        places: key in the file -> where that tensor belongs.
        unknown: keys that are of no kind known here.
        sdxl: whether it is to be read for SDXL, whose two text encoders have names of their own.
        stated: rank and alpha that are stated beside the tensors, by component.
    """

    header: Header
    places: Mapping[str, Place]
    unknown: tuple[str, ...]
    sdxl: bool
    stated: Mapping[str, Stated]

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers it changes."""
        return tuple(dict.fromkeys(place.layer for place in self.places.values()))

    @property
    def unet_layers(self) -> tuple[str, ...]:
        """The U-Net's among them, as kohya names them."""
        return tuple(layer for layer in self.layers if layer.startswith(UNET_PREFIXES))

    @property
    def changes_text_encoder(self) -> bool:
        """Whether any layer is a text encoder's."""
        return any(layer.startswith(TEXT_PREFIXES) for layer in self.layers)

    @property
    def is_for_hosts(self) -> bool:
        """Whether a host's loader reads the file as it is, and rightly, without code of a pickle being run."""
        renamed = any(key != place.name or place.part in _FOR_US for key, place in self.places.items())
        return self.header.path.suffix.lower() == ".safetensors" and not (renamed or self.stated)

    @cached_property
    def shapes(self) -> Shapes:
        """Shape of every tensor by kohya's name."""
        return {place.name: self.header.shapes[key] for key, place in self.places.items()}

    def rank(self, layer: str) -> int | None:
        """Rank of a layer's change, None if it is of a kind that has none."""
        found = (self.shapes.get(f"{layer}.{part}") for part in _RANKS)
        return next((shape[0] for shape in found if shape and shape[0]), None)


def read_lora(header: Header, unet_names: Collection[str]) -> LoraFile:
    """Give every tensor of a LoRA the name that hosts read.

    Args:
        unet_names: canonical names of the U-Net that the LoRA is to change.

    Raises:
        DiversityError: it states rank and alpha in a form that cannot be read.
    """
    names = Names(unet_names)
    places: dict[str, Place] = {}
    unknown: list[str] = []
    for key in header.shapes:
        if key.startswith(_EMBEDDINGS):
            continue
        place = names.place(key)
        if place is None:
            unknown.append(key)
        else:
            places[key] = place
    return LoraFile(header, places, tuple(unknown), names.sdxl, stated_in(header))


def uses_text_encoder(lora: LoraFile, choice: str) -> bool:
    """Whether the LoRA changes how the prompt is read, by the option `text_encoder`.

    Raises:
        DiversityError: `own` was asked for and the LoRA has no part for a text encoder.
    """
    if choice == "own" and not lora.changes_text_encoder:
        raise DiversityError(
            f"text_encoder is 'own' but the LoRA '{lora.header.path.name}' does not change the text encoder; set "
            "text_encoder to auto or base."
        )
    return choice != "base" and lora.changes_text_encoder


def left_out_note(name: str, left_out: Collection[str], of: int) -> str:
    """What the user should know of layers that the host has no place for."""
    first = ", ".join(list(left_out)[:3])
    return f"The LoRA '{name}' has {len(left_out)} of {of} layers that the loaded checkpoint lacks, first {first}."


def lora_tensors(lora: LoraFile) -> dict[str, torch.Tensor]:
    """All tensors [...] under kohya's names, each layer with the scale that the file means.

    Raises:
        DiversityError: the file cannot be read.
    """
    with open_tensors(lora.header) as source:
        tensors = {place.name: source.get(key).contiguous() for key, place in lora.places.items()}
    for place in {place.layer: place for place in lora.places.values()}.values():
        _settle_scale(lora, place, tensors)
        _settle_bias(lora, place.layer, tensors)
    return tensors


def _settle_scale(lora: LoraFile, place: Place, tensors: dict[str, torch.Tensor]) -> None:
    """Alpha is the layer's own tensor, else what is stated, else the rank."""
    layer, rank, stated = place.layer, lora.rank(place.layer), lora.stated.get(place.component)
    own = tensors.pop(f"{layer}.scale", None)
    if own is not None and rank is not None:  # A1111 takes it in place of alpha / rank
        tensors[f"{layer}.alpha"] = own.float() * rank
    if f"{layer}.alpha" in tensors or stated is None:
        return
    if rank is not None:
        tensors[f"{layer}.alpha"] = torch.tensor(stated.scale(place.path) * rank)
    elif (whole := tensors.get(f"{layer}.lokr_w1")) is not None:  # a LoKr of two whole matrices has no rank
        tensors[f"{layer}.lokr_w1"] = whole * stated.scale(place.path)


def _settle_bias(lora: LoraFile, layer: str, tensors: dict[str, torch.Tensor]) -> None:
    """The bias of peft's upper matrix (`lora_bias`) is scaled as the rest of it (peft/tuners/lora/layer.py, 0.18)."""
    bias = tensors.pop(f"{layer}.lora_up.bias", None)
    if bias is None:
        return
    alpha, rank = tensors.get(f"{layer}.alpha"), lora.rank(layer)
    if alpha is not None and alpha.numel() == 1 and rank is not None:
        bias = bias * (alpha.item() / rank)
    tensors[f"{layer}.diff_b"] = bias
