"""LoRA files: which layers they change, whether they fit a model, and their tensors under the names that hosts read.

Hosts read kohya's names: `lora_unet_<layer with _ for .>.lora_down.weight`, the layer named as in ldm or in diffusers.
diffusers (`unet.<layer>.lora_A.weight`) and peft (`base_model.model.<layer>.lora_A.weight`) save others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

import torch

from extension_core.errors import DiversityError
from extension_core.weights.compatibility import Shapes, architecture, architecture_of_width
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table, layers_per_block
from extension_core.weights.reader import Header, open_tensors

_UNET_PREFIXES = ("lora_unet_", "oft_unet_")
_TEXT_PREFIXES = ("lora_te_", "lora_te1_", "lora_te2_")
_MARKS = re.compile(r"\.lora_[AB]\.|lora(_linear_layer)?\.(up|down)\.weight$")
# Endings of diffusers' and peft's names, in the order of their making, and kohya's for them.
_ENDINGS = (
    (re.compile(r"\.(?:processor\.)?(to_[qkv])_lora\.(down|up)\.weight$"), r".\1.lora_\2.weight"),
    (re.compile(r"\.(?:processor\.)?to_out_lora\.(down|up)\.weight$"), r".to_out.0.lora_\1.weight"),
    (re.compile(r"\.lora(?:_linear_layer)?\.(down|up)\.weight$"), r".lora_\1.weight"),
    (re.compile(r"\.lora_A(?:\.[^.]+)?\.weight$"), ".lora_down.weight"),
    (re.compile(r"\.lora_B(?:\.[^.]+)?\.weight$"), ".lora_up.weight"),
    (re.compile(r"\.alpha$"), ".alpha"),
)
# diffusers' first text encoder LoRAs borrowed the U-Net's names for the projections.
_TEXT_PROJECTIONS = (
    *((f".self_attn.to_{x}.", f".self_attn.{x}_proj.") for x in "qkv"),
    (".self_attn.to_out.0.", ".self_attn.out_proj."),
)
# Textual inversions that travel with a LoRA; only a prompt can use them.
_EMBEDDINGS = "bundle_emb."
_PEFT_PREFIX = "base_model.model."
_WIDTH_OF = re.compile(r"attn2_to_[kv]$")


@dataclass(frozen=True)
class LoraFile:
    """What a LoRA file says before its tensors are read.

    Attributes:
        names: key in the file -> kohya's name.
        unknown: keys that are of no kind known here.
        sdxl: whether it is to be read for SDXL, whose two text encoders have names of their own.
    """

    header: Header
    names: Mapping[str, str]
    unknown: tuple[str, ...]
    sdxl: bool

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers it changes."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.names.values()))

    @property
    def unet_layers(self) -> tuple[str, ...]:
        """The U-Net's among them, as kohya names them."""
        return tuple(layer for layer in self.layers if layer.startswith(_UNET_PREFIXES))

    @property
    def changes_text_encoder(self) -> bool:
        """Whether any layer is a text encoder's."""
        return any(layer.startswith(_TEXT_PREFIXES) for layer in self.layers)

    @property
    def is_for_hosts(self) -> bool:
        """Whether a host's loader reads the file as it is, without code of a pickle being run."""
        renamed = any(key != name for key, name in self.names.items())
        return self.header.path.suffix.lower() == ".safetensors" and not renamed

    @cached_property
    def shapes(self) -> Shapes:
        """Shape of every tensor by kohya's name."""
        return {name: self.header.shapes[key] for key, name in self.names.items()}


def is_lora(keys: Iterable[str]) -> bool:
    """Whether a file's keys are those of a LoRA (or of its relatives LoHa, LoKr, OFT, ...)."""
    return any(key.startswith((*_UNET_PREFIXES, *_TEXT_PREFIXES)) or _MARKS.search(key) for key in keys)


