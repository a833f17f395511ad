"""VAE files: one chosen in the settings or lying beside the checkpoint replaces the checkpoint's own."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from modules import devices, hashes, script_callbacks, sd_checkpoints, shared

vae_dict: dict[str, str] = {}
base_vae: Any = None
loaded_vae_file: str | None = None
checkpoint_info: Any = None
unspecified = object()


@dataclass
class VaeResolution:
    vae: str | None = None
    source: str = ""
    resolved: bool = True

    def tuple(self) -> tuple[str | None, str]:
        return self.vae, self.source


def get_loaded_vae_name() -> str | None:
    return None if loaded_vae_file is None else os.path.basename(loaded_vae_file)


def get_loaded_vae_hash() -> str | None:
    sha256 = None if loaded_vae_file is None else hashes.sha256(loaded_vae_file, "vae")
    return sha256[:10] if sha256 else None


def refresh_vae_list() -> None:
    found: dict[str, str] = {}
    for folder in (sd_checkpoints.model_path, shared.cmd_opts.ckpt_dir):
        for path in shared.walk_files(folder):
            if path.endswith((".vae.ckpt", ".vae.pt", ".vae.safetensors")):
                found[os.path.basename(path)] = path
    for path in shared.walk_files(shared.cmd_opts.vae_dir, allowed_extensions=[".ckpt", ".pt", ".safetensors"]):
        found[os.path.basename(path)] = path
    vae_dict.clear()
    vae_dict.update(sorted(found.items(), key=lambda item: shared.natural_sort_key(item[0])))


def _automatic() -> bool:
    return shared.opts.sd_vae in ("Automatic", "auto")


def _near(checkpoint_file: str) -> VaeResolution:
    stem = os.path.basename(checkpoint_file).rsplit(".", 1)[0]
    near = next((x for x in vae_dict.values() if os.path.basename(x).startswith(stem)), None)
    if near is not None and (not shared.opts.sd_vae_overrides_per_model_preferences or _automatic()):
        return VaeResolution(near, "found near the checkpoint")
    return VaeResolution(resolved=False)


def resolve_vae(checkpoint_file: str) -> VaeResolution:
    from_setting = VaeResolution(resolved=shared.opts.sd_vae == "None")
    if shared.opts.sd_vae in vae_dict:
        from_setting = VaeResolution(vae_dict[shared.opts.sd_vae], "specified in settings")
    if shared.opts.sd_vae_overrides_per_model_preferences and not _automatic():
        return from_setting
    near = _near(checkpoint_file)
    return near if near.resolved else from_setting


def delete_base_vae() -> None:
    global base_vae, checkpoint_info
    base_vae = checkpoint_info = None


def clear_loaded_vae() -> None:
    global loaded_vae_file
    loaded_vae_file = None


def load_vae(model: Any, vae_file: str | None = None, vae_source: str = "from unknown source") -> None:
    global base_vae, checkpoint_info, loaded_vae_file
    if vae_file:
        assert os.path.isfile(vae_file), f"the VAE {vae_source} is not there: {vae_file}"
        print(f"Reading the VAE {vae_source}: {vae_file}")
        if checkpoint_info is not model.sd_checkpoint_info:
            own = model.first_stage_model.state_dict()
            base_vae, checkpoint_info = deepcopy(own), model.sd_checkpoint_info
        tensors = sd_checkpoints.read_state_dict(vae_file)
        _fill(model, {k: v for k, v in tensors.items() if not k.startswith(("loss", "model_ema."))})
    elif loaded_vae_file and base_vae is not None and checkpoint_info is model.sd_checkpoint_info:
        _fill(model, base_vae)
        delete_base_vae()
    loaded_vae_file = vae_file
    model.base_vae = base_vae
    model.loaded_vae_file = loaded_vae_file


def _fill(model: Any, tensors: dict[str, Any]) -> None:
    model.first_stage_model.load_state_dict(tensors)
    model.first_stage_model.to(devices.dtype_vae)


def reload_vae_weights(sd_model: Any = None, vae_file: Any = unspecified) -> Any:
    from modules import sd_hijack

    sd_model = sd_model or shared.sd_model
    source = "from function argument"
    if vae_file is unspecified:
        vae_file, source = resolve_vae(sd_model.sd_checkpoint_info.filename).tuple()
    if loaded_vae_file == vae_file:
        return None
    sd_hijack.model_hijack.undo_hijack(sd_model)
    load_vae(sd_model, vae_file, source)
    sd_hijack.model_hijack.hijack(sd_model)
    script_callbacks.model_loaded_callback(sd_model)
    return sd_model
