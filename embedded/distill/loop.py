"""What every training stage shares: resumable progress, averaged weights, learning rate, log."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SAVE_SECONDS = 180.0


class EMA:
    """An exponential moving average of a module's parameters, kept by name."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Moves towards the module; faster in the first steps, when the average is still mostly the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.named_parameters():
            self.values[name].lerp_(value, 1 - decay)

    def copy_to(self, module: nn.Module) -> None:
        with torch.no_grad():
            for name, value in module.named_parameters():
                value.copy_(self.values[name])


def cosine_rate(peak: float, step: int, total: int, warmup: int = 100) -> float:
    """Linear warm-up, then half a cosine down to 2 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def make_optimizer(
    parameters: Iterable[Tensor], rate: float, betas: tuple[float, float] = (0.9, 0.99)
) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=0.01, fused=True)


def step_generator(seed: int, stage: int, step: int) -> torch.Generator:
    """Random numbers of one update: a function of (seed, stage, step), so that a resumed run draws the same ones."""
    return torch.Generator().manual_seed((seed * 16 + stage) * 10_000_000 + step)


class Progress:
    """State of a stage on disk: ``<folder>/<stage>.state.pt``, written now and then, replaced atomically."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.path = folder / f"{stage}.state.pt"
        self.log_path = folder / f"{stage}.log.jsonl"
        self._saved = time.monotonic()
        self._began = time.monotonic()
        self._sums: dict[str, float] = {}
        self._count = 0

    def load(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        return torch.load(self.path, map_location="cpu", weights_only=True)

    def save(self, state: dict[str, Any]) -> None:
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)
        self._saved = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._saved > SAVE_SECONDS

    def log(self, step: int, every: int = 50, **values: float) -> None:
        """Averages the values and writes a line every ``every`` steps."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._count += 1
        if (step + 1) % every:
            return
        means = {name: round(total / self._count, 5) for name, total in self._sums.items()}
        line = {"step": step + 1, "seconds": round(time.monotonic() - self._began, 1), **means}
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(self.path.name.split(".")[0], line, flush=True)
        self._sums, self._count = {}, 0
