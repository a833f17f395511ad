"""The names that LoRA files give to layers and their tensors, brought to those that every host reads.

Those are kohya's: `lora_unet_<layer with _ for .>.lora_down.weight`, the layer named as in ldm or in diffusers. Other
programs write a path with dots, a prefix of their own before it, and other words for down and up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from extension_core.weights.layouts import UNET_PREFIX, diffusers_table, is_unet_path, layers_per_block

UNET_PREFIXES = ("lora_unet_", "oft_unet_")
TEXT_PREFIXES = ("lora_te_", "lora_te1_", "lora_te2_")
UNET, FIRST_TEXT, SECOND_TEXT = "unet", "text_encoder", "text_encoder_2"

# LyCORIS' prefix for a network that it made itself, as SimpleTuner saves it; layers are named as in diffusers.
_LYCORIS = re.compile(r"^lycoris_(?:unet_)?")
_PEFT = "base_model.model."
# What stands before the path of a layer: ComfyUI (the model's own names), OneTrainer and OMI, diffusers.
_COMPONENTS = (
    *((f"{prefix}{inner}", FIRST_TEXT) for prefix in ("text_encoders.", "") for inner in ("clip_l.", "clip_h.")),
    *((f"{prefix}clip_g.", SECOND_TEXT) for prefix in ("text_encoders.", "")),
    ("text_encoder_2.", SECOND_TEXT),
    ("text_encoder.", FIRST_TEXT),
    (UNET_PREFIX, UNET),
    ("diffusion_model.", UNET),
    ("unet.", UNET),
)
# Words for the parts of a layer's change, and kohya's after the bar; in the order of their making.
_WORDS = (
    (re.compile(r"\.(?:processor\.)?(to_[qkv])_lora\.(down|up)\.weight$"), r".\1|lora_\2.weight"),
    (re.compile(r"\.(?:processor\.)?to_out_lora\.(down|up)\.weight$"), r".to_out.0|lora_\1.weight"),
    (re.compile(r"\.lora(?:_linear_layer)?\.(down|up)\.weight$"), r"|lora_\1.weight"),
    (re.compile(r"\.lora_A(?:\.[^.]+)?\.weight$"), r"|lora_down.weight"),
    (re.compile(r"\.lora_B(?:\.[^.]+)?\.weight$"), r"|lora_up.weight"),
    (re.compile(r"\.lora_B(?:\.[^.]+)?\.bias$"), r"|lora_up.bias"),
)
# Everything else that hosts read of a layer, in kohya's and LyCORIS' words.
_PARTS = re.compile(
    r"\.(lora_(?:up|down|mid)\.weight|alpha|scale|dora_scale|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)"
    r"|oft_blocks|oft_diag|rescale|[ab][12]\.weight|diff|diff_b|w_norm|b_norm)$"
)
_IA3 = re.compile(r"\.(weight|on_input|bias)$")
# Which of them no other kind of file has.
_MARKS = re.compile(r"\.lora_[AB]\.|lora(?:_linear_layer)?\.(?:up|down)\.weight$|\.lora_(?:up|down)\.weight$")
_LYCORIS_MARKS = re.compile(r"\.(?:hada_w1_a|lokr_w[12](?:_a)?|oft_blocks|oft_diag|dora_scale|diff|diff_b)$")
# cloneofsimo's trainer numbers the layers: `unet:0:up`.
NUMBERED = re.compile(r"^(?:unet|text_encoder):\d+:(?:up|down)$")
# diffusers' first text encoder LoRAs borrowed the U-Net's names for the projections.
_TEXT_PROJECTIONS = (
    *((f".self_attn.to_{x}.", f".self_attn.{x}_proj.") for x in "qkv"),
    (".self_attn.to_out.0.", ".self_attn.out_proj."),
)


@dataclass(frozen=True)
class Place:
    """Where a tensor of a LoRA belongs.

    Attributes:
        layer: as kohya names it.
        part: which of the layer's tensors, in kohya's words.
        component: which of the models that a pipeline of diffusers has.
        path: the layer in the words of the file, without prefix.
    """

    layer: str
    part: str
    component: str
    path: str

    @property
    def name(self) -> str:
        """The tensor's name as hosts read it."""
        return f"{self.layer}.{self.part}"


def is_lora(keys: Collection[str]) -> bool:
    """Whether a file's keys are those of a LoRA (or of its relatives LoHa, LoKr, OFT, ...)."""
    prefixes = (*UNET_PREFIXES, *TEXT_PREFIXES, "lycoris_")
    return any(
        key.startswith(prefixes) or _MARKS.search(key) or _LYCORIS_MARKS.search(key) or NUMBERED.search(key)
        for key in keys
    )


