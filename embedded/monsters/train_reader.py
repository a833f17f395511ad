"""Trains the attribute reader on drawn monsters: python -m embedded.monsters.train_reader.

Writes the weights (fp16) and, beside them, a JSON with the accuracy per attribute on monsters not trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from .augment import damage, recompress
from .check_reader import check
from .dataset import make_dataset
from .reader import READER_FILE, ReaderNetwork, split_logits, to_tensor

TRAIN_SEED, NETWORK_SEED = 101, 303


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
    parser.add_argument("--images", type=int, default=12000)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    images, indices, _ = make_dataset(options.images, TRAIN_SEED)
    save(train(images, indices, options.steps, options.batch), options.out)
    recipe = f"{options.images} drawn monsters, {options.steps} updates of {options.batch}"
    print(json.dumps(check(options.out, {"trained_on": recipe, "seeds": [TRAIN_SEED, NETWORK_SEED]}), indent=2))


if __name__ == "__main__":
    main()
