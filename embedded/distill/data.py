"""Pictures, captions, token ids and latents of a run, drawn once and kept in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from embedded.monsters import ATTRIBUTES, Attributes, caption, make_dataset
from embedded.networks import AutoencoderKL, TextEncoder

ENCODE_BATCH = 16


@dataclass(frozen=True)
class Pictures:
    """images uint8 [n, 128, 128, 3] and attribute indices [n, A]."""

    images: np.ndarray
    attributes: np.ndarray

    def batch(self, rows: Tensor, crop: int, generator: torch.Generator) -> Tensor:
        """Float [B, 3, crop, crop] in -1..1: one random crop of each picture in ``rows``."""
        room = self.images.shape[1] - crop
        corners = torch.randint(0, room + 1, (len(rows), 2), generator=generator).tolist()
        cut = [self.images[row, y : y + crop, x : x + crop] for row, (y, x) in zip(rows.tolist(), corners, strict=True)]
        return to_float(np.stack(cut))


def to_float(images: np.ndarray) -> Tensor:
    """uint8 [n, H, W, 3] to float [n, 3, H, W] in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()


def to_uint8(images: Tensor) -> np.ndarray:
    """Float [n, 3, H, W] in -1..1 (clipped) to uint8 [n, H, W, 3]."""
    scaled = (images.float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def draw_pictures(folder: Path, count: int, seed: int) -> Pictures:
    """The run's pictures: read from ``folder`` where an equal drawing is there, else drawn and written."""
    path = folder / f"pictures_{count}_{seed}.npy"
    attributes_path = folder / f"attributes_{count}_{seed}.npy"
    if not attributes_path.is_file():
        images, attributes, _ = make_dataset(count, seed)
        np.save(path, images)
        np.save(attributes_path, attributes)
    return Pictures(np.load(path, mmap_mode="c"), np.load(attributes_path))


def draw_captions(attributes: np.ndarray, times: int, seed: int) -> list[list[str]]:
    """``times`` captions for each row of attribute indices, each mentioning from none to all attributes.

    All counts are equally frequent: captions that say more teach more, and ambiguous ones stay common.
    """
    rng = np.random.default_rng(seed)
    names = tuple(ATTRIBUTES)

    def mention() -> list[str]:
        return [names[index] for index in rng.permutation(len(names))[: rng.integers(len(names) + 1)]]

    monsters = [Attributes(**dict(zip(names, map(int, row), strict=True))) for row in attributes]
    return [[caption(monster, rng, mention()) for _ in range(times)] for monster in monsters]


def tokenize_captions(captions: list[list[str]], encoder: TextEncoder) -> Tensor:
    """Token ids int16 [n, times, 77], padded as the hosts pad."""
    known: dict[str, Tensor] = {}
    for text in {text for row in captions for text in row}:
        known[text] = encoder.tokenize([text])[0].to(torch.int16)
    return torch.stack([torch.stack([known[text] for text in row]) for row in captions])


@torch.no_grad()
def encode_means(pictures: Pictures, vae: AutoencoderKL) -> Tensor:
    """Unscaled latent means float16 [n, 4, 16, 16]."""
    parts = []
    for start in range(0, len(pictures.images), ENCODE_BATCH):
        with torch.autocast("cpu", torch.bfloat16):
            mean, _ = vae.encode(to_float(np.asarray(pictures.images[start : start + ENCODE_BATCH])))
        parts.append(mean.to(torch.float16))
    return torch.cat(parts)


def encode_pictures(pictures: Pictures, vae: AutoencoderKL, folder: Path) -> Tensor:
    """Unscaled latent means float16 [n, 4, 16, 16], kept in ``folder`` under the VAE's own fingerprint."""
    mark = torch.cat([value.detach().flatten().double() for value in vae.state_dict().values()]).sum().item()
    path = folder / f"latents_{len(pictures.images)}.pt"
    if path.is_file():
        kept = torch.load(path, weights_only=True)
        if kept["mark"] == mark:
            return kept["latents"]
    latents = encode_means(pictures, vae)
    torch.save({"mark": mark, "latents": latents}, path)
    return latents
