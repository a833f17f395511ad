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
from modules.lora_files import (  # noqa: F401
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


def _loaded(name: str, on_disk: NetworkOnDisk, known: dict[str, network.Network]) -> network.Network:
    net = known.get(name) or networks_in_memory.get(name)
    if net is None or os.path.getmtime(on_disk.filename) > net.mtime:
        net = networks_in_memory[name] = load_network(name, on_disk)
    net.mentioned_name = name
    on_disk.read_hash()
    return net


def load_networks(
    names: list[str], te_multipliers: list[float], unet_multipliers: list[float], dyn_dims: list[Any]
) -> None:
    """Makes these the wanted networks. Layers change when they are next called. One that is not found becomes a comment
    under the picture.
    """
    known = {net.name: net for net in loaded_networks}
    loaded_networks.clear()
    if None in map(on_disk_of, names):
        list_available_networks()
    for name, *weights in zip(names, te_multipliers, unet_multipliers, dyn_dims):
        on_disk = on_disk_of(name)
        if on_disk is None:
            sd_hijack.model_hijack.comments.append(f"Lora not found: {name}")
            continue
        try:
            net = _loaded(name, on_disk, known)
        except Exception as fault:  # the host shows it and generates without
            errors.display(fault, f"the network {on_disk.filename}")
            continue
        net.te_multiplier, net.unet_multiplier, net.dyn_dim = weights
        loaded_networks.append(net)
    while len(networks_in_memory) > max(shared.opts.lora_in_memory_limit, 0):
        del networks_in_memory[next(iter(networks_in_memory))]


_BACKUPS = {"weight": "network_weights_backup", "bias": "network_bias_backup"}


def network_restore_weights_from_backup(self: Any) -> None:
    for name, kept in _BACKUPS.items():
        backup = getattr(self, kept, None)
        if backup is not None:
            with torch.no_grad():
                getattr(self, name).copy_(backup)


def _back_up(layer: Any, unchanged: bool) -> None:
    """Once; RuntimeError where there is none of what networks have changed already."""
    for name, kept in _BACKUPS.items():
        own = getattr(layer, name, None)
        if own is None or getattr(layer, kept, None) is not None:
            continue
        if not unchanged:
            raise RuntimeError(f"{layer.network_layer_name}: no backup {name}s found; load the checkpoint again")
        setattr(layer, kept, own.detach().to(devices.cpu, copy=True))


def _add_networks(layer: Any) -> None:
    """Sums in the change's number type. A change for 4 channels fits an inpainting U-Net's 9: the mask's and picture's
    stay.
    """
    for net in loaded_networks:
        module, weight = net.modules.get(layer.network_layer_name), getattr(layer, "weight", None)
        if module is None or weight is None:
            continue
        try:
            change, _ = module.calc_updown(weight)
            if change.ndim == 4 and (change.shape[1], weight.shape[1]) == (4, 9):
                change = torch.cat([change, change.new_zeros(len(change), 5, *change.shape[2:])], dim=1)
            with torch.no_grad():
                weight.copy_(change.add(weight.to(change.dtype)))
        except RuntimeError:
            failures = extra_network_lora.errors
            failures[net.name] = failures.get(net.name, 0) + 1


def network_apply_weights(self: Any) -> None:
    """Brings one layer to the wanted set of networks; does nothing where it is there already. RuntimeError where its
    weight was changed but no backup of it is found.
    """
    if getattr(self, "network_layer_name", None) is None:
        return
    held = getattr(self, "network_current_names", ())
    wanted = tuple((net.name, net.te_multiplier, net.unet_multiplier, net.dyn_dim) for net in loaded_networks)
    if wanted:
        _back_up(self, unchanged=not held)
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
    for net in loaded_networks:
        module = net.modules.get(getattr(org_module, "network_layer_name", None))
        result = result if module is None else module.forward(input, result)
    return result


def network_reset_cached_weight(self: Any) -> None:
    self.network_current_names = ()
    self.network_weights_backup = self.network_bias_backup = None


list_available_networks()
