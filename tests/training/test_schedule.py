"""The trainer's formulas against diffusers' schedulers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, LCMScheduler
from hypothesis import given
from hypothesis import strategies as st

from extension_core.training.denoiser import Denoiser, Guided
from extension_core.training.methods.consistency import ConsistencyFunction, boundary
from extension_core.training.noise_schedule import CLEAN, NoiseSchedule, Prediction, evenly_spaced
from extension_core.training.rollout import ddim_steps, rollout
from tests.training.numbers import drawn

SD = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
OURS = NoiseSchedule.stable_diffusion()
DIFFUSERS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


def ddim(prediction: Prediction = "eps", spacing: str = "trailing") -> DDIMScheduler:
    return DDIMScheduler(
        **SD,
        prediction_type=DIFFUSERS[prediction],
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing=spacing,
    )


def rows(*timesteps: int) -> torch.Tensor:
    return torch.tensor(timesteps)


def test_the_levels_and_the_noising_are_diffusers() -> None:
    theirs = DDPMScheduler(**SD)
    assert torch.allclose(OURS.alphas_cumprod.float(), theirs.alphas_cumprod, rtol=1e-5)
    x0, noise, timesteps = drawn(4, 4, 8, 8), drawn(4, 4, 8, 8, seed=1), rows(0, 249, 700, 999)
    assert torch.allclose(OURS.add_noise(x0, timesteps, noise), theirs.add_noise(x0, noise, timesteps), atol=1e-5)
    z = OURS.add_noise(x0, timesteps, noise)
    velocity = theirs.get_velocity(x0, noise, timesteps)
    assert torch.allclose(OURS.output_of(x0, z, timesteps, "v"), velocity, atol=1e-4)


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("steps", [1, 2, 4, 8, 50])
def test_a_rollout_is_diffusers_ddim(prediction: Prediction, steps: int) -> None:
    theirs = ddim(prediction)
    theirs.set_timesteps(steps)
    assert evenly_spaced(steps) == [int(timestep) for timestep in theirs.timesteps]
    state = expected = drawn(2, 4, 8, 8)
    outputs = {timestep: drawn(2, 4, 8, 8, seed=timestep) for timestep in evenly_spaced(steps)}

    def network(z: torch.Tensor, timesteps: torch.Tensor, _: object) -> torch.Tensor:
        return outputs[int(timesteps[0])] + 0.3 * z

    for timestep in theirs.timesteps:
        output = network(expected, timestep[None], {})
        expected = theirs.step(output, timestep, expected).prev_sample
    *_, last = rollout(Denoiser(network, OURS, prediction), OURS, evenly_spaced(steps), state, {}, torch.Generator())
    assert torch.allclose(last.x0, expected, rtol=1e-3, atol=2e-3 * expected.abs().max().item())


@given(st.sampled_from(["eps", "v", "x0"]), st.integers(0, 999), st.integers(0, 2**31))
def test_an_output_and_its_image_are_inverse(prediction: Prediction, timestep: int, seed: int) -> None:
    x0, noise = drawn(2, 3, seed=seed).double(), drawn(2, 3, seed=seed + 1).double()
    timesteps = rows(timestep, timestep)
    z = OURS.add_noise(x0, timesteps, noise)
    output = OURS.output_of(x0, z, timesteps, prediction)
    assert torch.allclose(OURS.x0_of(output, z, timesteps, prediction), x0, atol=1e-6)
    assert torch.allclose(OURS.eps_of(x0, z, timesteps), noise, atol=1e-6)


@given(st.integers(1, 999), st.integers(-1, 998), st.integers(0, 2**31))
def test_one_step_by_the_image_that_reaches_a_state_lands_there(here: int, then: int, seed: int) -> None:
    if then >= here:
        here, then = then, here - 2 if here > 1 else CLEAN
    z, there = drawn(2, 3, seed=seed).double(), drawn(2, 3, seed=seed + 1).double()
    timesteps, following = rows(here, here), rows(then, then)
    x0 = OURS.x0_reaching(z, timesteps, there, following)
    landed = OURS.add_noise(x0, following, OURS.eps_of(x0, z, timesteps))
    assert torch.allclose(landed, there, atol=1e-6)


@pytest.mark.parametrize("timestep", [19, 259, 499, 999])
def test_the_consistency_function_is_diffusers(timestep: int) -> None:
    theirs = LCMScheduler(**SD, prediction_type="epsilon", clip_sample=False)
    theirs.set_timesteps(50)
    skip, out = boundary(rows(timestep))
    expected = theirs.get_scalings_for_boundary_condition_discrete(timestep)
    assert (skip.item(), out.item()) == pytest.approx(tuple(float(value) for value in expected), rel=1e-6)
    z, eps = drawn(1, 4, 8, 8), drawn(1, 4, 8, 8, seed=1)
    denoised = theirs.step(eps, timestep, z, return_dict=False)[1]
    ours = ConsistencyFunction(Denoiser(lambda *_: eps, OURS))(z, rows(timestep), {}).x0
    assert torch.allclose(ours, denoised, rtol=1e-4, atol=1e-4)


def test_guidance_acts_on_each_row_by_its_own_factor_and_asks_for_no_uncond_at_1() -> None:
    seen: list[int] = []

    def network(z: torch.Tensor, timesteps: torch.Tensor, told: object) -> torch.Tensor:
        seen.append(len(z))
        return told["prompt"].view(-1, 1).expand_as(z)  # type: ignore[index]

    denoiser = Denoiser(network, OURS, "x0")
    told, uncond = {"prompt": torch.tensor([3.0, 5.0])}, {"prompt": torch.tensor([1.0])}
    z = torch.zeros(2, 4)
    guided = Guided(denoiser, uncond, torch.tensor([2.0, 3.0]))(z, rows(999, 499), told).x0
    assert guided[:, 0].tolist() == [5.0, 13.0]
    assert Guided(denoiser, uncond, 1.0)(z, rows(999, 499), told).x0[:, 0].tolist() == [3.0, 5.0]
    assert seen == [4, 2]
    assert denoiser.evaluations.rows == 6


def test_rows_may_step_from_and_to_timesteps_of_their_own() -> None:
    z, eps = drawn(2, 4, 8, 8), drawn(2, 4, 8, 8, seed=3)
    denoiser = Denoiser(lambda *_: eps, OURS)
    together = ddim_steps(denoiser, OURS, (rows(999, 499), rows(749, CLEAN)), z, {})
    for row, (here, then) in enumerate([(999, 749), (499, CLEAN)]):
        alone = Denoiser(lambda *_, row=row: eps[row : row + 1], OURS)
        expected = ddim_steps(alone, OURS, (rows(here), rows(then)), z[row : row + 1], {})
        assert torch.allclose(together[row : row + 1], expected, atol=1e-5)
