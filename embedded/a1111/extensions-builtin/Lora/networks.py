"""LoRAs in the layers: each layer's weight is rewritten in place when the wanted set of networks is another than the
one it holds.

Bookkeeping lies on the layer itself: `network_layer_name`, `network_current_names` (what its weight holds now),
`network_weights_backup` and `network_bias_backup` (what it held before, made once and kept). Reading other weights into
a layer clears it.
"""

from __future__ import annotations

import os
from typing import Any

import network
import torch
from modules import devices, errors, sd_hijack, sd_models, shared
from modules.lora_files import (
    NetworkOnDisk,
    available_network_aliases,
    available_networks,
    list_available_networks,
    on_disk_of,
)
from modules.lora_kinds import diffusers_name

loaded_networks: list[network.Network] = []
networks_in_memory: dict[str, network.Network] = {}
originals: Any = None
# Set by scripts/lora_script.py once the host registers it.
extra_network_lora: Any = None


def assign_network_names_to_compvis_modules(sd_model: Any) -> None:
    """On every load of a model: text encoder layers by their names inside the wrapped encoder, others by theirs below
    `sd_model.model`.
    """
    encoder = sd_model.cond_stage_model
    layers: dict[str, torch.nn.Module] = {}
    for part in (getattr(encoder, "wrapped", encoder), sd_model.model):
        for path, layer in part.named_modules():
            name = path.replace(".", "_")
            layer.network_layer_name, layers[name] = name, layer  # type: ignore[assignment]
    sd_model.network_layer_mapping = layers


def _lora_names(sd_model: Any) -> dict[str, str]:
    """Layers by what LoRA files call them: ldm's names and kohya's, which are after diffusers'."""
    names: dict[str, str] = {}
    for dotted, _ in sd_model.model.diffusion_model.named_modules():
        known_as = diffusers_name(dotted, num_res_blocks=2)  # as in all published Stable Diffusion 1.x files
        for name in (dotted, known_as) if known_as else (dotted,):
            names["lora_unet_" + name.replace(".", "_")] = "diffusion_model_" + dotted.replace(".", "_")
    for name in sd_model.network_layer_mapping:
        if name.startswith("transformer_"):
            names |= dict.fromkeys((name.replace("transformer", kind, 1) for kind in ("lora_te", "lora_te1")), name)
    return names


def load_network(name: str, network_on_disk: NetworkOnDisk) -> network.Network:
    """Reads a file. Tensors for layers that this model lacks are passed over."""
    model, file = shared.sd_model, network_on_disk.filename
    if not hasattr(model, "network_layer_mapping"):
        assign_network_names_to_compvis_modules(model)
    names, weights = _lora_names(model), {}
    for key, tensor in sd_models.read_state_dict(file).items():
        prefix, _, part = key.partition(".")
        layer = names.get(prefix, prefix)
        if layer in model.network_layer_mapping:
            module = model.network_layer_mapping[layer]
            weights.setdefault(layer, network.NetworkWeights(key, layer, {}, module)).w[part] = tensor
    net = network.Network(name, network_on_disk)
    net.mtime = os.path.getmtime(file)
    net.modules = {layer: network.NetworkModule(net, of_layer) for layer, of_layer in weights.items()}
    return net


def _get_network(name: str, on_disk: NetworkOnDisk | None, known: network.Network | None) -> network.Network | None:
    if on_disk is None:
        return known
    net = known or networks_in_memory.get(name)
    if net is None or os.path.getmtime(on_disk.filename) > net.mtime:
        net = load_network(name, on_disk)
        networks_in_memory[name] = net
    net.mentioned_name = name
    on_disk.read_hash()
    return net


def _take_multipliers(net: network.Network, i: int, **given: list[Any] | None) -> None:
    """Each attribute from the i-th entry of its list, 1 where no list is given."""
    for attribute, values in given.items():
        setattr(net, attribute, values[i] if values else 1.0)


def _forget_surplus() -> None:
    limit = max(shared.opts.lora_in_memory_limit, 0)
    for name in list(networks_in_memory)[: max(len(networks_in_memory) - limit, 0)]:
        del networks_in_memory[name]


def load_networks(
    names: list[str],
    te_multipliers: list[float] | None = None,
    unet_multipliers: list[float] | None = None,
    dyn_dims: list[Any] | None = None,
) -> None:
    """Makes these the wanted networks. Layers change when they are next called. One that is not found becomes a comment
    under the picture.
    """
    known = {net.name: net for net in loaded_networks if net.name in names}
    loaded_networks.clear()
    if None in map(on_disk_of, names):
        list_available_networks()
    missing = []
    for i, name in enumerate(names):
        on_disk = on_disk_of(name)
        try:
            net = _get_network(name, on_disk, known.get(name))
        except Exception as e:  # the host shows it and generates without
            errors.display(e, f"loading network {on_disk.filename if on_disk else name}")
            continue
        if net is None:
            missing.append(name)
            continue
        _take_multipliers(net, i, te_multiplier=te_multipliers, unet_multiplier=unet_multipliers, dyn_dim=dyn_dims)
        loaded_networks.append(net)
    if missing:
        sd_hijack.model_hijack.comments.append(f"Lora not found: {', '.join(missing)}")
    _forget_surplus()


