"""LoRAs in the layers: each layer's weight is rewritten in place when the wanted set of networks is another than the
one it holds.

Bookkeeping lies on the layer itself: `network_layer_name`, `network_current_names` (what its weight holds now),
`network_weights_backup` and `network_bias_backup` (what it held before, made once and kept). Reading other weights into
a layer clears it.
"""

from __future__ import annotations

import os
from typing import Any

import extra_networks_lora
import network
import torch
from modules import devices, errors, sd_hijack, sd_models, shared
from network_keys import convert_diffusers_name_to_compvis

available_networks: dict[str, network.NetworkOnDisk] = {}
available_network_aliases: dict[str, network.NetworkOnDisk] = {}
loaded_networks: list[network.Network] = []
networks_in_memory: dict[str, network.Network] = {}
forbidden_network_aliases: dict[str, int] = {}
originals: Any = None
# Set by scripts/lora_script.py once the host registers it.
extra_network_lora: extra_networks_lora.ExtraNetworkLora = None  # pyright: ignore[reportAssignmentType]


def assign_network_names_to_compvis_modules(sd_model: Any) -> None:
    """On every load of a model: text encoder layers by their names inside the wrapped encoder, others by theirs below
    `sd_model.model`.
    """
    mapping: dict[str, torch.nn.Module] = {}
    cond_stage_model = getattr(sd_model.cond_stage_model, "wrapped", sd_model.cond_stage_model)
    for root in (cond_stage_model, sd_model.model):
        for name, module in root.named_modules():
            network_name = name.replace(".", "_")
            mapping[network_name] = module
            module.network_layer_name = network_name
    sd_model.network_layer_mapping = mapping


def _module_of(key: str) -> tuple[str, torch.nn.Module | None]:
    mapping = shared.sd_model.network_layer_mapping
    candidates = [convert_diffusers_name_to_compvis(key), key.replace("lora_unet", "diffusion_model")]
    candidates.append(key.replace("lora_te1_text_model", "transformer_text_model"))
    return next(((name, mapping[name]) for name in candidates if name in mapping), (candidates[0], None))


def load_network(name: str, network_on_disk: network.NetworkOnDisk) -> network.Network:
    """Reads a file. Tensors for layers that this model lacks are passed over."""
    net = network.Network(name, network_on_disk)
    net.mtime = os.path.getmtime(network_on_disk.filename)
    if not hasattr(shared.sd_model, "network_layer_mapping"):
        assign_network_names_to_compvis_modules(shared.sd_model)
    matched: dict[str, network.NetworkWeights] = {}
    for key_network, weight in sd_models.read_state_dict(network_on_disk.filename).items():
        layer, _, part = key_network.partition(".")
        key, module = _module_of(layer)
        if module is not None:
            entry = matched.setdefault(key, network.NetworkWeights(key_network, key, {}, module))
            entry.w[part] = weight
    net.modules = {key: network.NetworkModule(net, weights) for key, weights in matched.items()}
    return net


def _on_disk(name: str) -> network.NetworkOnDisk | None:
    table = available_networks if name.lower() in forbidden_network_aliases else available_network_aliases
    return table.get(name)


def _get_network(
    name: str, on_disk: network.NetworkOnDisk | None, known: network.Network | None
) -> network.Network | None:
    if on_disk is None:
        return known
    net = known or networks_in_memory.get(name)
    if net is None or os.path.getmtime(on_disk.filename) > net.mtime:
        net = load_network(name, on_disk)
        networks_in_memory[name] = net
    net.mentioned_name = name
    on_disk.read_hash()
    return net


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
    if any(_on_disk(name) is None for name in names):
        list_available_networks()
    missing = []
    for i, name in enumerate(names):
        on_disk = _on_disk(name)
        try:
            net = _get_network(name, on_disk, known.get(name))
        except Exception as e:  # the host shows it and generates without
            errors.display(e, f"loading network {on_disk.filename if on_disk else name}")
            continue
        if net is None:
            missing.append(name)
            continue
        net.te_multiplier = te_multipliers[i] if te_multipliers else 1.0
        net.unet_multiplier = unet_multipliers[i] if unet_multipliers else 1.0
        net.dyn_dim = dyn_dims[i] if dyn_dims else 1.0
        loaded_networks.append(net)
    if missing:
        sd_hijack.model_hijack.comments.append(f"Lora not found: {', '.join(missing)}")
    while len(networks_in_memory) > max(shared.opts.lora_in_memory_limit, 0):
        networks_in_memory.pop(next(iter(networks_in_memory)))


