"""Training of the base model: U-Net and text encoder together, eps prediction on the autoencoder's latents."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from embedded.networks import AutoencoderKL, LatentDiffusion

from .loop import EMA, Progress, cosine_rate, make_optimizer, set_rate, step_generator
from .recipe import BaseTraining, Recipe
from .sampling import add_noise, signal_noise

STAGE = 2
SCALE_FACTOR = 0.18215
"""SD 1.x's own; the latents of our autoencoder are normalised to fit it (``normalise_latents``)."""


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Folds each latent channel's mean and spread into the 1x1 convolutions around the latent.

    Afterwards ``SCALE_FACTOR`` times a latent has mean 0 and standard deviation 1 in every channel. Takes unscaled
    means [n, 4, h, w] of the old autoencoder, returns the scaled ones of the new.
    """
    values = latents.float()
    mean, spread = values.mean(dim=(0, 2, 3)), values.std(dim=(0, 2, 3))
    gain = 1 / (spread * SCALE_FACTOR)
    channels = len(mean)
    before, after = vae.quant_conv, vae.post_quant_conv
    _bias(after).add_((after.weight[:, :, 0, 0] * mean).sum(dim=1))
    after.weight.mul_((1 / gain)[None, :, None, None])
    _bias(before)[:channels].sub_(mean).mul_(gain)
    _bias(before)[channels:].add_(2 * gain.log())
    before.weight[:channels].mul_(gain[:, None, None, None])
    return (values - mean[:, None, None]) / spread[:, None, None]


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


class Denoising(nn.Module):
    """The trained half of a model: eps of noisy latents and token ids."""

    def __init__(self, model: LatentDiffusion) -> None:
        super().__init__()
        self.unet = model.model.diffusion_model
        self.text = model.cond_stage_model

    def forward(self, x: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        return self.unet(x, timesteps, self.text.encode_tokens(tokens))


def draw_timesteps(config: BaseTraining, count: int, generator: torch.Generator) -> Tensor:
    """Timesteps [count], one in each of as many equal parts of the schedule: less noise in the gradient."""
    level = ((torch.arange(count) + torch.rand(count, generator=generator)) / count) ** config.skew
    return (level * 1000).long()


def eps_loss(config: BaseTraining, eps: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
    """Mean square error, weighted by the recipe."""
    weight = signal_noise(timesteps)[0] ** -config.weight_power
    return ((eps.float() - target).square() * weight).mean()


def train_base(recipe: Recipe, model: LatentDiffusion, latents: Tensor, tokens: Tensor, folder: Path) -> None:
    """Trains ``model``'s U-Net and text encoder in place; leaves the averaged weights in it.

    latents: scaled [n, 4, 16, 16]; tokens: int16 [n, captions, 77]. Resumes from ``folder``.
    """
    config, progress = recipe.base, Progress(folder, "base")
    network = Denoising(model).train().requires_grad_(True)
    empty = model.cond_stage_model.tokenize([""])[0]
    optimizer, ema = make_optimizer(network.parameters(), config.rate), EMA(network, config.ema)
    state, first = progress.load(), 0
    if state is not None:
        network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.values, first = state["ema"], state["step"]

    def snapshot(step: int) -> dict[str, object]:
        return {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema.values, "step": step}

    for step in range(first, config.updates):
        generator = step_generator(recipe.seed, STAGE, step)
        rows = torch.randint(0, len(latents), (config.batch,), generator=generator)
        which = torch.randint(0, tokens.shape[1], (config.batch,), generator=generator)
        ids = tokens[rows, which].long()
        ids[torch.rand(config.batch, generator=generator) < config.dropout] = empty
        noise = torch.randn(config.batch, *latents.shape[1:], generator=generator)
        timesteps = draw_timesteps(config, config.batch, generator)
        noisy = add_noise(latents[rows].float(), timesteps, noise)
        with torch.autocast("cpu", torch.bfloat16):
            eps = network(noisy, timesteps, ids)
        loss = eps_loss(config, eps, noise, timesteps)
        set_rate(optimizer, cosine_rate(config.rate, step, config.updates, config.warmup))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        ema.update(network, step)
        progress.log(step, loss=loss.item())
        if progress.due():
            progress.save(snapshot(step + 1))
    if first < config.updates:
        progress.save(snapshot(config.updates))
    ema.copy_to(network)
    network.eval().requires_grad_(False)
