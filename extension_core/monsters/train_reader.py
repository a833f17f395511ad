"""Trains the attribute reader on drawn monsters: python -m extension_core.monsters.train_reader.

Writes the weights (fp16) and, beside them, a JSON with the accuracy per attribute on monsters not trained on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from .attributes import ATTRIBUTES
from .augment import damage, recompress
from .dataset import make_dataset
from .reader import READER_FILE, Reader, ReaderNetwork, load_reader, split_logits, to_tensor

TRAIN_SEED, HELD_OUT_SEED, NETWORK_SEED = 101, 202, 303


def train(images: np.ndarray, indices: np.ndarray, steps: int, batch: int, peak_rate: float = 4e-3) -> ReaderNetwork:
    """Fit a reader to uint8 images [n, h, w, 3] with attribute indices [n, 9]; three of four batches are damaged."""
    torch.manual_seed(NETWORK_SEED)
    rng, generator = np.random.default_rng(NETWORK_SEED), torch.Generator().manual_seed(NETWORK_SEED)
    network = ReaderNetwork().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps, pct_start=0.15)
    for step in range(steps):
        rows = rng.integers(len(images), size=batch)
        pictures = to_tensor(recompress(images[rows], rng, 0.25))
        if step % 4:
            pictures = damage(pictures, generator)
        parts = split_logits(network(pictures))
        targets = torch.from_numpy(indices[rows])
        loss = torch.stack(
            [functional.cross_entropy(part, targets[:, column]) for column, part in enumerate(parts.values())]
        ).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    return network.eval()


def accuracy(reader: Reader, images: np.ndarray, indices: np.ndarray) -> dict[str, float]:
    """Share of uint8 images [n, h, w, 3] read rightly, by attribute, and "all" nine together."""
    values = reader.read(images).values
    right = np.stack([values[name] == indices[:, column] for column, name in enumerate(ATTRIBUTES)], axis=1)
    shares = dict(zip(ATTRIBUTES, right.mean(0).tolist(), strict=True))
    return {**{name: round(share, 5) for name, share in shares.items()}, "all": round(float(right.all(1).mean()), 5)}


def damaged_copy(images: np.ndarray, seed: int) -> np.ndarray:
    """uint8 [n, h, w, 3] after JPEG and the training damage, deterministic in `seed`."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    pictures = to_tensor(recompress(images, rng, 0.25))
    pieces = [damage(piece, generator) for piece in pictures.split(32)]
    return ((torch.cat(pieces) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def through(codec: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray, batch: int = 32) -> np.ndarray:
    """uint8 [n, h, w, 3] passed through `codec`, which maps float pictures [b, 3, h, w] in -1..1 to the same."""
    with torch.inference_mode():
        pieces = [codec(piece) for piece in to_tensor(images).split(batch)]
    return ((torch.cat(pieces).float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def save(network: ReaderNetwork, path: Path) -> None:
    """Write the network's weights in fp16."""
    state = {
        name: tensor.half().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(state, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=READER_FILE, help="where the weights go; the JSON goes beside")
    parser.add_argument("--images", type=int, default=16000)
    parser.add_argument("--held-out", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    started = time.perf_counter()
    images, indices, _ = make_dataset(options.images, TRAIN_SEED)
    save(train(images, indices, options.steps, options.batch), options.out)
    held_images, held_indices, _ = make_dataset(options.held_out, HELD_OUT_SEED)
    reader = load_reader(options.out)
    report = {
        "trained_on": f"{options.images} drawn monsters, {options.steps} updates of {options.batch}",
        "seeds": {"train": TRAIN_SEED, "held_out": HELD_OUT_SEED, "network": NETWORK_SEED},
        "parameters": sum(p.numel() for p in reader.network.parameters()),
        "seconds": round(time.perf_counter() - started, 1),
        "held_out_images": options.held_out,
        "accuracy_drawn": accuracy(reader, held_images, held_indices),
        "accuracy_damaged": accuracy(reader, damaged_copy(held_images, HELD_OUT_SEED), held_indices),
    }
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
