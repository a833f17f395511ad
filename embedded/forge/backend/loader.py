"""From a file to a model: what kind it is, its tensors split by component, each component made and filled, and all of
them put together.
"""

from __future__ import annotations

import enum
import importlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from modules import sd_models_config, sd_vae_approx

from backend import memory_management, networks
from backend.args import dynamic_args
from backend.diffusion_engine.base import StableDiffusion
from backend.operations import make_castable
from backend.utils import load_torch_file

Tensors = dict[str, torch.Tensor]
dir_path = os.path.dirname(os.path.abspath(__file__))
_TEXT, _UNET, _VAE = "cond_stage_model.", "model.diffusion_model.", "first_stage_model."
_LOW_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
_NOT_IN_EVERY_FILE = ("text_projection", "position_ids", "logit_scale")


class ModelType(enum.Enum):
    EPS = 1
    V_PREDICTION = 2


class SD15:
    """Stable Diffusion 1.x, as the ldm yaml beside a file says, or the one for files without.

    `clip_target` names the component that each text encoder goes to.
    """

    huggingface_repo = "runwayml/stable-diffusion-v1-5"
    unet_target, vae_target, clip_target = "unet", "vae", {"clip_l": "text_encoder"}
    unet_key_prefix, vae_key_prefix, text_encoder_key_prefix = [_UNET], [_VAE], [_TEXT]
    supported_inference_dtypes = (torch.float16, torch.bfloat16, torch.float32)

    def __init__(self, tensors: Tensors, filename: str) -> None:
        """RuntimeError or ValueError for a layout that there is no network for."""
        config_path = sd_models_config.find_checkpoint_config(tensors, SimpleNamespace(filename=filename))
        params = sd_models_config.read_params(config_path)
        self.unet_config = sd_models_config.unet_arguments(params)
        self.vae_config: dict[str, Any] = params["first_stage_config"]["params"]
        colours = sd_vae_approx.of_width(self.vae_config["ddconfig"]["ch"])
        self.latent_format = SimpleNamespace(latent_channels=4, latent_rgb_factors=colours)
        self.scale_factor: float = params.get("scale_factor", 0.18215)
        self.text_encoder_folder = sd_models_config.text_encoder_folder(params, config_path)
        self.model_type = ModelType.V_PREDICTION if params.get("parameterization") == "v" else ModelType.EPS
        self.ztsnr = "ztsnr" in tensors

    def inpaint_model(self) -> bool:
        return self.unet_config["in_channels"] > 4

    def process_clip_state_dict(self, state_dict: Tensors) -> Tensors:
        """The text encoder's tensors under their names in the host, without all others."""
        start, found = f"{_TEXT}transformer.", {}
        for name, tensor in state_dict.items():
            if name.startswith(start):
                inner = name.removeprefix(start).removeprefix("text_model.")
                found[f"clip_l.transformer.text_model.{inner}"] = tensor
        return found


def split_state_dict(sd: str, additional_state_dicts: list[str] | None = None) -> tuple[dict[str, Tensors], SD15]:
    """(tensors by component, what the model is) of a file, with further files' parts in place of its own."""
    tensors = load_torch_file(sd)
    if not any(name.startswith(_UNET) for name in tensors):  # a U-Net alone
        tensors = {_UNET + name: tensor for name, tensor in tensors.items()}
    kind = SD15(tensors, sd)
    for further in additional_state_dicts or []:
        part = load_torch_file(further)
        prefix = _VAE if any("decoder." in name for name in part) else f"{_TEXT}transformer."
        tensors |= {prefix + name.removeprefix(prefix): tensor for name, tensor in part.items()}
    parts = {kind.unet_target: _under(tensors, _UNET), kind.vae_target: _under(tensors, _VAE)}
    text = kind.process_clip_state_dict(tensors)
    parts |= {component: _under(text, f"{name}.") for name, component in kind.clip_target.items()}
    return parts, kind


