"""Reading a Stable Diffusion 1.x checkpoint: a .safetensors file with the ldm .yaml beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from . import noise
from .text import TextEncoder
from .unet import UNetModel
from .vae import AutoencoderKL

# Present in old files, absent from newer transformers: carries nothing but 0..76.
POSITION_IDS = "cond_stage_model.transformer.text_model.embeddings.position_ids"


class DiffusionWrapper(nn.Module):
    """Only there for the name: the U-Net's keys begin with ``model.diffusion_model``."""

    def __init__(self, unet: UNetModel) -> None:
        super().__init__()
        self.diffusion_model = unet

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None = None) -> Tensor:
        return self.diffusion_model(x, timesteps, context, y)


class LatentDiffusion(nn.Module):
    """U-Net, autoencoder and text encoder of one checkpoint, under the names of the published files."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        """``config`` is ``model.params`` of the ldm yaml; ``folder`` is where a relative ``version`` path starts.

        Raises ValueError where the prediction type is not eps.
        """
        super().__init__()
        if config.get("parameterization", "eps") != "eps":
            raise ValueError(
                f"The configuration asks for parameterization {config['parameterization']!r}; only 'eps' is known here."
            )
        first_stage = config["first_stage_config"]["params"]
        text = config["cond_stage_config"].get("params", {})
        self.scale_factor = float(config["scale_factor"])
        self.model = DiffusionWrapper(UNetModel(**config["unet_config"]["params"]))
        self.first_stage_model = AutoencoderKL(first_stage["ddconfig"], first_stage["embed_dim"])
        self.cond_stage_model = TextEncoder(folder / text["version"], text.get("max_length", 77))
        schedule = (config.get("timesteps", 1000), config["linear_start"], config["linear_end"])
        self.register_buffer("alphas_cumprod", noise.alphas_cumprod(*schedule).float(), persistent=False)

    alphas_cumprod: Tensor

    def encode_image(self, images: Tensor) -> Tensor:
        """Scaled latents [B, 4, h, w] (the mean) of images [B, 3, H, W] in -1..1."""
        return self.first_stage_model.encode(images)[0] * self.scale_factor

    def decode_latent(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in about -1..1 of scaled latents [B, 4, h, w]."""
        return self.first_stage_model.decode(latents / self.scale_factor)


def read_config(checkpoint: Path) -> dict[str, Any]:
    """``model.params`` of the yaml beside the checkpoint. Raises FileNotFoundError where there is none."""
    path = checkpoint.with_suffix(".yaml")
    if not path.is_file():
        raise FileNotFoundError(f"No configuration {path.name} was found beside {checkpoint}; put the ldm yaml there.")
    return yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["params"]


def load_weights(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Copies ``state`` into ``model``, in the model's dtype. Raises ValueError on a missing or misshapen tensor."""
    state = dict(state)
    if POSITION_IDS not in model.state_dict():
        state.pop(POSITION_IDS, None)
    try:
        missing, _ = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(f"The weights do not fit the configuration: {str(error).splitlines()[-1].strip()}") from error
    missing = [key for key in missing if key != POSITION_IDS]
    if missing:
        raise ValueError(f"The weights lack {len(missing)} tensors the configuration asks for, first {missing[0]}.")


def load_checkpoint(path: str | Path, dtype: torch.dtype = torch.float32) -> LatentDiffusion:
    """The checkpoint at ``path`` (with the .yaml of the same stem beside it) in evaluation mode, on the CPU."""
    path = Path(path)
    model = LatentDiffusion(read_config(path), path.parent)
    load_weights(model, load_file(str(path)))
    return model.to(dtype).eval().requires_grad_(False)
