"""Samplers that this host has beside k-diffusion's.

HeunPP2, the multistep samplers IPNDM, IPNDM_V (variable steps) and DEIS (Zhang and Chen 2022), and DDPM's own steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import k_diffusion.sampling
import torch
from k_diffusion.sampling import trange

Model = Callable[..., torch.Tensor]
Coefficients = Sequence[Any]
_INTEGRATION_POINTS = 10000
_DEIS_RANGE = (0.002, 80.0, 1e-3)


class _Steps:
    """Calls the model and the callback, step by step."""

    def __init__(self, model: Model, sigmas: torch.Tensor, extra_args: Any, callback: Any, disable: Any) -> None:
        self.model, self.sigmas, self.extra_args = model, sigmas, extra_args or {}
        self.callback, self.disable = callback, disable

    def __iter__(self) -> Any:
        return iter(trange(len(self.sigmas) - 1, disable=self.disable))

    def denoised(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return self.model(x, sigma * x.new_ones([x.shape[0]]), **self.extra_args)

    def slope(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return (x - self.denoised(x, sigma)) / sigma

    def first(self, i: int, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The step's own call: x0, told to the callback."""
        x0 = self.denoised(x, sigma)
        if self.callback is not None:
            self.callback({"x": x, "i": i, "sigma": self.sigmas[i], "sigma_hat": sigma, "denoised": x0})
        return x0


@torch.no_grad()
def sample_heunpp2(
    model: Model,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: Any = None,
    callback: Any = None,
    disable: Any = None,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = float("inf"),
    s_noise: float = 1.0,
) -> torch.Tensor:
    """Slopes at up to three levels, weighted by the levels; one less in the last step but one, Euler in the last."""
    steps = _Steps(model, sigmas, extra_args, callback, disable)
    for i in steps:
        gamma = min(s_churn / (len(sigmas) - 1), 2**0.5 - 1) if s_tmin <= sigmas[i] <= s_tmax else 0.0
        fresh = k_diffusion.sampling.torch.randn_like(x) * s_noise  # drawn at every step, used or not
        sigma = sigmas[i] * (gamma + 1)
        if gamma > 0:
            x = x + fresh * (sigma**2 - sigmas[i] ** 2) ** 0.5
        slopes = [(x - steps.first(i, x, sigma)) / sigma]
        point, level = x, sigma
        for following in sigmas[i + 1 : i + 3]:
            if following == sigmas[-1]:
                break
            point, level = point + slopes[-1] * (following - level), following
            slopes.append(steps.slope(point, following))
        weights = [sigmas[i + n] / (len(slopes) * sigmas[0]) for n in range(1, len(slopes))]
        mean = (1 - sum(weights)) * slopes[0] + sum(w * s for w, s in zip(weights, slopes[1:], strict=True))
        x = x + mean * (sigmas[i + 1] - sigma)
    return x


def _multistep(
    steps: _Steps, x: torch.Tensor, order: int, coefficients: Callable[[int, int], Coefficients]
) -> torch.Tensor:
    """x moves along the last slopes, newest first, each times its coefficient (which holds the step's length)."""
    slopes: list[torch.Tensor] = []
    for i in steps:
        sigma = steps.sigmas[i]
        slopes = [(x - steps.first(i, x, sigma)) / sigma, *slopes[: order - 1]]
        x = x + sum(c * slope for c, slope in zip(coefficients(i, len(slopes)), slopes, strict=False))
    return x


_ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


@torch.no_grad()
def sample_ipndm(
    model: Model,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: Any = None,
    callback: Any = None,
    disable: Any = None,
    max_order: int = 4,
) -> torch.Tensor:
    """Adams and Bashforth's coefficients of even steps, whatever the steps are."""

    def coefficients(i: int, count: int) -> Coefficients:
        return [(sigmas[i + 1] - sigmas[i]) * c for c in _ADAMS_BASHFORTH[count - 1]]

    return _multistep(_Steps(model, sigmas, extra_args, callback, disable), x, max_order, coefficients)


def _second_difference(h: Sequence[Any]) -> Any:
    """Of three slopes; h are the step's length and those of the steps before, newest first."""
    part = h[0] / (3 * (h[0] + h[1])) * (h[0] * (h[0] + h[1])) / (h[1] * (h[1] + h[2]))
    return (1 - part) / 2


def _third_difference(h: Sequence[Any]) -> Any:
    two, three = h[0] + h[1], h[0] + h[1] + h[2]
    ratio = (h[0] * two * three) / (h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3]))
    return ((1 - h[0] / (3 * two)) / 2 + (1 - h[0] / (2 * two)) * h[0] / (6 * three)) * ratio