def read_lora(header: Header, unet_names: Collection[str]) -> LoraFile:
    """Give every tensor of a LoRA the name that hosts read.

    Args:
        unet_names: canonical names of the U-Net that the LoRA is to change.
    """
    sdxl = any(name.startswith(UNET_PREFIX + "label_emb.") for name in unet_names)
    table = _layer_table(unet_names)
    # A host takes diffusers' block numbers for those of two residual blocks a level.
    ordinary = {} if layers_per_block(unet_names) == 2 else {_underscored(theirs): our for theirs, our in table.items()}
    names, unknown = {}, []
    for key in header.shapes:
        if key.startswith(_EMBEDDINGS):
            continue
        name = _kohya_name(key, sdxl, table, ordinary)
        if name is None:
            unknown.append(key)
        else:
            names[key] = name
    return LoraFile(header, names, tuple(unknown), sdxl)


def _layer_table(unet_names: Collection[str]) -> dict[str, str]:
    """Diffusers' name of a layer -> ldm's, both without prefix."""
    return {
        theirs.removesuffix(".weight"): name.removeprefix(UNET_PREFIX).removesuffix(".weight")
        for theirs, name in diffusers_table(unet_names).items()
        if name.endswith(".weight")
    }


def _underscored(layer: str) -> str:
    return layer.replace(".", "_")


def _kohya_name(key: str, sdxl: bool, table: Mapping[str, str], ordinary: Mapping[str, str]) -> str | None:
    if key.startswith((*_UNET_PREFIXES, *_TEXT_PREFIXES)):
        layer, _, part = key.partition(".")
        prefix = next((p for p in _UNET_PREFIXES if layer.startswith(p)), "")
        inside = layer.removeprefix(prefix)
        return f"{prefix}{_underscored(ordinary[inside])}.{part}" if prefix and inside in ordinary else key
    for pattern, replacement in _ENDINGS:
        renamed, count = pattern.subn(replacement, key.removeprefix(_PEFT_PREFIX))
        if count:
            break
    else:
        return None
    path, part = _split(renamed)
    for component, prefix in (("text_encoder_2.", "lora_te2_"), ("text_encoder.", "lora_te1_" if sdxl else "lora_te_")):
        if path.startswith(component):
            return f"{prefix}{_underscored(_text_layer(path.removeprefix(component)))}.{part}"
    path = path.removeprefix("unet.")
    return f"lora_unet_{_underscored(table.get(path, path))}.{part}"


def _split(name: str) -> tuple[str, str]:
    """Layer and what comes after it: `alpha`, `lora_down.weight`, `lora_up.weight`."""
    parts = name.split(".")
    count = 1 if parts[-1] == "alpha" else 2
    return ".".join(parts[:-count]), ".".join(parts[-count:])


def _text_layer(path: str) -> str:
    padded = path + "."
    for old, new in _TEXT_PROJECTIONS:
        padded = padded.replace(old, new)
    return padded.removesuffix(".")


def check_lora(lora: LoraFile, unet_shapes: Shapes) -> None:
    """Refuse a LoRA that does not belong to a U-Net.

    Args:
        unet_shapes: canonical name -> shape of the U-Net's tensors.

    Raises:
        DiversityError: it is of another architecture, of an unknown kind, or changes nothing; with counts and the
            first three names.
    """
    name = lora.header.path.name
    if lora.unknown:
        raise DiversityError(
            f"The LoRA '{name}' holds {_some(lora.unknown, 'tensors')} of a kind that Diversity Distillation does not "
            "know; convert it to kohya's format."
        )
    layers = _host_layers(unet_shapes)
    fitting = [layer for layer in lora.unet_layers if _inside(layer) in layers]
    other_shapes = [layer for layer in fitting if not _fits(lora, layer, layers[_inside(layer)])]
    if other_shapes:
        raise DiversityError(
            f"The LoRA '{name}' {_kinds(lora, unet_shapes)}: it has other shapes for {len(other_shapes)} of its "
            f"{len(lora.unet_layers)} U-Net layers, first {', '.join(other_shapes[:3])}; choose a LoRA for the loaded "
            "checkpoint's architecture."
        )
    if not fitting:
        found = _some(lora.layers, "layers") if lora.layers else "no layers"
        raise DiversityError(
            f"The LoRA '{name}' changes nothing in the U-Net of the loaded checkpoint: none of its {found} is there; "
            "choose a LoRA for the loaded checkpoint's architecture."
        )


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


