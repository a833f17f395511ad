"""What a LoRA makes of the live model's weights, summed by the host's own network modules."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import save_file

from extension_core.errors import DiversityError, first_line
from extension_core.hosts.common.files import choices
from extension_core.weights.file_state import check_unchanged, unchanged
from extension_core.weights.lora_file import LoraFile, left_out_note, lora_tensors
from extension_core.weights.lora_names import TEXT_PREFIXES, Names, underscored
from extension_core.weights.naming import UNET_PREFIX, NamedParameter
from extension_core.weights.out_of_memory import is_out_of_memory
from extension_core.weights.second_model import SecondModel, build_second_model
from extension_core.weights.transfer import Copies

_BIAS = ".diff_b"


def load_lora(
    lora: LoraFile,
    strength: float,
    unet: Sequence[NamedParameter],
    text: Sequence[NamedParameter],
    copies: Copies | None = None,
) -> SecondModel:
    """The base's weights with a LoRA merged into them, as a second set; made once, of what the LoRA changes alone.

    Raises:
        NotEnoughMemory: memory does not suffice.
        DiversityError: the host cannot read the LoRA.
    """
    with _host_network(lora, strength) as (network, biases):
        names = Names([named.name for named in unet])
        added = {names.in_ldm(layer): bias * strength for layer, bias in biases.items()}
        merged = _Merged(network.modules, [*unet, *text], added)
        second = build_second_model(lora.header.path.name, unet, text, merged.value, copies)
        merged.check(lora.header.path.name)
        placed = {module.network_key.partition(".")[0] for module in network.modules.values()}
        here = {_kohya_layer(named) for named in unet}
        second.notes = _left_out(lora, placed | {layer for layer in biases if names.in_ldm(layer) in here})
    return second


def _left_out(lora: LoraFile, placed: set[str]) -> tuple[str, ...]:
    """A note on the layers that the host has found no place for; it passes over them without a word."""
    left_out = [layer for layer in lora.layers if layer not in placed]
    return (left_out_note(lora.header.path.name, left_out, len(lora.layers)),) if left_out else ()


def _without_biases(tensors: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(tensors for the host's loader, changes of biases by layer), for it passes over a bias beside a plain LoRA.

    It wants a change of the weight from every layer, so one of a text encoder that has none gets a change of nothing.
    """
    biases = {name.removesuffix(_BIAS): tensor for name, tensor in tensors.items() if name.endswith(_BIAS)}
    rest = {name: tensor for name, tensor in tensors.items() if not name.endswith(_BIAS)}
    others = {name.partition(".")[0] for name in rest}
    alone = [layer for layer in biases if layer not in others and layer.startswith(TEXT_PREFIXES)]
    return {**rest, **{f"{layer}.diff": torch.zeros(1) for layer in alone}}, biases


@contextmanager
def _host_network(lora: LoraFile, strength: float) -> Iterator[tuple[Any, dict[str, torch.Tensor]]]:
    """The LoRA as the host's own loader reads it, and the biases that it would not.

    Renamed in a temporary file if the host does not know its names.
    """
    networks = choices.networks()
    if networks is None:
        raise DiversityError(
            f"The LoRA '{lora.header.path.name}' cannot be used because the host's extension Lora is switched off; "
            "switch it on."
        )
    header = lora.header
    with unchanged(header.path, header.state), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path, biases = header.path, {}
        if not lora.is_for_hosts:
            path = Path(folder) / "lora.safetensors"
            tensors, biases = _without_biases(lora_tensors(lora))
            save_file(tensors, path)
        try:
            network = networks.load_network(lora.header.path.stem, SimpleNamespace(filename=str(path)))
        except Exception as error:
            check_unchanged(header.path, header.state)
            raise DiversityError(
                f"The LoRA '{header.path.name}' cannot be read by the host's Lora extension "
                f"({first_line(error):.200}); download or convert it again."
            ) from error
        network.te_multiplier = network.unet_multiplier = strength
        network.dyn_dim = None
        yield network, biases