def store_weights_backup(weight: torch.Tensor | None) -> torch.Tensor | None:
    return None if weight is None else weight.to(devices.cpu, copy=True)


def restore_weights_backup(obj: Any, field: str, weight: torch.Tensor | None) -> None:
    if weight is None:
        setattr(obj, field, None)
    else:
        with torch.no_grad():
            getattr(obj, field).copy_(weight)


def network_restore_weights_from_backup(self: Any) -> None:
    weights_backup, bias_backup = (
        getattr(self, "network_weights_backup", None),
        getattr(self, "network_bias_backup", None),
    )
    if weights_backup is None and bias_backup is None:
        return
    is_attention = isinstance(self, torch.nn.MultiheadAttention)
    if weights_backup is not None and is_attention:
        restore_weights_backup(self, "in_proj_weight", weights_backup[0])
        restore_weights_backup(self.out_proj, "weight", weights_backup[1])
    elif weights_backup is not None:
        restore_weights_backup(self, "weight", weights_backup)
    restore_weights_backup(self.out_proj if is_attention else self, "bias", bias_backup)


def _make_backups(self: Any, current_names: tuple[Any, ...]) -> None:
    name, is_attention = self.network_layer_name, isinstance(self, torch.nn.MultiheadAttention)
    if getattr(self, "network_weights_backup", None) is None:
        plain_norm = isinstance(self, torch.nn.LayerNorm) and not self.elementwise_affine
        if current_names != () and not plain_norm:
            raise RuntimeError(f"{name} - no backup weights found and current weights are not unchanged")
        weights = (self.in_proj_weight, self.out_proj.weight) if is_attention else self.weight
        self.network_weights_backup = (
            tuple(map(store_weights_backup, weights)) if is_attention else store_weights_backup(weights)
        )
    if getattr(self, "network_bias_backup", None) is None:
        backup = store_weights_backup(getattr(self.out_proj if is_attention else self, "bias", None))
        if backup is not None and current_names != ():
            raise RuntimeError("no backup bias found and current bias are not unchanged")
        self.network_bias_backup = backup


def _add_networks(self: Any) -> None:
    for net in loaded_networks:
        module = net.modules.get(self.network_layer_name)
        if module is None or not hasattr(self, "weight"):
            continue
        try:
            with torch.no_grad():
                updown, _ = module.calc_updown(self.weight)
                if self.weight.ndim == 4 and self.weight.shape[1] == 9 and updown.shape[1] == 4:
                    updown = torch.nn.functional.pad(updown, (0, 0, 0, 0, 0, 5))
                self.weight.copy_((self.weight.to(dtype=updown.dtype) + updown).to(dtype=self.weight.dtype))
        except RuntimeError:
            extra_network_lora.errors[net.name] = extra_network_lora.errors.get(net.name, 0) + 1


def network_apply_weights(self: Any) -> None:
    """Brings one layer to the wanted set of networks; does nothing where it is there already. RuntimeError where its
    weight was changed but no backup of it is found.
    """
    if getattr(self, "network_layer_name", None) is None:
        return
    current_names = getattr(self, "network_current_names", ())
    wanted_names = tuple((x.name, x.te_multiplier, x.unet_multiplier, x.dyn_dim) for x in loaded_networks)
    if wanted_names != ():
        _make_backups(self, current_names)
    if current_names != wanted_names:
        network_restore_weights_from_backup(self)
        _add_networks(self)
        self.network_current_names = wanted_names


def network_reset_cached_weight(self: Any) -> None:
    self.network_current_names = ()
    self.network_weights_backup = None
    self.network_bias_backup = None


def process_network_files(names: list[str] | None = None) -> None:
    for filename in shared.walk_files(shared.cmd_opts.lora_dir, allowed_extensions=[".pt", ".ckpt", ".safetensors"]):
        name = os.path.splitext(os.path.basename(filename))[0]
        if names and name not in names:
            continue
        try:
            entry = network.NetworkOnDisk(name, filename)
        except OSError:
            errors.report(f"Failed to load network {name} from {filename}", exc_info=True)
            continue
        available_networks[name] = entry
        if entry.alias in available_network_aliases:
            forbidden_network_aliases[entry.alias.lower()] = 1
        available_network_aliases[name] = entry
        available_network_aliases[entry.alias] = entry


def list_available_networks() -> None:
    available_networks.clear()
    available_network_aliases.clear()
    forbidden_network_aliases.clear()
    forbidden_network_aliases.update({"none": 1, "Addams": 1})
    os.makedirs(shared.cmd_opts.lora_dir, exist_ok=True)
    process_network_files()


list_available_networks()