def _under(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_huggingface_component(
    guess: Any, component_name: str, lib_name: str, cls_name: str, repo_path: str, state_dict: Any
) -> Any:
    """One component, filled with its tensors; None for those that a host does without."""
    if component_name == "scheduler":
        kind = getattr(importlib.import_module(lib_name), cls_name)
        return kind.from_pretrained(os.path.join(repo_path, component_name))
    if component_name == "tokenizer":
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(guess.text_encoder_folder)
    make = {"unet": _unet, "vae": _vae, "text_encoder": _text_encoder}.get(component_name)
    if make is None:
        return None
    assert isinstance(state_dict, dict) and len(state_dict) > 16, f"There are no tensors for the {component_name}!"
    return make(guess, state_dict).eval().requires_grad_(False)


def _fill(module: torch.nn.Module, tensors: Tensors) -> None:
    """What a file lacks keeps what it was made with, and is said to be missing."""
    missing = module.load_state_dict(tensors, strict=False).missing_keys
    if told := [name for name in missing if not any(part in name for part in _NOT_IN_EVERY_FILE)]:
        print(f"{type(module).__name__} lacks {len(told)} tensors: {', '.join(told[:3])}")


def _vae(guess: Any, tensors: Tensors) -> torch.nn.Module:
    config = guess.vae_config
    with sd_models_config.without_initialisation():
        module = networks.IntegratedAutoencoderKL(config["ddconfig"], config["embed_dim"], guess.scale_factor)
    _fill(module, tensors)
    return module.to(memory_management.vae_dtype())


def _text_encoder(guess: Any, tensors: Tensors) -> torch.nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel
    from transformers.modeling_utils import no_init_weights

    # Without a draw from torch's global generator, which goes on with the request that loads this.
    with no_init_weights(), sd_models_config.without_initialisation():
        config = CLIPTextConfig.from_pretrained(guess.text_encoder_folder)
        module = networks.IntegratedCLIP(CLIPTextModel(config))
    torch.nn.init.zeros_(module.transformer.text_projection.weight)
    _fill(module, tensors)
    make_castable(module, manual_cast=True)
    return module.to(memory_management.text_encoder_dtype())


def _unet(guess: Any, tensors: Tensors) -> torch.nn.Module:
    """Stored in the type that is chosen, else in the file's where that is one of 8 bits, else as computed."""
    device, stored = memory_management.get_torch_device(), memory_management.state_dict_dtype(tensors)
    chosen = dynamic_args.get("forge_unet_storage_dtype")
    storage = chosen or (stored if stored in _LOW_BITS else memory_management.unet_dtype())
    computation = memory_management.get_computation_dtype(device)
    with sd_models_config.without_initialisation():
        module: Any = networks.IntegratedUNet2DConditionModel(**guess.unet_config)
    make_castable(module, manual_cast=storage != computation)
    _fill(module, tensors)
    module.storage_dtype, module.computation_dtype = storage, computation
    module.load_device, module.offload_device = device, memory_management.unet_offload_device()
    module.initial_device = module.offload_device
    return module.to(device=module.initial_device, dtype=storage)


@torch.inference_mode()
def forge_loader(sd: str, additional_state_dicts: list[str] | None = None) -> StableDiffusion:
    """The whole model of a file. ValueError where it is of no kind that is known."""
    try:
        parts, kind = split_state_dict(sd, additional_state_dicts)
    except Exception as error:
        raise ValueError("Failed to recognize model type!") from error
    folder = Path(dir_path) / "huggingface" / kind.huggingface_repo
    listed = json.loads((folder / "model_index.json").read_text(encoding="utf8"))
    components = {
        name: load_huggingface_component(kind, name, *entry, str(folder), parts.get(name))
        for name, entry in listed.items()
        if isinstance(entry, list)
    }
    prediction = "v_prediction" if kind.model_type is ModelType.V_PREDICTION else "epsilon"
    components["scheduler"].register_to_config(prediction_type=prediction)
    return StableDiffusion(estimated_config=kind, huggingface_components=components)
