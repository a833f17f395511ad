"""How far a set of samples is from another, and how much of it is covered."""

from __future__ import annotations

import torch
from torch import Tensor


def density_coverage(real: Tensor, made: Tensor, k: int = 5) -> tuple[float, float]:
    """Density and Coverage (arXiv 2002.09797) of made [m, D] against real [n, D], by balls around k neighbours."""
    radius = torch.cdist(real, real).kthvalue(k + 1, dim=1).values  # the nearest of all is the point itself
    distance = torch.cdist(real, made)
    inside = distance < radius[:, None]
    return inside.float().sum().item() / (k * made.shape[0]), inside.any(dim=1).float().mean().item()


def energy_distance(a: Tensor, b: Tensor) -> float:
    """Squared energy distance of [n, D] and [m, D]: 0 where both come of one distribution, but for chance."""
    within = [torch.cdist(x, x).sum() / (len(x) * (len(x) - 1)) for x in (a, b)]
    return (2 * torch.cdist(a, b).mean() - sum(within)).item()


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Between Gaussians of the same means and covariances as [n, D] and [m, D]."""
    first, second = torch.cov(a.double().T), torch.cov(b.double().T)
    between = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    apart = (a.double().mean(dim=0) - b.double().mean(dim=0)).square().sum()
    return (apart + first.trace() + second.trace() - 2 * between).item()


def entropy(shares: Tensor) -> float:
    """Of shares [K] that are made to have sum 1, in nats."""
    shares = shares[shares > 0] / shares.sum().clamp(min=1e-12)
    return -(shares * shares.log()).sum().item()
