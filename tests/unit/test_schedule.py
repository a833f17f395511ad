"""Timesteps and sigmas against diffusers' schedulers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, TCDScheduler
from hypothesis import given
from hypothesis import strategies as st

from extension_core.sampling.schedule import (
    NoiseSchedule,
    family_levels,
    finer,
    lcm_timesteps,
    trailing_timesteps,
)

TRAINED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
SCHEDULE = NoiseSchedule.stable_diffusion()


@pytest.mark.parametrize("steps", range(1, 13))
def test_lcm_timesteps_are_diffusers(steps: int) -> None:
    scheduler = LCMScheduler(**TRAINED, original_inference_steps=50)
    scheduler.set_timesteps(steps)
    assert lcm_timesteps(steps) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16])
def test_ddim_at_the_lcm_timesteps_is_tcd_without_its_noise(steps: int) -> None:
    """What the family `tcd` runs: TCD's scheduler at eta 0, which its paper calls gamma."""
    theirs = TCDScheduler(**TRAINED, original_inference_steps=50)
    theirs.set_timesteps(steps)
    timesteps = lcm_timesteps(steps)
    assert timesteps == theirs.timesteps.tolist()
    x = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    eps = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(2))
    alphas = 1 / (SCHEDULE.sigmas**2 + 1)
    for now, following in pairwise((*timesteps, 0)):
        a, b = alphas[now], alphas[following]
        x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
        ddim = b**0.5 * x0 + (1 - b) ** 0.5 * eps
        torch.testing.assert_close(
            theirs.step(eps, torch.tensor(now), x, eta=0.0).prev_sample, ddim.float(), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(("steps", "low", "high"), [(4, 0.75, 0.95), (8, 0.75, 1.11)])
def test_tcds_usual_noise_is_ddims_at_an_eta_below_one(steps: int, low: float, high: float) -> None:
    """TCD at gamma 0.3 goes on as far as 0.7 of the next timestep and renoises; DDIM's eta that adds the same noise."""
    alphas, timesteps = 1 / (SCHEDULE.sigmas**2 + 1), lcm_timesteps(steps)
    etas = []
    for now, following in pairwise(timesteps):
        a, b, further = alphas[now], alphas[following], alphas[int(0.7 * following)]
        etas.append(((1 - b / further) / ((1 - b) / (1 - a) * (1 - a / b))) ** 0.5)
    assert low <= min(etas)
    assert max(etas) <= high


@pytest.mark.parametrize("steps", range(1, 51))
def test_trailing_timesteps_are_diffusers(steps: int) -> None:
    for kind in (EulerDiscreteScheduler, DDIMScheduler):
        scheduler = kind(**TRAINED, timestep_spacing="trailing")
        scheduler.set_timesteps(steps)
        assert trailing_timesteps(steps) == [int(t) for t in scheduler.timesteps]


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 50])
def test_sigmas_are_diffusers(steps: int) -> None:
    scheduler = EulerDiscreteScheduler(**TRAINED, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    ours = family_levels("trailing", steps, SCHEDULE, "sigma")
    np.testing.assert_allclose(ours, scheduler.sigmas.numpy(), rtol=1e-5)


def test_sigmas_of_the_paper() -> None:
    """SDXL's at 999/749/499/249, as published."""
    assert [round(SCHEDULE.sigma(t), 3) for t in (999, 749, 499, 249)] == [14.615, 4.082, 1.613, 0.693]


@given(st.floats(0, 999))
def test_timestep_inverts_sigma(timestep: float) -> None:
    assert SCHEDULE.timestep(SCHEDULE.sigma(timestep)) == pytest.approx(timestep, abs=1e-6)


@given(st.integers(1, 12), st.integers(1, 60), st.sampled_from(["lcm", "trailing"]), st.booleans(), st.data())
def test_finer_keeps_both_ends_and_descends(steps: int, n: int, grid: str, whole: bool, data: st.DataObject) -> None:
    levels = family_levels(grid, steps, SCHEDULE, "sigma")
    k = data.draw(st.integers(1, steps))
    part = levels[: k + 1]
    refined = finer(part, n, SCHEDULE, "sigma", whole)
    assert (refined[0], refined[-1], len(refined)) == (part[0], part[-1], n + 1)
    assert all(a > b for a, b in pairwise(refined))
