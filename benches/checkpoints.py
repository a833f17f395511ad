"""Random checkpoints of SD 1.5's size: one base, one that differs everywhere, one that differs in its attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file

from embedded.distill.export import TEXT_FOLDER, build_model, write_text_folder, write_yaml
from embedded.distill.recipe import Networks

UNET = "model.diffusion_model."

# The published v1-inference.yaml's U-Net and text width; text encoder and autoencoder are kept small.
FULL = Networks(
    unet_channels=320,
    unet_mult=(1, 2, 4, 4),
    unet_blocks=2,
    unet_attention=(4, 2, 1),
    unet_heads=8,
    text_width=768,
    text_layers=1,
    text_heads=12,
)
# SDXL's widths, depths and text width (sd_xl_base.yaml); its size label, 5 of 2,567 million numbers, is left out.
SDXL = Networks(
    unet_channels=320,
    unet_mult=(1, 2, 4),
    unet_blocks=2,
    unet_attention=(4, 2),
    unet_heads=10,
    unet_depth=(0, 2, 10),
    text_width=2048,
    text_layers=1,
    text_heads=16,
)
QUICK = Networks(
    unet_channels=32,
    unet_mult=(1, 2, 4, 4),
    unet_blocks=2,
    unet_attention=(4, 2, 1),
    unet_heads=8,
    text_width=64,
    text_layers=1,
    text_heads=2,
)

_POOL = 1 << 22


@dataclass(frozen=True)
class Files:
    """Checkpoints of one folder, all of one configuration.

    Attributes:
        config: the ldm yaml of them all; as published files do, they have none beside them.
        distilled: every U-Net tensor differs from the base's.
        partly: the U-Net's attention differs from the base's, the rest is equal.
    """

    config: Path
    base: Path
    distilled: Path
    partly: Path


def make(folder: Path, networks: Networks) -> Files:
    """Write the three checkpoints in fp16."""
    write_text_folder(folder / TEXT_FOLDER, networks)
    with torch.device("meta"):
        model = build_model(networks, folder)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    config = folder / "bench.yaml"
    write_yaml(config, networks.model_params(model.scale_factor, TEXT_FOLDER))
    base, other = _Random(seed=1), _Random(seed=2)
    choices: dict[str, Callable[[str], bool]] = {
        "base": lambda name: False,
        "distilled": lambda name: name.startswith(UNET),
        "partly": lambda name: name.startswith(UNET) and (".attn1." in name or ".attn2." in name),
    }
    paths = {}
    for stem, differs in choices.items():
        tensors = {name: (other if differs(name) else base).draw(name, shape) for name, shape in shapes.items()}
        paths[stem] = folder / f"{stem}.safetensors"
        save_file(tensors, paths[stem], metadata={"format": "pt"})
    return Files(config, **paths)


class _Random:
    """Values by name; repeats of one pool of normal numbers, for drawing 860 million takes longer than a bench may."""

    def __init__(self, seed: int) -> None:
        self._pool = torch.randn(_POOL, generator=torch.Generator().manual_seed(seed))

    def draw(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Weights of ordinary size, so that nothing overflows in a network of them."""
        count = math.prod(shape)
        rest = self._pool[sum(name.encode()) % 1009 :]
        repeats = -(-count // len(rest))
        values = (rest.repeat(repeats) if repeats > 1 else rest)[:count].reshape(shape)
        if len(shape) > 1:
            return (values * math.prod(shape[1:]) ** -0.5).half()
        return (values * 0.02 + (0.0 if name.endswith("bias") else 1.0)).half()


def differing_unet_numbers(one: Path, two: Path) -> tuple[int, int]:
    """(tensors, numbers in them) of the U-Net that differ between two files, by comparing the files' bytes."""
    tensors = numbers = 0
    with _open(one) as a, _open(two) as b:
        for name in a.keys():  # noqa: SIM118 - it is no mapping
            if not name.startswith(UNET):
                continue
            first, second = (file.get_tensor(name).view(np.uint16) for file in (a, b))
            if not np.array_equal(first, second):
                tensors, numbers = tensors + 1, numbers + first.size
    return tensors, numbers


def _open(path: Path) -> Any:  # safetensors' own types do not tell that it is a context manager
    return safetensors.safe_open(path, framework="np")
