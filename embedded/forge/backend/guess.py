"""What kind of model a file holds. Here the ldm yaml beside it says so, or the one for files without."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import torch
from modules import latent_colours, ldm_config, sd_models_config

_TEXT, _UNET, _VAE = "cond_stage_model.", "model.diffusion_model.", "first_stage_model."


class ModelType(enum.Enum):
    EPS = 1
    V_PREDICTION = 2


class SD15:
    """Stable Diffusion 1.x. `clip_target` names the component that each text encoder goes to."""

    huggingface_repo = "runwayml/stable-diffusion-v1-5"
    unet_target, vae_target = "unet", "vae"
    unet_key_prefix, vae_key_prefix, text_encoder_key_prefix = [_UNET], [_VAE], [_TEXT]
    supported_inference_dtypes = (torch.float16, torch.bfloat16, torch.float32)

    def __init__(self, params: dict[str, Any], config_path: str) -> None:
        self.unet_config = ldm_config.unet_arguments(params)
        self.vae_config: dict[str, Any] = params["first_stage_config"]["params"]
        colours = latent_colours.of_width(self.vae_config["ddconfig"]["ch"])
        self.latent_format = SimpleNamespace(latent_channels=4, latent_rgb_factors=colours)
        self.scale_factor: float = params.get("scale_factor", 0.18215)
        text = params["cond_stage_config"].get("params") or {}
        self.text_encoder_folder = ldm_config.text_encoder_folder(text.get("version", ""), config_path)
        self.clip_target = {"clip_l": "text_encoder"}
        self.model_type = ModelType.V_PREDICTION if params.get("parameterization") == "v" else ModelType.EPS
        self.ztsnr = False

    def inpaint_model(self) -> bool:
        return self.unet_config["in_channels"] > 4

    def process_clip_state_dict(self, state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The text encoder's tensors under their names in the host, without all others."""
        named = {k.removeprefix(_TEXT): v for k, v in state_dict.items() if k.startswith(_TEXT)}
        return {"clip_l." + _current_name(name): tensor for name, tensor in named.items()}


def _current_name(name: str) -> str:
    start = "transformer."
    old = name.startswith(start) and not name.startswith(start + "text_model.")
    return start + "text_model." + name.removeprefix(start) if old else name


def guess(tensors: dict[str, torch.Tensor], filename: str) -> SD15:
    """RuntimeError or ValueError for a layout that this WebUI has no network for."""
    config_path = sd_models_config.find_checkpoint_config(tensors, SimpleNamespace(filename=filename))
    kind = SD15(ldm_config.read_params(config_path), config_path)
    kind.ztsnr = "ztsnr" in tensors
    return kind
