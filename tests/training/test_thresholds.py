"""Thresholds against the exact reflected heat kernel, and by what they promise."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from extension_core.training.denoiser import Denoiser
from extension_core.training.noise_schedule import NoiseSchedule
from extension_core.training.threshold import DynamicThreshold, LatentRange, StaticThreshold, reflect, threshold

ZERO, ONE = torch.zeros(()), torch.ones(())


def heat_kernel(start: float, time: float, x: Tensor) -> Tensor:
    """Distribution function of a Brownian motion between mirrors at 0 and 1, by its cosine series: unlike `reflect`."""
    total = x.clone()
    for k in range(1, 60):
        decay = math.exp(-0.5 * (k * math.pi) ** 2 * time)
        total += 2 * decay * math.cos(k * math.pi * start) * torch.sin(k * math.pi * x) / (k * math.pi)
    return total


@pytest.mark.parametrize("start", [0.03, 0.5, 0.8])
@pytest.mark.parametrize("time", [0.01, 0.1, 2.0])
@pytest.mark.parametrize("steps", [1, 20])
def test_reflected_noise_has_the_exact_heat_kernel(start: float, time: float, steps: int) -> None:
    """In one step or in many: the mirror images of a Gaussian are the kernel, and kernels of parts compose."""
    generator = torch.Generator().manual_seed(1)
    x = torch.full((20_000,), start, dtype=torch.double)
    for _ in range(steps):
        noise = torch.randn(x.shape, dtype=torch.double, generator=generator)
        x = reflect(x + math.sqrt(time / steps) * noise, ZERO.double(), ONE.double())
    test = stats.kstest(x.numpy(), lambda value: heat_kernel(start, time, torch.from_numpy(np.asarray(value))).numpy())
    assert test.pvalue > 1e-3


def test_the_reflected_sampler_runs_the_kernel_backwards() -> None:
    """From evenly spread to a mixture of two points that was spread by the kernel, by its exact score."""
    starts, shares = torch.tensor([0.1, 0.75]).double(), torch.tensor([0.3, 0.7]).double()

    def score(x: Tensor, time: float) -> Tensor:
        x = x.requires_grad_()
        images = [sign * starts + 2 * k for k in range(-4, 5) for sign in (1, -1)]
        density = sum((shares * torch.exp(-((x[:, None] - image) ** 2) / (2 * time))).sum(dim=1) for image in images)
        return torch.autograd.grad(density.log().sum(), x)[0]  # type: ignore[union-attr]

    generator = torch.Generator().manual_seed(2)
    x = torch.rand(3_000, generator=generator).double()
    times = torch.logspace(math.log10(2.0), math.log10(4e-3), 150).tolist()
    for time, then in pairwise(times):
        noise = torch.randn(x.shape, generator=generator).double()
        step = time - then
        x = reflect(x.detach() + step * score(x.detach(), time) + math.sqrt(step) * noise, ZERO.double(), ONE.double())

    def expected(value: object) -> np.ndarray:
        at = torch.from_numpy(np.asarray(value))
        first, second = (heat_kernel(start, times[-1], at).numpy() for start in starts.tolist())
        return shares[0].item() * first + shares[1].item() * second

    assert stats.kstest(x.numpy(), expected).statistic < 0.05


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(-3, 3), st.floats(0.1, 5))
def test_reflection_stays_within_and_leaves_what_is_within(values: list[float], low: float, width: float) -> None:
    x, ends = torch.tensor(values).double(), (torch.tensor(low).double(), torch.tensor(low + width).double())
    folded = reflect(x, *ends)
    assert bool(((folded >= ends[0] - 1e-9) & (folded <= ends[1] + 1e-9)).all())
    assert torch.allclose(reflect(folded, *ends), folded, atol=1e-9)
    inside = (x >= ends[0]) & (x <= ends[1])
    assert torch.allclose(folded[inside], x[inside], atol=1e-9)
    mirrored = 2 * ends[1] - x
    assert torch.allclose(reflect(mirrored, *ends), folded, atol=1e-6)


def test_the_range_is_measured_per_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    scale, centre = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1), torch.tensor([0.0, 5.0]).view(1, 2, 1, 1)
    latents = torch.randn(400, 2, 16, 16, generator=generator) * scale + centre
    measured = LatentRange.of(latents, 0.99)
    for channel, (spread, mean) in enumerate([(1, 0), (3, 5)]):
        expected = stats.norm(mean, spread).ppf([0.005, 0.995])
        assert [measured.low[channel].item(), measured.high[channel].item()] == pytest.approx(expected, abs=0.06)
    with pytest.raises(ValueError, match=r"quantile 0\.4"):
        LatentRange.of(latents, 0.4)


RANGE = LatentRange(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0]))


def test_static_thresholds_act_on_each_channel_by_its_own_range() -> None:
    x0 = torch.tensor([[[2.0, 0.5], [5.0, -1.0]]])
    assert StaticThreshold(RANGE)(x0).tolist() == [[[1.0, 0.5], [4.0, 0.0]]]
    assert StaticThreshold(RANGE, "reflect")(x0).tolist() == [[[0.0, 0.5], [3.0, 1.0]]]


def test_a_dynamic_threshold_leaves_what_fits_and_shrinks_the_rest_alone() -> None:
    fits = torch.tensor([[[0.9, -0.9], [3.9, 0.1]]])
    beyond = torch.tensor([[[3.0, -3.0], [8.0, -4.0]]])
    both = DynamicThreshold(RANGE, 1.0)(torch.cat([fits, beyond]))
    assert torch.allclose(both[:1], fits)
    assert torch.allclose(both[1:], torch.tensor([[[1.0, -1.0], [4.0, 0.0]]]))


@given(st.integers(0, 1000), st.floats(0.1, 30))
def test_every_threshold_keeps_every_value_in_range(seed: int, size: float) -> None:
    x0 = size * torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    low, high = RANGE.edges(x0)
    for kind, edge in (("static", "clip"), ("static", "reflect"), ("dynamic", "clip")):
        made = threshold(kind, RANGE, edge)  # type: ignore[arg-type]
        assert made is not None
        kept = made(x0)
        assert bool(((kept >= low - 1e-4) & (kept <= high + 1e-4)).all()), (kind, edge)
    assert threshold("none", RANGE) is None


def test_the_noise_follows_the_thresholded_image() -> None:
    """z is still alpha x0 + sigma eps: the state moves on from where it is, as in a reflected process."""
    schedule = NoiseSchedule.stable_diffusion()
    z, timesteps = 3 * torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([900, 300])
    x0, eps = Denoiser(lambda z, *_: torch.zeros_like(z), schedule, "eps", StaticThreshold(RANGE))(z, timesteps, {})
    assert bool((x0[:, 0].abs() <= 1).all())
    assert torch.allclose(schedule.add_noise(x0, timesteps, eps), z, atol=1e-5)
