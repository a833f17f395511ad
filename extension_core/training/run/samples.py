"""Pictures of the student on the way, always from the same noise, and how different they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extension_core.measures.grids import image_grid
from extension_core.measures.perceptual import distance_matrix, pairwise_mean
from extension_core.training.denoiser import Conditioning
from extension_core.training.draws import seeded
from extension_core.training.methods.method import Method
from extension_core.training.noise_schedule import NoiseSchedule
from extension_core.training.rollout import Step, rollout
from extension_core.training.run.folder import RunFolder
from extension_core.training.whole_files import write_whole


class Decoder(Protocol):
    """From latents to pictures."""

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [n, 3, H, W] in -1 to 1 of latents [n, C, h, w]."""
        ...


@dataclass
class Samples:
    """A grid with one row for each prompt.

    Args:
        told: conditioning of the prompts, each tensor [n, ...].
        shape: of one latent.
        seeds: pictures of each prompt.
    """

    folder: RunFolder
    decoder: Decoder
    schedule: NoiseSchedule
    prompts: list[str]
    told: Conditioning
    shape: tuple[int, ...]
    seeds: int
    device: torch.device

    def make(self, method: Method, update: int) -> float:
        """Write `samples/update-N.png` and, of the first picture, what the student believes at each of its steps.

        Returns:
            mean distance between the pictures of a prompt, structural, 0 to 1 (measures/perceptual.py).
        """
        rows, distances = [], []
        for index in range(len(self.prompts)):
            told = {name: value[index : index + 1].to(self.device) for name, value in self.told.items()}
            steps = self._steps(method, told)
            pictures = self._pictures(steps[-1].x0)
            distances.append(pairwise_mean(distance_matrix(pictures)))
            rows.append(pictures)
            if index == 0:
                strip = np.concatenate([self._pictures(step.x0[:1]) for step in steps])
                self._write(f"steps-{update:07d}", strip, len(steps), "What the student predicts at each step")
        self._write(f"update-{update:07d}", np.concatenate(rows), self.seeds, f"After {update} updates")
        return sum(distances) / len(distances)

    @torch.no_grad()
    def _steps(self, method: Method, told: Conditioning) -> list[Step]:
        generator = seeded(self.seeds, len(self.prompts))
        noise = torch.randn(self.seeds, *self.shape, generator=generator).to(self.device)
        rows = {name: value.expand(self.seeds, *value.shape[1:]) for name, value in told.items()}
        grid = method.grid
        return list(rollout(method.sampled, self.schedule, grid.steps, noise, rows, generator, grid.sampler))

    @torch.no_grad()
    def _pictures(self, latents: Tensor) -> NDArray[Any]:
        pictures = (self.decoder.decode(latents).float().clamp(-1, 1) + 1) * 127.5
        return pictures.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def _write(self, name: str, pictures: NDArray[Any], columns: int, title: str) -> None:
        grid = image_grid(pictures, columns, title)
        write_whole(self.folder.path / "samples" / f"{name}.png", lambda file: grid.save(file, format="PNG"))
