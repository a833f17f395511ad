"""From a file to a model: what kind it is, its tensors split by component, each component made and filled, and all of
them put together.
"""

from __future__ import annotations

import importlib
import json
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from modules import sd_models_config
from modules.sd_checkpoints import read_state_dict

from backend import memory_management, networks
from backend.args import dynamic_args
from backend.diffusion_engine.base import ForgeDiffusionEngine
from backend.operations import make_castable
from embedded.networks import AutoencoderKL

Tensors = dict[str, torch.Tensor]
dir_path = os.path.dirname(os.path.abspath(__file__))
_TEXT, _UNET, _VAE = "cond_stage_model.", "model.diffusion_model.", "first_stage_model."
_LOW_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)


class SD15:
    """Stable Diffusion 1.x, as the ldm yaml beside a file says, or the one for files without.

    `clip_target` names the component that each text encoder goes to.
    """

    huggingface_repo = "runwayml/stable-diffusion-v1-5"
    clip_target = {"clip_l": "text_encoder"}

    def __init__(self, tensors: Tensors, filename: str) -> None:
        """RuntimeError or ValueError for a layout that there is no network for."""
        config_path = sd_models_config.find_checkpoint_config(tensors, SimpleNamespace(filename=filename))
        params = sd_models_config.read_params(config_path)
        self.unet_config = sd_models_config.unet_arguments(params)
        self.vae_config: dict[str, Any] = params["first_stage_config"]["params"]
        self.scale_factor: float = params.get("scale_factor", 0.18215)
        self.text_encoder_folder = sd_models_config.text_encoder_folder(params, config_path)
        self.prediction_type = "v_prediction" if params.get("parameterization") == "v" else "epsilon"
        self.ztsnr = "ztsnr" in tensors

    def inpaint_model(self) -> bool:
        return self.unet_config["in_channels"] > 4

    def process_clip_state_dict(self, state_dict: Tensors) -> Tensors:
        """The text encoder's tensors under their names in the host, without all others."""
        found = _under(state_dict, f"{_TEXT}transformer.").items()
        return {f"clip_l.transformer.text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in found}


def _under(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_huggingface_component(
    guess: Any, component_name: str, lib_name: str, cls_name: str, repo_path: str, state_dict: Any
) -> Any:
    """One component, filled with its tensors; None for those that a host does without."""
    if component_name == "scheduler":
        kind = getattr(importlib.import_module(lib_name), cls_name)
        made = kind.from_pretrained(os.path.join(repo_path, component_name))
        made.register_to_config(prediction_type=guess.prediction_type)
        return made
    if component_name == "tokenizer":
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(guess.text_encoder_folder)
    make = {"unet": _unet, "vae": _vae, "text_encoder": _text_encoder}.get(component_name)
    if make is None:
        return None
    assert isinstance(state_dict, dict) and len(state_dict) > 16, f"There are no tensors for the {component_name}!"
    return make(guess, state_dict).eval().requires_grad_(False)


def _vae(guess: Any, tensors: Tensors) -> torch.nn.Module:
    with sd_models_config.without_initialisation():
        module = AutoencoderKL(guess.vae_config["ddconfig"], guess.vae_config["embed_dim"])
    module.load_state_dict(tensors, strict=False)
    module.scaling_factor = guess.scale_factor
    return module.to(memory_management.vae_dtype())


def _text_encoder(guess: Any, tensors: Tensors) -> torch.nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel
    from transformers.modeling_utils import no_init_weights

    # Without a draw from torch's global generator, which goes on with the request that loads this.
    with no_init_weights(), sd_models_config.without_initialisation():
        config = CLIPTextConfig.from_pretrained(guess.text_encoder_folder)
        module = networks.IntegratedCLIP(CLIPTextModel(config))
    torch.nn.init.zeros_(module.transformer.text_projection.weight)
    module.load_state_dict(tensors, strict=False)
    make_castable(module, manual_cast=True)
    return module.to(memory_management.text_encoder_dtype())


def _unet(guess: Any, tensors: Tensors) -> torch.nn.Module:
    """Stored in the type that is chosen, else in the file's where that is one of 8 bits, else as computed."""
    computation = memory_management.get_computation_dtype(memory_management.get_torch_device())
    of_most = Counter(tensor.dtype for tensor in tensors.values()).most_common(1)[0][0]
    chosen = dynamic_args.get("forge_unet_storage_dtype")
    storage = chosen or (of_most if of_most in _LOW_BITS else computation)
    with sd_models_config.without_initialisation():
        module: Any = networks.IntegratedUNet2DConditionModel(**guess.unet_config)
    make_castable(module, manual_cast=storage != computation)
    module.load_state_dict(tensors, strict=False)
    module.storage_dtype, module.computation_dtype = storage, computation
    return module.to(memory_management.cpu, storage)


@torch.inference_mode()
def forge_loader(sd: str) -> ForgeDiffusionEngine:
    """The whole model of a file. ValueError where it is of no kind that is known."""
    try:
        tensors = read_state_dict(sd, map_location="cpu")
        kind = SD15(tensors, sd)
    except Exception as error:
        raise ValueError("Failed to recognize model type!") from error
    text = kind.process_clip_state_dict(tensors)
    parts = {component: _under(text, f"{name}.") for name, component in kind.clip_target.items()}
    parts |= {"unet": _under(tensors, _UNET), "vae": _under(tensors, _VAE)}
    folder = Path(dir_path) / "huggingface" / kind.huggingface_repo
    listed = json.loads((folder / "model_index.json").read_text(encoding="utf8"))
    components = {
        name: load_huggingface_component(kind, name, *entry, str(folder), parts.get(name))
        for name, entry in listed.items()
        if isinstance(entry, list)
    }
    return ForgeDiffusionEngine(estimated_config=kind, huggingface_components=components)