class _Merged:
    """Second values: a parameter plus what the host's network modules add to it.

    The sums are the host's own (network_apply_weights in extensions-builtin/Lora/networks.py, 1.10.1), so the result is
    the same as with the LoRA first in the prompt.
    """

    def __init__(
        self,
        modules: dict[str, Any],
        parameters: Sequence[NamedParameter],
        biases: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """Args: biases: what is added to biases, by kohya's names of layers in ldm's words."""
        self._modules = modules
        self._biases = biases or {}
        self._parameters = {named.name: named for named in parameters}
        self._failed: dict[str, str] = {}
        self._last: tuple[Any, Any] = (None, None)

    def value(self, name: str) -> torch.Tensor | None:
        """Second value [...] of a parameter by canonical name, None if the LoRA leaves it as it is."""
        named = self._parameters[name]
        layer = getattr(named.layer, "network_layer_name", None)
        if layer is None:
            return None
        try:
            if isinstance(named.layer, torch.nn.MultiheadAttention):
                return self._attention(named, layer)
            if layer in self._modules:
                return self._plain(named, self._modules[layer])
            return self._sum_of_bias(named, self._own_bias(named, ""))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._failed[layer] = str(error)
            return None

    def check(self, name: str) -> None:
        """Refuse the LoRA if a layer's shapes did not fit; the host would leave such layers out without a word.

        Raises:
            DiversityError: how many layers, the first three and why.
        """
        if self._failed:
            layers = list(self._failed)
            raise DiversityError(
                f"The LoRA '{name}' does not fit {len(layers)} layers of the loaded checkpoint, first "
                f"{', '.join(layers[:3])} ({self._failed[layers[0]].splitlines()[0]:.120}); choose another."
            )

    def _plain(self, named: NamedParameter, module: Any) -> torch.Tensor | None:
        weight = _clean_of(named, "weight")
        if self._last[0] is not module:  # a layer's bias follows its weight
            self._last = module, module.calc_updown(weight)
        updown, bias_change = self._last[1]
        own = self._own_bias(named, module.network_key)
        if own is not None:
            bias_change = own if bias_change is None else bias_change + own.to(bias_change)
        if bias_change is not None and getattr(named.owner, "bias", None) is None:
            raise RuntimeError("it adds a bias where the model has none")
        if named.attribute == "weight":
            return _sum(weight, _padded(updown, weight))
        return self._sum_of_bias(named, bias_change)

    def _own_bias(self, named: NamedParameter, network_key: str) -> torch.Tensor | None:
        """What is added to the bias of a parameter's layer beside what the host's module adds."""
        for layer in (network_key.partition(".")[0], _kohya_layer(named)):
            if layer in self._biases:
                return self._biases[layer].to(named.tensor.device)
        return None

    def _sum_of_bias(self, named: NamedParameter, change: torch.Tensor | None) -> torch.Tensor | None:
        return None if change is None or named.attribute != "bias" else _sum(_clean_of(named, "bias"), change)

    def _attention(self, named: NamedParameter, layer: str) -> torch.Tensor | None:
        """open_clip's text encoders keep query, key and value in one parameter; the host wants all four parts."""
        names = [f"{layer}_{part}_proj" for part in ("q", "k", "v", "out")]
        if any(name not in self._modules for name in names):
            return None
        parts = [self._modules[name] for name in names]
        if any(part.network_key.partition(".")[0] in self._biases for part in parts):
            raise RuntimeError("it changes biases that the model keeps in one with others")
        live = named.clean
        if named.attribute == "in_proj_weight":
            rows = zip(parts[:3], live.chunk(3, 0), strict=True)
            return live + torch.vstack([part.calc_updown(weight)[0] for part, weight in rows])
        if named.owner is named.layer:
            return None
        updown, bias_change = parts[3].calc_updown(_clean_of(named, "weight"))
        change = updown if named.attribute == "weight" else bias_change
        return None if change is None else live + change


def _kohya_layer(named: NamedParameter) -> str:
    """The layer of a U-Net's parameter as kohya names it, in ldm's words."""
    return f"lora_unet_{underscored(named.name.removeprefix(UNET_PREFIX).rpartition('.')[0])}"


def _clean_of(named: NamedParameter, attribute: str) -> torch.Tensor:
    """Weight or bias of the parameter's layer without networks, in fp16 where the host's fp8 mode keeps that copy."""
    live = NamedParameter(named.name, named.owner, attribute, named.layer)
    half = getattr(named.layer, f"fp16_{attribute}", None)
    return live.clean if half is None else half.to(live.tensor.device)


def _padded(updown: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The first convolution of an inpainting model has 9 channels, of which a LoRA knows 4."""
    if [tensor.shape[1] for tensor in (updown, weight) if tensor.ndim == 4] != [4, 9]:
        return updown
    of_mask_and_picture = updown.new_zeros(updown.shape[0], 5, *updown.shape[2:])
    return torch.cat([updown, of_mask_and_picture], dim=1)


def _sum(weight: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    return (weight.to(dtype=change.dtype) + change).to(dtype=weight.dtype)
