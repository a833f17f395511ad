"""TAESD, which imitates a VAE with a small network (github.com/madebyollin/taesd)."""

from __future__ import annotations

import os
import shutil

import torch
from torch import nn

from embedded.networks.previews import taesd_decoder_of
from modules import devices, paths, paths_internal
from modules.shared_cmd_options import cmd_opts

sd_vae_taesd_models: dict[str, TAESDDecoder] = {}


def path_of(folder: str, name: str) -> str:
    """A preview decoder's file, of the models folder. RuntimeError where a host would fetch it: nothing is fetched."""
    path = os.path.join(paths.models_path, folder, name)
    if not os.path.exists(path):
        raise RuntimeError(f"A real WebUI would now download {name} to {path}; this one downloads nothing.")
    return path


def install() -> None:
    """The trained pair brings its TAESD along, where users of a host find the one that the host has fetched."""
    source, target = (os.path.join(x, "VAE-taesd") for x in (paths_internal.default_ckpt_dir, paths.models_path))
    if cmd_opts.ckpt_dir == paths_internal.default_ckpt_dir and not os.path.exists(target):
        shutil.copytree(source, target)


class TAESDDecoder(nn.Module):
    """Tells pictures in 0..1 by `decoder`. It is as wide as its file says, so that the pair's may be small."""

    def __init__(self, decoder_path: str = "taesd_decoder.pth", latent_channels: int | None = None) -> None:
        super().__init__()
        self.decoder = taesd_decoder_of(torch.load(decoder_path, map_location="cpu", weights_only=True)).float()


def decoder_model() -> nn.Module:
    """RuntimeError where the file is missing: the host would fetch it."""
    name = "taesd_decoder.pth"
    if name not in sd_vae_taesd_models:
        made = TAESDDecoder(path_of("VAE-taesd", name))
        sd_vae_taesd_models[name] = made.eval().to(devices.device, devices.dtype)
    return sd_vae_taesd_models[name].decoder