def _some(names: Collection[str], what: str) -> str:
    return f"{len(names)} {what}, first {', '.join(list(names)[:3])},"


def _inside(layer: str) -> str:
    return next(layer.removeprefix(prefix) for prefix in _UNET_PREFIXES if layer.startswith(prefix))


def _host_layers(unet_shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shape of a layer's weight by either name, dots replaced, as kohya writes it."""
    weights = {name: shape for name, shape in unet_shapes.items() if name.endswith(".weight")}
    result = {_underscored(n.removeprefix(UNET_PREFIX).removesuffix(".weight")): shape for n, shape in weights.items()}
    for theirs, ours in diffusers_table(weights).items():
        result[_underscored(theirs.removesuffix(".weight"))] = weights[ours]
    return result


def _fits(lora: LoraFile, layer: str, weight: tuple[int, ...]) -> bool:
    """Whether up [out, r] and down [r, in] belong to a weight [out, in]; other kinds are left to the host."""
    up, down = lora.shapes.get(f"{layer}.lora_up.weight"), lora.shapes.get(f"{layer}.lora_down.weight")
    if up is None or down is None or len(weight) < 2:
        return True
    if len(up) < 2 or len(down) < 2:
        return False
    # A 9-channel inpainting model takes a LoRA of the 4-channel one; hosts pad it.
    inputs = 4 if weight[1] == 9 and down[1] == 4 else weight[1]
    return up[0] == weight[0] and down[1] == inputs


def _kinds(lora: LoraFile, unet_shapes: Shapes) -> str:
    ours, theirs = architecture(unet_shapes), lora_architecture(lora)
    return f"is {theirs} but the loaded checkpoint is {ours}" if ours != theirs else f"is not for this {ours} model"


def lora_architecture(lora: LoraFile) -> str:
    """Name of the architecture that a LoRA's cross attention belongs to."""
    downs = (lora.shapes.get(f"{layer}.lora_down.weight") for layer in lora.unet_layers if _WIDTH_OF.search(layer))
    return architecture_of_width({shape[1] for shape in downs if shape and len(shape) > 1})


def lora_tensors(lora: LoraFile) -> dict[str, torch.Tensor]:
    """All tensors under kohya's names, with the alpha that the file's metadata states where the file has none.

    Raises:
        DiversityError: the file cannot be read.
    """
    with open_tensors(lora.header) as source:
        tensors = {name: source.get(key).contiguous() for key, name in lora.names.items()}
    for layer in lora.layers:
        down = tensors.get(f"{layer}.lora_down.weight")
        scale = None if down is None or f"{layer}.alpha" in tensors else _stated_scale(lora.header)
        if down is not None and scale is not None and down.ndim:
            tensors[f"{layer}.alpha"] = torch.tensor(scale * down.shape[0])
    return tensors


def _stated_scale(header: Header) -> float | None:
    """Alpha / rank as newer diffusers states it in the metadata, and peft in a file beside; None if neither does."""
    config = _adapter_config(header)
    prefix = "unet." if "unet.r" in config else ""
    rank, alpha = config.get(prefix + "r"), config.get(prefix + "lora_alpha")
    if not _is_number(rank) or not _is_number(alpha) or rank <= 0:
        return None
    return float(alpha) / (float(rank) ** 0.5 if config.get(prefix + "use_rslora") else float(rank))


def _is_number(found: Any) -> TypeGuard[float]:
    """What stands in a file may be of any type, and JSON has infinite numbers in Python."""
    return isinstance(found, (int, float)) and not isinstance(found, bool) and abs(found) < 1e9


def _adapter_config(header: Header) -> dict[str, Any]:
    beside = header.path.with_name("adapter_config.json")
    text = header.metadata.get("lora_adapter_metadata", "{}")
    try:
        if header.path.stem == "adapter_model":
            with suppress(FileNotFoundError):
                text = beside.read_text(encoding="utf-8")
        parsed = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