def store_weights_backup(weight: torch.Tensor | None) -> torch.Tensor | None:
    return None if weight is None else weight.to(devices.cpu, copy=True)


def restore_weights_backup(obj: Any, field: str, weight: torch.Tensor | None) -> None:
    if weight is None:
        setattr(obj, field, None)
    else:
        with torch.no_grad():
            getattr(obj, field).copy_(weight)


def _weight_places(layer: Any) -> list[tuple[Any, str]]:
    """Owner and attribute of each weight of a layer; attention has two."""
    if isinstance(layer, torch.nn.MultiheadAttention):
        return [(layer, "in_proj_weight"), (layer.out_proj, "weight")]
    return [(layer, "weight")]


def _bias_place(layer: Any) -> tuple[Any, str]:
    return (layer.out_proj if isinstance(layer, torch.nn.MultiheadAttention) else layer), "bias"


def network_restore_weights_from_backup(self: Any) -> None:
    weights, bias = (getattr(self, f"network_{kind}_backup", None) for kind in ("weights", "bias"))
    if weights is not None:
        copies = weights if isinstance(weights, tuple) else (weights,)
        for place, copied in zip(_weight_places(self), copies, strict=True):
            restore_weights_backup(*place, copied)
    if weights is not None or bias is not None:
        restore_weights_backup(*_bias_place(self), bias)


def _back_up_weights(layer: Any, unchanged: bool) -> None:
    without_weight = isinstance(layer, torch.nn.LayerNorm) and not layer.elementwise_affine
    if not unchanged and not without_weight:
        name = layer.network_layer_name
        raise RuntimeError(f"{name} was changed by networks, but no backup weights found; load the checkpoint again")
    copies = [store_weights_backup(getattr(*place)) for place in _weight_places(layer)]
    layer.network_weights_backup = copies[0] if len(copies) == 1 else tuple(copies)


def _back_up_bias(layer: Any, unchanged: bool) -> None:
    copied = store_weights_backup(getattr(*_bias_place(layer), None))
    if copied is not None and not unchanged:
        name = layer.network_layer_name
        raise RuntimeError(f"{name} was changed by networks, but no backup bias found; load the checkpoint again")
    layer.network_bias_backup = copied


def _make_backups(layer: Any, unchanged: bool) -> None:
    if getattr(layer, "network_weights_backup", None) is None:
        _back_up_weights(layer, unchanged)
    if getattr(layer, "network_bias_backup", None) is None:
        _back_up_bias(layer, unchanged)


def _add(module: network.NetworkModule, weight: torch.Tensor) -> None:
    """Sums in the change's number type. A change for 4 channels fits an inpainting U-Net's 9: the mask's and picture's
    stay.
    """
    change, _ = module.calc_updown(weight)
    if weight.ndim == 4 and weight.shape[1] == 9 and change.shape[1] == 4:
        change = torch.nn.functional.pad(change, [0, 0] * 2 + [0, 5])
    weight.copy_((weight.to(change.dtype) + change).to(weight.dtype))


def _add_networks(layer: Any) -> None:
    for net in loaded_networks:
        module = net.modules.get(layer.network_layer_name)
        if module is None or not hasattr(layer, "weight"):
            continue
        try:
            with torch.no_grad():
                _add(module, layer.weight)
        except RuntimeError:
            failures = extra_network_lora.errors
            failures[net.name] = failures.get(net.name, 0) + 1


def _wanted() -> tuple[Any, ...]:
    return tuple((net.name, net.te_multiplier, net.unet_multiplier, net.dyn_dim) for net in loaded_networks)


def network_apply_weights(self: Any) -> None:
    """Brings one layer to the wanted set of networks; does nothing where it is there already. RuntimeError where its
    weight was changed but no backup of it is found.
    """
    if getattr(self, "network_layer_name", None) is None:
        return
    held, wanted = getattr(self, "network_current_names", ()), _wanted()
    if wanted:
        _make_backups(self, unchanged=held == ())
    if held != wanted:
        network_restore_weights_from_backup(self)
        _add_networks(self)
        self.network_current_names = wanted


def network_forward(org_module: Any, input: torch.Tensor, original_forward: Any) -> torch.Tensor:
    """A layer's result with its weight unchanged, and what each network adds to that. Where no network is wanted a
    weight that holds some keeps them, as on the host.
    """
    if not loaded_networks:
        return original_forward(org_module, input)
    network_restore_weights_from_backup(org_module)
    network_reset_cached_weight(org_module)
    result = original_forward(org_module, input)
    found = (net.modules.get(getattr(org_module, "network_layer_name", None)) for net in loaded_networks)
    for module in found:
        result = result if module is None else module.forward(input, result)
    return result


def network_reset_cached_weight(self: Any) -> None:
    self.network_current_names = ()
    self.network_weights_backup = None
    self.network_bias_backup = None


list_available_networks()
__all__ = ["available_network_aliases", "available_networks", "list_available_networks", "load_networks"]
