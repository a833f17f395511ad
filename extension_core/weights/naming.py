"""Names of tensors in checkpoint files and of parameters in a host's model, brought together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch

from extension_core.weights.layouts import UNET_PREFIX, canonical_unet_keys

__all__ = ["TEXT_PREFIXES", "UNET_PREFIX", "NamedParameter", "file_keys", "named_parameters", "with_prefix"]

# SD 1.x and 2.x, then SDXL.
TEXT_PREFIXES = ("cond_stage_model.", "conditioner.")

# Old SD 1.x files name the text encoder without `text_model` (modules/sd_models.py, A1111 1.10.1).
_LEGACY_TEXT = {
    f"cond_stage_model.transformer.{part}.": f"cond_stage_model.transformer.text_model.{part}."
    for part in ("embeddings", "encoder", "final_layer_norm")
}


def file_keys(keys: Collection[str], unet_names: Collection[str] = ()) -> dict[str, str]:
    """Canonical name -> key in the file, in whichever layout its U-Net is.

    Args:
        unet_names: canonical names of the U-Net that the file is to take turns with.
    """
    unet = canonical_unet_keys(keys, unet_names)
    return {unet.get(key, _canonical_text_key(key)): key for key in keys}


def _canonical_text_key(key: str) -> str:
    for old, new in _LEGACY_TEXT.items():
        if key.startswith(old):
            return new + key[len(old) :]
    return key


@dataclass(frozen=True)
class NamedParameter:
    """A live parameter under its name in checkpoint files.

    Attributes:
        owner: module that holds the parameter as `attribute`.
        layer: module on which the host keeps its notes about it; the same, except inside MultiheadAttention.
    """

    name: str
    owner: torch.nn.Module
    attribute: str
    layer: torch.nn.Module

    @property
    def tensor(self) -> torch.Tensor:
        """The live value [...], of the parameter's own shape."""
        return getattr(self.owner, self.attribute).data

    @property
    def clean(self) -> torch.Tensor:
        """The live value [...] without the networks that the host may have merged into it (kept by Lora as backups)."""
        backup = _backup(self)
        return self.tensor if backup is None else backup.to(self.tensor.device)


def _backup(parameter: NamedParameter) -> torch.Tensor | None:
    """Lora's copy of the value before it merged networks (extensions-builtin/Lora/networks.py, A1111 1.10.1)."""
    weights = getattr(parameter.layer, "network_weights_backup", None)
    if not isinstance(parameter.layer, torch.nn.MultiheadAttention):
        return getattr(parameter.layer, "network_bias_backup", None) if parameter.attribute == "bias" else weights
    if parameter.owner is not parameter.layer and parameter.attribute == "bias":
        return getattr(parameter.layer, "network_bias_backup", None)
    if weights is None or not parameter.attribute.endswith("weight"):
        return None
    return weights[0] if parameter.owner is parameter.layer else weights[1]


def named_parameters(module: torch.nn.Module, prefix: str) -> Iterator[NamedParameter]:
    """Every parameter of a host's module under its name in files.

    Hosts wrap text encoders and embeddings in modules called `wrapped` (modules/sd_hijack.py, A1111 1.10.1); files do
    not know of them.
    """
    modules = dict(cast("Iterator[tuple[str, torch.nn.Module]]", module.named_modules()))
    for path, owner in modules.items():
        cleaned = "".join(f"{part}." for part in path.split(".") if part and part != "wrapped")
        parent = modules.get(path.rpartition(".")[0])
        layer = parent if isinstance(parent, torch.nn.MultiheadAttention) else owner
        for attribute, _ in owner.named_parameters(recurse=False):
            yield NamedParameter(f"{prefix}{cleaned}{attribute}", owner, attribute, layer)


def with_prefix(shapes: Mapping[str, tuple[int, ...]], prefixes: str | tuple[str, ...]) -> set[str]:
    """Names that begin with one of the prefixes."""
    return {name for name in shapes if name.startswith(prefixes)}