class Names:
    """Places of a LoRA's tensors in one U-Net, told by its canonical names, and its text encoders."""

    def __init__(self, unet_names: Collection[str]) -> None:
        """Args: unet_names: canonical names of the U-Net that the LoRA is to change."""
        self.sdxl = any(name.startswith(UNET_PREFIX + "label_emb.") for name in unet_names)
        self._table = _layer_table(unet_names)
        # A host takes diffusers' block numbers for those of two residual blocks a level.
        unusual = layers_per_block(unet_names) != 2
        self._flat: Mapping[str, str] = {underscored(a): b for a, b in self._table.items()} if unusual else {}

    def place(self, key: str) -> Place | None:
        """Where a tensor belongs; None if its key is of no kind that is known."""
        split = _split(key.replace(_PEFT, "", 1))
        if split is None:
            return None
        path, part = split
        if path.startswith((*UNET_PREFIXES, *TEXT_PREFIXES)):
            return self._flat_place(path, part)
        if "." not in path and _LYCORIS.match(path):
            return self._of_lycoris(_LYCORIS.sub("", path), part)
        for prefix, component in _COMPONENTS:
            if path.startswith(prefix):
                return self._dotted(component, path.removeprefix(prefix), part)
        if path.startswith("text_model."):
            return self._dotted(FIRST_TEXT, path, part)
        return self._dotted(UNET, path, part) if is_unet_path(path) else None

    def in_ldm(self, layer: str) -> str:
        """A layer by kohya's name, its path in ldm's words; as it is if the U-Net has no such layer."""
        inside = layer.removeprefix(UNET_PREFIXES[0])
        flat = {underscored(theirs): ours for theirs, ours in self._table.items()}
        return UNET_PREFIXES[0] + underscored(flat[inside]) if inside in flat else layer

    def _flat_place(self, layer: str, part: str) -> Place:
        if layer.startswith(TEXT_PREFIXES):
            component = SECOND_TEXT if layer.startswith("lora_te2_") else FIRST_TEXT
            return Place(layer, part, component, layer)
        prefix = next(prefix for prefix in UNET_PREFIXES if layer.startswith(prefix))
        inside = layer.removeprefix(prefix)
        return Place(f"{prefix}{underscored(self._flat.get(inside, inside))}", part, UNET, inside)

    def _of_lycoris(self, inside: str, part: str) -> Place:
        for start, component in (("text_encoder_2_", SECOND_TEXT), ("text_encoder_", FIRST_TEXT), ("", FIRST_TEXT)):
            if inside.startswith(f"{start}text_model_"):
                return Place(f"{self._text_prefix(component)}{inside.removeprefix(start)}", part, component, inside)
        return self._flat_place(f"lora_unet_{inside}", part)

    def _dotted(self, component: str, path: str, part: str) -> Place:
        if component == UNET:
            return Place(f"lora_unet_{underscored(self._table.get(path, path))}", part, component, path)
        inside = _text_layer(path.removeprefix("transformer."))
        return Place(f"{self._text_prefix(component)}{underscored(inside)}", part, component, path)

    def _text_prefix(self, component: str) -> str:
        if component == SECOND_TEXT:
            return "lora_te2_"
        return "lora_te1_" if self.sdxl else "lora_te_"


def underscored(layer: str) -> str:
    """A layer's path as kohya writes it."""
    return layer.replace(".", "_")


def _layer_table(unet_names: Collection[str]) -> dict[str, str]:
    """Diffusers' name of a layer -> ldm's, both without prefix."""
    return {
        theirs.removesuffix(".weight"): name.removeprefix(UNET_PREFIX).removesuffix(".weight")
        for theirs, name in diffusers_table(unet_names).items()
        if name.endswith(".weight")
    }


def _split(key: str) -> tuple[str, str] | None:
    """(a layer's path, kohya's word for the tensor)."""
    for pattern, replacement in _WORDS:
        renamed, count = pattern.subn(replacement, key)
        if count:
            path, _, part = renamed.rpartition("|")
            return path, part
    found = _PARTS.search(key)
    if found is None and key.startswith(UNET_PREFIXES + TEXT_PREFIXES):
        found = _IA3.search(key)
    return None if found is None else (key[: found.start()], found.group(1))


def _text_layer(path: str) -> str:
    padded = path + "."
    for old, new in _TEXT_PROJECTIONS:
        padded = padded.replace(old, new)
    return padded.removesuffix(".")
