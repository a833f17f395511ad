"""States how well the reader reads monsters that it was not trained on.

python -m embedded.monsters.check_reader --checkpoint monsters_base.safetensors adds the accuracy on monsters that
went through that checkpoint's autoencoder to the JSON beside the reader. Training states the rest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .attributes import ATTRIBUTES
from .augment import damage, recompress, ruin
from .backgrounds import VARIANTS, background
from .dataset import make_dataset
from .reader import LEGIBLE, READER_FILE, Reader, load_reader, to_tensor

HELD_OUT_SEED, HELD_OUT_IMAGES, AUTOENCODER_IMAGES = 202, 2000, 500


def empty_scenes(size: int = 128) -> torch.Tensor:
    """Every scene without a monster: float [20, 3, size, size] in -1..1."""
    count = len(ATTRIBUTES["background"])
    scenes = [background(index, variant, size) for index in range(count) for variant in range(VARIANTS)]
    return to_tensor(np.rint(np.clip(np.stack(scenes), 0, 255)).astype(np.uint8))


def accuracy(reader: Reader, images: np.ndarray, indices: np.ndarray) -> dict[str, float]:
    """Share of uint8 images [n, h, w, 3] read rightly, by attribute, "all" nine together, and found "legible"."""
    values = reader.read(images).values
    right = np.stack([values[name] == indices[:, column] for column, name in enumerate(ATTRIBUTES)], axis=1)
    shares = dict(zip(ATTRIBUTES, right.mean(0).tolist(), strict=True))
    shares |= {"all": float(right.all(1).mean()), LEGIBLE: float(values[LEGIBLE].mean())}
    return {name: round(share, 5) for name, share in shares.items()}


def rejected(reader: Reader, images: np.ndarray, seed: int) -> float:
    """Share of ruined pictures, made from uint8 images [n, h, w, 3], that the reader finds illegible."""
    generator = torch.Generator().manual_seed(seed)
    ruined = [ruin(piece, empty_scenes(), generator) for piece in to_tensor(images).split(64)]
    return round(1 - float(reader.read(to_uint8(torch.cat(ruined))).values[LEGIBLE].mean()), 5)


def to_uint8(pictures: torch.Tensor) -> np.ndarray:
    """uint8 [n, h, w, 3] of float pictures [n, 3, h, w] in about -1..1."""
    return ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def damaged_copy(images: np.ndarray, seed: int) -> np.ndarray:
    """uint8 [n, h, w, 3] after JPEG and the training damage, deterministic in `seed`."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    pictures = to_tensor(recompress(images, rng, 0.25))
    pieces = [damage(piece, generator) for piece in pictures.split(32)]
    return to_uint8(torch.cat(pieces))


def through(codec: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray, batch: int = 32) -> np.ndarray:
    """uint8 [n, h, w, 3] passed through `codec`, which maps float pictures [b, 3, h, w] in -1..1 to the same."""
    with torch.inference_mode():
        pieces = [codec(piece) for piece in to_tensor(images).split(batch)]
    return to_uint8(torch.cat(pieces))


def check(weights: Path, about: Mapping[str, Any], held_out: int = HELD_OUT_IMAGES) -> dict[str, Any]:
    """Write and return the statement beside the weights: `about`, and accuracy on `held_out` drawn monsters."""
    reader = load_reader(weights)
    images, indices, _ = make_dataset(held_out, HELD_OUT_SEED)
    report = {
        **about,
        "parameters": sum(p.numel() for p in reader.network.parameters()),
        "held_out": {"images": held_out, "seed": HELD_OUT_SEED},
        "accuracy_drawn": accuracy(reader, images, indices),
        "accuracy_damaged": accuracy(reader, damaged_copy(images, HELD_OUT_SEED), indices),
        "ruined_found_illegible": rejected(reader, images, HELD_OUT_SEED),
    }
    weights.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def check_autoencoder(weights: Path, checkpoint: Path) -> dict[str, Any]:
    """Add the accuracy on drawn monsters rebuilt by a checkpoint's autoencoder to the statement beside the weights."""
    from embedded.networks import load_checkpoint

    model = load_checkpoint(checkpoint).eval()
    images, indices, _ = make_dataset(AUTOENCODER_IMAGES, HELD_OUT_SEED)
    rebuilt = through(lambda pictures: model.decode_latent(model.encode_image(pictures)), images)
    stated = weights.with_suffix(".json")
    report = json.loads(stated.read_text(encoding="utf-8"))
    report["autoencoder"] = {"checkpoint": checkpoint.name, "images": AUTOENCODER_IMAGES}
    report["accuracy_autoencoder"] = accuracy(load_reader(weights), rebuilt, indices)
    stated.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help=".safetensors with its .yaml beside")
    options = parser.parse_args()
    print(json.dumps(check_autoencoder(READER_FILE, options.checkpoint), indent=2))


if __name__ == "__main__":
    main()
