"""The two approximations of the VAE that need no file from elsewhere: colours, and a small network."""

from __future__ import annotations

import os

import torch

from embedded.networks.previews import VAEApprox
from modules import devices, model_handling, paths_internal

# The colour in -1..1 of a latent pixel as a sum over its four channels: least squares over Stable Diffusion 1.x's
# autoencoder, as previews have used them since the first WebUIs, and over the trained pair's (pair/previews.json).
STABLE_DIFFUSION = [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]]
PAIR = [[-0.5583, -0.4062, -0.2067], [-0.0999, 0.1663, 0.3305], [-0.2302, -0.1181, -0.0154], [0.1994, 0.0912, -0.0592]]
_PAIR_WIDTH = 32
sd_vae_approx_models: dict[str, VAEApprox] = {}


def of_width(channels: int) -> list[list[float]]:
    """Of the autoencoder whose first layer is so wide: Stable Diffusion's is 128, the pair's 32."""
    return PAIR if channels == _PAIR_WIDTH else STABLE_DIFFUSION


def model() -> VAEApprox:
    """[B, 4, h, w] to pictures [B, 3, 2 h, 2 w] in -1..1."""
    if not sd_vae_approx_models:
        network = VAEApprox()
        path = os.path.join(paths_internal.default_ckpt_dir, "VAE-approx", "model.pt")
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        sd_vae_approx_models["model.pt"] = network.eval().to(devices.device, devices.dtype)
    return sd_vae_approx_models["model.pt"]


def cheap_approximation(sample: torch.Tensor) -> torch.Tensor:
    """Latents of single precision [..., 4, h, w] to pictures [..., 3, h, w] in -1..1."""
    colours = torch.tensor(of_width(model_handling.autoencoder_width()), device=sample.device)
    return torch.einsum("...lxy,lr -> ...rxy", sample, colours)
