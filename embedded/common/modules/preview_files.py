"""The files of the preview decoders. Hosts fetch those that are missing from GitHub; nothing is fetched here."""

from __future__ import annotations

import os
import shutil

import torch

from embedded.networks.previews import VAEApprox
from modules import devices, paths, paths_internal
from modules.shared_cmd_options import cmd_opts

TAESD, APPROX = "VAE-taesd", "VAE-approx"


def download_model(model_path: str, model_url: str) -> None:
    """RuntimeError where the file is missing: the host would fetch it."""
    if not os.path.exists(model_path):
        raise RuntimeError(
            f"A real WebUI would now download {model_url} to {model_path}; the embedded one downloads nothing."
        )


def install() -> None:
    """The trained pair brings its TAESD along, where users of a host find the one that the host has fetched."""
    source = os.path.join(paths_internal.default_ckpt_dir, TAESD)
    target = os.path.join(paths.models_path, TAESD)
    if cmd_opts.ckpt_dir == paths_internal.default_ckpt_dir and not os.path.exists(target):
        shutil.copytree(source, target)


def approx(name: str, latent_channels: int, loaded: dict[str, VAEApprox]) -> VAEApprox:
    """The network of this name, read once; model.pt comes with the host."""
    if name not in loaded:
        folders = (paths.models_path, paths_internal.default_ckpt_dir)
        places = [os.path.join(folder, APPROX, name) for folder in folders]
        path = next(filter(os.path.exists, places), places[0])
        download_model(path, f"https://github.com/AUTOMATIC1111/stable-diffusion-webui/releases/{name}")
        network = VAEApprox(latent_channels)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        loaded[name] = network.eval().to(devices.device, devices.dtype)
    return loaded[name]
