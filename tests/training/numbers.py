"""Random numbers by a seed."""

from __future__ import annotations

import torch
from torch import Tensor

from extension_core.training.draws import Draws


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded_draws(seed: int) -> Draws:
    """Of one process."""
    return Draws.alone(torch.Generator().manual_seed(seed))