def _variable_coefficients(h: Sequence[Any], count: int) -> Coefficients:
    """IPNDM's for steps of uneven lengths, as its authors have them; they do not hold the step's length."""
    if count == 1:
        return [1.0]
    ratio = h[0] / h[1]
    weights = [(2 + ratio) / 2, -ratio / 2]
    if count == 2:
        return weights
    second, before = _second_difference(h), h[1] / h[2]
    weights = [weights[0] + second, weights[1] - (1 + before) * second, second * before]
    if count == 3:
        return weights
    third = _third_difference(h)
    older = h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]))
    return [
        weights[0] + third,
        weights[1] - (1 + before + older) * third,
        weights[2] + (before + older * (1 + h[2] / h[3])) * third,
        -third * older * before,
    ]


@torch.no_grad()
def sample_ipndm_v(
    model: Model,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: Any = None,
    callback: Any = None,
    disable: Any = None,
    max_order: int = 4,
) -> torch.Tensor:
    lengths = sigmas[1:] - sigmas[:-1]

    def coefficients(i: int, count: int) -> Coefficients:
        newest_first = [lengths[i - n] for n in range(count)]
        return [lengths[i] * c for c in _variable_coefficients(newest_first, count)]

    return _multistep(_Steps(model, sigmas, extra_args, callback, disable), x, max_order, coefficients)


class _DeisTime:
    """Time of the variance-preserving process whose noise grows from the lowest to the highest level in a unit."""

    def __init__(self) -> None:
        low, high, start = _DEIS_RANGE
        grown = [torch.log(torch.tensor(level) ** 2 + 1) for level in (low, high)]
        self.slope = 2 * (grown[0] / start - grown[1]) / (start - 1)
        self.first = grown[1] - 0.5 * self.slope

    def of_level(self, sigma: torch.Tensor) -> torch.Tensor:
        root = (self.first**2 + 2 * self.slope * (sigma.cpu() ** 2 + 1).log()).sqrt()
        return (root - self.first) / self.slope

    def integrand(self, time: torch.Tensor) -> torch.Tensor:
        """-1/2 d(log alpha)/dt / sqrt(alpha (1 - alpha)), alpha the signal's power at a time."""
        power = torch.exp(-0.5 * time**2 * self.slope - time * self.first)
        return 0.5 * (self.slope * time + self.first) / torch.sqrt(power * (1 - power))


def _deis_coefficients(times: torch.Tensor, clock: _DeisTime, i: int, count: int) -> Coefficients:
    """Integrals over the step of the polynomials through the last `count` times ("tab" in the paper)."""
    points = torch.linspace(float(times[i]), float(times[i + 1]), _INTEGRATION_POINTS)
    values, length = clock.integrand(points), (times[i + 1] - times[i]) / _INTEGRATION_POINTS
    known = [times[i - n] for n in range(count)]
    found = []
    for j, node in enumerate(known):
        others = [other for n, other in enumerate(known) if n != j]
        polynomial = torch.ones_like(points)
        for other in others:
            polynomial = polynomial * (points - other) / (node - other)
        found.append(torch.sum(values * polynomial) * length)
    return found


@torch.no_grad()
def sample_deis(
    model: Model,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: Any = None,
    callback: Any = None,
    disable: Any = None,
    max_order: int = 3,
) -> torch.Tensor:
    clock = _DeisTime()
    times = clock.of_level(sigmas)

    def coefficients(i: int, count: int) -> Coefficients:
        if count == 1 or sigmas[i + 1] <= 0:
            return [sigmas[i + 1] - sigmas[i]]
        return _deis_coefficients(times, clock, i, count)

    return _multistep(_Steps(model, sigmas, extra_args, callback, disable), x, max_order, coefficients)


@torch.no_grad()
def sample_ddpm(
    model: Model,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: Any = None,
    callback: Any = None,
    disable: Any = None,
    noise_sampler: Any = None,
) -> torch.Tensor:
    """Ancestral steps in the variance-preserving scale (Ho et al. 2020). Noise comes from torch's global generator, as
    on the host, and not from the request's seeds.
    """
    steps = _Steps(model, sigmas, extra_args, callback, disable)
    fresh_noise = noise_sampler or (lambda *_levels: torch.randn_like(x))
    for i in steps:
        now, following = sigmas[i], sigmas[i + 1]
        eps = (x - steps.first(i, x, now)) / now
        power, next_power = 1 / (now * now + 1), 1 / (following * following + 1)
        kept = power / next_power
        scaled = x / torch.sqrt(1.0 + now**2.0)
        mean = (1.0 / kept).sqrt() * (scaled - (1 - kept) * eps / (1 - power).sqrt())
        if following > 0:
            spread = ((1 - kept) * (1.0 - next_power) / (1.0 - power)).sqrt()
            mean = (mean + spread * fresh_noise(now, following)) * torch.sqrt(1.0 + following**2.0)
        x = mean
    return x
