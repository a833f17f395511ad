"""Training of the autoencoder on crops of pictures: absolute and edge differences, and a little KL."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from embedded.networks import AutoencoderKL

from .data import Pictures
from .loop import EMA, Progress, cosine_rate, make_optimizer, set_rate, step_generator
from .recipe import Recipe

STAGE = 1


def edge_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the pixel gradients at full and half size: keeps mouths and outlines sharp."""
    loss = output.new_zeros(())
    for _ in range(2):
        difference = output - target
        loss = loss + difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        output, target = F.avg_pool2d(output, 2), F.avg_pool2d(target, 2)
    return loss / 2


def kl_loss(mean: Tensor, logvar: Tensor) -> Tensor:
    """Mean KL divergence of a latent value from the unit normal distribution, in nats."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def build_vae(recipe: Recipe) -> AutoencoderKL:
    torch.manual_seed(recipe.seed)
    return AutoencoderKL(recipe.networks.vae_params(), embed_dim=4)


def train_vae(recipe: Recipe, pictures: Pictures, folder: Path) -> AutoencoderKL:
    """The averaged autoencoder after ``recipe.vae.updates`` updates; resumes from ``folder``."""
    config, progress = recipe.vae, Progress(folder, "vae")
    vae = build_vae(recipe)
    optimizer, ema = make_optimizer(vae.parameters(), config.rate), EMA(vae, 0.995)
    state = progress.load()
    first = 0
    if state is not None:
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.values, first = state["ema"], state["step"]

    def snapshot(step: int) -> dict[str, object]:
        return {"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema.values, "step": step}

    size = pictures.images.shape[1]
    for step in range(first, config.updates):
        generator = step_generator(recipe.seed, STAGE, step)
        whole = step >= config.updates * (1 - config.full_share)
        crop, batch = (size, config.batch * config.crop**2 // size**2) if whole else (config.crop, config.batch)
        rows = torch.randint(0, len(pictures.images), (batch,), generator=generator)
        images = pictures.batch(rows, crop, generator)
        with torch.autocast("cpu", torch.bfloat16):
            mean, logvar = vae.encode(images)
            drawn = mean + (0.5 * logvar.float()).exp() * torch.randn(mean.shape, generator=generator)
            output = vae.decode(drawn)
        absolute = F.l1_loss(output.float(), images)
        edges, kl = edge_loss(output.float(), images), kl_loss(mean.float(), logvar.float())
        loss = absolute + config.edge_weight * edges + config.kl_weight * kl
        set_rate(optimizer, cosine_rate(config.rate, step, config.updates))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        ema.update(vae, step)
        progress.log(step, l1=absolute.item(), edge=edges.item(), kl=kl.item())
        if progress.due():
            progress.save(snapshot(step + 1))
    if first < config.updates:
        progress.save(snapshot(config.updates))
    ema.copy_to(vae)
    return vae.eval().requires_grad_(False)
