"""What shows the pair's latents while it samples, in the hosts' three kinds: a TAESD, an "Approx NN", and colours.

Each imitates the pair's own decoder, on latents of pictures and on blurred ones, as predictions of early steps are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embedded.monsters import make_dataset
from embedded.networks import LatentDiffusion, load_checkpoint
from embedded.networks.previews import VAEApprox, taesd_decoder

from .data import to_float
from .export import PAIR_NAMES
from .loop import EMA, Progress, cosine_rate, make_optimizer, set_rate, step_generator
from .recipe import PreviewTraining, Recipe
from .vae import edge_loss

STAGE = 5
CHUNK = 16
SCALE = 8

Decode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Examples:
    """latents [n, 4, h, w] as a sampler holds them, and what the autoencoder makes of them [n, 3, 8 h, 8 w]."""

    latents: Tensor
    pictures: Tensor

    def crops(self, count: int, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As many squares of ``crop`` latent pixels, each from a random place of a random example."""
        rows = torch.randint(0, len(self.latents), (count,), generator=generator).tolist()
        room = self.latents.shape[-1] - crop + 1
        corners = torch.randint(0, room, (count, 2), generator=generator).tolist()
        places = list(zip(rows, corners, strict=True))
        return _cut(self.latents, places, crop, 1), _cut(self.pictures, places, crop, SCALE)

    def part(self, first: int, last: int) -> Examples:
        return Examples(self.latents[first:last], self.pictures[first:last])


def _shrunk(pictures: Tensor, like: Tensor) -> Tensor:
    return F.avg_pool2d(pictures, pictures.shape[-1] // like.shape[-1])


def _cut(values: Tensor, places: list[tuple[int, list[int]]], crop: int, scale: int) -> Tensor:
    side = crop * scale
    return torch.stack([values[row, :, y * scale :, x * scale :][:, :side, :side] for row, (y, x) in places])


@torch.no_grad()
def make_examples(recipe: Recipe, model: LatentDiffusion) -> Examples:
    """Latents of pictures and mixtures of them, one after the other, with the model's own pictures of them."""
    config = recipe.previews
    generator = step_generator(recipe.seed, STAGE, 0)
    images, _, _ = make_dataset((config.latents + config.held_out) // 2, recipe.seed + STAGE)
    own = torch.cat([model.encode_image(to_float(images[at : at + CHUNK])) for at in range(0, len(images), CHUNK)])
    mixed = torch.stack([_mixture(own, config, generator) for _ in range(len(own))])
    latents = torch.stack([own, mixed], dim=1).flatten(0, 1)
    parts = [model.decode_latent(latents[at : at + CHUNK]) for at in range(0, len(latents), CHUNK)]
    return Examples(latents, torch.cat(parts).clamp_(-1, 1))


def _mixture(latents: Tensor, config: PreviewTraining, generator: torch.Generator) -> Tensor:
    count = int(torch.randint(1, config.mixed + 1, (1,), generator=generator))
    rows = torch.randint(0, len(latents), (count,), generator=generator)
    weights = torch.rand(count, 1, 1, 1, generator=generator) + 0.1
    noise = config.noise * torch.rand(1, generator=generator) * torch.randn(latents[0].shape, generator=generator)
    return (latents[rows] * weights / weights.sum()).sum(0) + noise


def fit_colours(examples: Examples) -> Tensor:
    """[4, 3]: the best colour in -1..1 of a latent pixel as a sum over its channels; no constant, as in the hosts."""
    small = F.avg_pool2d(examples.pictures, SCALE)
    rows = examples.latents.permute(0, 2, 3, 1).reshape(-1, examples.latents.shape[1])
    return torch.linalg.lstsq(rows, small.permute(0, 2, 3, 1).reshape(-1, 3)).solution


def train_decoder(
    recipe: Recipe, examples: Examples, decoder: nn.Module, crop: int, folder: Path, name: str
) -> nn.Module:
    """The averaged decoder after ``previews.updates`` updates on squares of ``crop`` latent pixels."""
    config, progress = recipe.previews, Progress(folder, name)
    optimizer, ema = make_optimizer(decoder.parameters(), config.rate), EMA(decoder, 0.99)
    for step in range(config.updates):
        latents, pictures = examples.crops(config.batch, crop, step_generator(recipe.seed, STAGE, step + 1))
        with torch.autocast("cpu", torch.bfloat16):
            output = decoder(latents).float()
        target = _shrunk(pictures, output)
        absolute, edges = F.l1_loss(output, target), edge_loss(output, target)
        loss = absolute + config.edge_weight * edges
        set_rate(optimizer, cosine_rate(config.rate, step, config.updates))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        ema.update(decoder, step)
        progress.log(step, l1=absolute.item(), edge=edges.item())
    ema.copy_to(decoder)
    return decoder.eval().requires_grad_(False)


class _Signed(nn.Module):
    """A TAESD, whose pictures are in 0..1, as one of pictures in -1..1."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(x) * 2 - 1


@torch.no_grad()
def error(decode: Decode, examples: Examples) -> dict[str, float]:
    """Mean absolute distance from the autoencoder in 8-bit levels, over latents of pictures and over mixed ones."""
    pictures = decode(examples.latents).clamp(-1, 1)
    difference = 127.5 * (pictures - _shrunk(examples.pictures, pictures)).abs()
    return {name: round(difference[first::2].mean().item(), 2) for first, name in enumerate(("pictures", "mixed"))}


def train_previews(recipe: Recipe, out: Path, pair: Path) -> list[Path]:
    """Trains on the pair's autoencoder and writes files in the hosts' folders, with their errors in previews.json."""
    began = time.monotonic()
    model = load_checkpoint(pair / f"{PAIR_NAMES[0]}.safetensors").requires_grad_(False)
    examples = make_examples(recipe, model)
    count = len(examples.latents) - recipe.previews.held_out
    taught, held_out = examples.part(0, count), examples.part(count, len(examples.latents))
    print(f"{len(examples.latents)} examples after {time.monotonic() - began:.0f} s", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    colours = fit_colours(taught)
    torch.manual_seed(recipe.seed)
    taesd = _Signed(taesd_decoder(width=recipe.previews.width))
    train_decoder(recipe, taught, taesd, recipe.previews.crop, out, "taesd")
    approx = VAEApprox()
    train_decoder(recipe, taught, approx, examples.latents.shape[-1], out, "approx")
    written = [
        _write(taesd.decoder, out / "VAE-taesd" / "taesd_decoder.pth"),
        _write(approx, out / "VAE-approx" / "model.pt"),
    ]
    report: dict[str, Any] = {
        "what": "mean absolute distance from the pair's own decoder in 8-bit levels, each at its own size, unseen",
        "held_out": recipe.previews.held_out,
        "error": {
            "TAESD": error(taesd, held_out),
            "Approx NN": error(approx, held_out),
            "Approx cheap": error(lambda latents: torch.einsum("bchw,cr->brhw", latents, colours), held_out),
        },
        "colours": [[round(value, 4) for value in row] for row in colours.tolist()],
    }
    path = out / "previews.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"done in {time.monotonic() - began:.0f} s", flush=True)
    return [*written, path]


def _write(module: nn.Module, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: value.to(torch.float16) for name, value in module.state_dict().items()}, path)
    return path
