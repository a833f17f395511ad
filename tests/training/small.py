"""A small checkpoint, drawn pictures and a configuration: a whole training in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from embedded.distill.export import random_checkpoint

CONFIG = """
out = "{out}"
[base]
checkpoint = "base.safetensors"
[data]
pictures = "pictures"
resolution = 32
step = 8
[student]
kind = "{kind}"
rank = 2
alpha = 4
[method]
name = "{method}"
steps = {steps}
first_halving = 4
cfg = 2.0
[states]
teacher_steps = 4
rollout_rows = 4
[course]
updates = {updates}
batch = 2
save_every = {save_every}
{more}
"""
SHAPES = ((40, 40), (64, 32), (30, 60))


def make_pictures(folder: Path, count: int = 6) -> Path:
    folder.mkdir()
    drawn = np.random.default_rng(0)
    for number in range(count):
        width, height = SHAPES[number % len(SHAPES)]
        pixels = drawn.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a thing {number % 3}\n")
    return folder


def make_base(folder: Path) -> Path:
    return random_checkpoint(folder / "base.safetensors", seed=1)


def write_config(
    folder: Path,
    out: str,
    method: str = "lcm",
    kind: str = "lora",
    steps: int = 2,
    updates: int = 4,
    save_every: int = 2,
    more: str = "",
) -> Path:
    """In the folder of checkpoint and pictures."""
    path = folder / f"{out}.toml"
    path.write_text(
        CONFIG.format(out=out, method=method, kind=kind, steps=steps, updates=updates, save_every=save_every, more=more)
    )
    return path
