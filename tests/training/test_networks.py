"""A checkpoint's networks in diffusers against references that were not written here, and against the stage's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, create_unet_diffusers_config_from_ldm
from safetensors.torch import load_file, save_file
from torch import Tensor

from embedded.distill.export import random_checkpoint
from embedded.networks.checkpoint import load_checkpoint
from extension_core.errors import DiversityError
from extension_core.training.networks.checkpoint import open_checkpoint
from extension_core.training.networks.unet import as_network, unet_config
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table
from tests.training.numbers import drawn


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("models") / "base.safetensors", seed=1)


def test_the_unet_is_that_of_diffusers_own_conversion(base: Path) -> None:
    original = yaml.safe_load(base.with_suffix(".yaml").read_text())
    tensors = load_file(base)
    theirs = UNet2DConditionModel.from_config(create_unet_diffusers_config_from_ldm(original, tensors, image_size=64))
    theirs.load_state_dict(convert_ldm_unet_checkpoint(tensors, dict(theirs.config)))
    theirs = theirs.float().eval()
    ours = open_checkpoint(base).unet()
    z, timesteps, told = drawn(2, 4, 16, 16), torch.tensor([3, 970]), drawn(2, 77, 64, seed=1)
    with torch.no_grad():
        assert torch.equal(ours(z, timesteps, told).sample, theirs(z, timesteps, told).sample)
        assert torch.equal(as_network(ours)(z, timesteps, {"prompt_embeds": told}), ours(z, timesteps, told).sample)


def test_all_parts_are_those_of_the_stages_networks(base: Path) -> None:
    stage = load_checkpoint(base)
    checkpoint = open_checkpoint(base)
    prompts = ["a red cat", "", "two blue dogs, spots"]
    told = checkpoint.text_encoders().encode(prompts)["prompt_embeds"]
    with torch.no_grad():
        expected = stage.cond_stage_model(prompts)
        assert torch.allclose(told, expected.float(), atol=1e-4)
        pictures = drawn(2, 3, 32, 32).clamp(-1, 1)
        vae = checkpoint.vae()
        generator = torch.Generator().manual_seed(0)
        latents = vae.encode(pictures, generator)
        assert latents.shape == (2, vae.channels, 32 // vae.shrinks, 32 // vae.shrinks)
        assert torch.allclose(vae.decode(latents), stage.decode_latent(latents), atol=1e-3)
        z, timesteps = drawn(3, 4, 8, 8), torch.tensor([1, 500, 999])
        expected = stage.model(z, timesteps, expected)
        assert torch.allclose(as_network(checkpoint.unet())(z, timesteps, {"prompt_embeds": told}), expected, atol=1e-3)
