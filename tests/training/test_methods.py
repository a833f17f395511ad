"""Each method's loss against a reference not written here: diffusers' schedulers, closed forms of Gaussians."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from extension_core.training.denoiser import Conditioning, Denoiser, Guided
from extension_core.training.draws import Draws
from extension_core.training.methods.consistency import Consistency, boundary
from extension_core.training.methods.diverse_matching import DiverseMatching
from extension_core.training.methods.matching import (
    TRAINED_AT,
    Adversary,
    Matching,
    MatchingOptions,
    matching_gradient,
)
from extension_core.training.methods.progressive import Progressive, weights
from extension_core.training.noise_schedule import NoiseSchedule, evenly_spaced
from extension_core.training.replay import Rows
from tests.training.numbers import drawn, seeded_draws
from tests.training.test_schedule import SD

SCHEDULE = NoiseSchedule.stable_diffusion()


class Affine(nn.Module):
    """A small network whose output depends on everything it is given."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(4, 4, seed=seed) * 0.3)

    def forward(self, z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        moved = torch.einsum("bchw,cd->bdhw", z, self.weight) + (timesteps.to(z) / 1000).view(-1, 1, 1, 1)
        return moved + conditioning["prompt"].view(-1, 1, 1, 1)


def states(*timesteps: int) -> tuple[Rows, Conditioning]:
    count = len(timesteps)
    rows = Rows(drawn(count, 4, 8, 8, seed=5), torch.tensor(timesteps), torch.arange(count))
    return rows, {"prompt": torch.linspace(-1, 1, count)}


def ddim() -> DDIMScheduler:
    return DDIMScheduler(**SD, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing")


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_pds_target_is_reached_by_two_of_diffusers_ddim_steps(steps: int) -> None:
    teacher, network = Affine(1), Affine(2)
    method = Progressive(Denoiser(teacher, SCHEDULE), Denoiser(network, SCHEDULE), network, SCHEDULE, steps)
    coarse, fine = ddim(), ddim()
    coarse.set_timesteps(steps), fine.set_timesteps(2 * steps)
    for index, timestep in enumerate(coarse.timesteps):
        rows, told = states(int(timestep))
        there = rows.z
        for half in fine.timesteps[2 * index : 2 * index + 2]:
            there = fine.step(teacher(there, half[None], told), half, there).prev_sample
        target = method.target(rows.z, rows.timesteps, told)
        eps = SCHEDULE.eps_of(target, rows.z, rows.timesteps)
        landed = coarse.step(eps, timestep, rows.z).prev_sample
        assert torch.allclose(landed, there, atol=1e-3, rtol=1e-3)


def test_pds_weights_are_those_of_its_paper() -> None:
    alpha, sigma = torch.tensor([0.9, 0.5]).sqrt(), torch.tensor([0.1, 0.5]).sqrt()
    assert weights("x0", alpha, sigma).tolist() == [1, 1]
    assert weights("eps", alpha, sigma).tolist() == pytest.approx([9, 1], rel=1e-5)
    assert weights("truncated", sigma, alpha).tolist() == pytest.approx([1, 1])
    assert weights("v", alpha, sigma).tolist() == pytest.approx([10, 2], rel=1e-5)
    x0, other, timesteps = drawn(1, 4, 8, 8), drawn(1, 4, 8, 8, seed=1), torch.tensor([400])
    z = SCHEDULE.add_noise(x0, timesteps, drawn(1, 4, 8, 8, seed=2))
    at = [level.view(-1) for level in SCHEDULE.levels(timesteps, z)]
    for kind in ("eps", "v"):
        apart = [SCHEDULE.output_of(image, z, timesteps, kind) for image in (x0, other)]
        expected = (apart[0] - apart[1]).square().mean()
        assert torch.allclose(weights(kind, *at) * (x0 - other).square().mean(), expected, rtol=1e-3)


def test_lcms_loss_is_that_of_diffusers_example() -> None:
    """Built from diffusers' DDIM step and the example's formulas: w is CFG - 1, on x0 and eps alike."""
    teacher, network = Affine(1), Affine(2)
    uncond = {"prompt": torch.tensor([0.5])}
    method = Consistency(
        Guided(Denoiser(teacher, SCHEDULE), uncond),
        Denoiser(network, SCHEDULE),
        network,
        SCHEDULE,
        [999, 759, 499, 259],
    )
    rows, told = states(19, 259, 759, 999)
    (loss,) = method.losses(rows, told, 0, seeded_draws(3))
    w = 5 + 10 * torch.rand(4, generator=torch.Generator().manual_seed(3))
    scheduler = DDIMScheduler(**SD, clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(50)
    errors = []
    for row in range(4):
        z, timestep = rows.z[row : row + 1], int(rows.timesteps[row])
        here = torch.tensor([timestep])
        with_prompt = teacher(z, here, {"prompt": told["prompt"][row : row + 1]})
        eps = with_prompt + w[row] * (with_prompt - teacher(z, here, uncond))
        if timestep >= 20:
            there = scheduler.step(eps, timestep, z).prev_sample
        else:  # the example's grid begins with 0, not with the clean image
            power = scheduler.alphas_cumprod
            image = (z - (1 - power[timestep]).sqrt() * eps) / power[timestep].sqrt()
            there = power[0].sqrt() * image + (1 - power[0]).sqrt() * eps
        then = torch.tensor([max(timestep - 20, 0)])
        images = []
        for state, at in ((z, here), (there, then)):
            output = network(state, at, {"prompt": told["prompt"][row : row + 1]})
            power = scheduler.alphas_cumprod[at]
            image = (state - (1 - power).sqrt() * output) / power.sqrt()
            scaled = at.double() * 10
            images.append(0.25 / (scaled**2 + 0.25) * state + scaled / (scaled**2 + 0.25) ** 0.5 * image)
        errors.append(((images[0] - images[1]) ** 2 + 0.001**2).sqrt() - 0.001)
    assert loss.value.item() == pytest.approx(torch.cat(errors).mean().item(), rel=1e-3)
    assert boundary(torch.tensor([0]))[0].item() == 1


@pytest.mark.parametrize("timestep", [100, 500, 900])
def test_dmd2s_gradient_is_that_of_the_divergence_of_gaussians(timestep: int) -> None:
    """KL(student || data) at a noise level, by torch's closed form and finite differences of the student's mean."""
    alpha, sigma = (
        level.item() for level in SCHEDULE.levels(torch.tensor([timestep]), torch.zeros(1, dtype=torch.double))
    )

    def noised(mean: float, spread: float) -> torch.distributions.Normal:
        return torch.distributions.Normal(
            torch.tensor(alpha * mean, dtype=torch.double),
            torch.tensor((alpha**2 * spread**2 + sigma**2) ** 0.5, dtype=torch.double),
        )

    mean, spread, data = 0.7, 0.5, (-0.4, 1.2)

    def divergence(shift: float) -> float:
        return torch.distributions.kl_divergence(noised(mean + shift, spread), noised(*data)).item()

    expected = (divergence(1e-4) - divergence(-1e-4)) / 2e-4
    generator = torch.Generator().manual_seed(0)
    x0 = mean + spread * torch.randn(400_000, 1, dtype=torch.double, generator=generator)
    z = alpha * x0 + sigma * torch.randn(x0.shape, dtype=torch.double, generator=generator)

    def image(of_mean: float, of_spread: float) -> Tensor:
        return of_mean + alpha * of_spread**2 / (alpha**2 * of_spread**2 + sigma**2) * (z - alpha * of_mean)

    real, fake = image(*data), image(mean, spread)
    unscaled = matching_gradient(x0, real, fake) * (x0 - real).abs()
    assert (unscaled.mean() * alpha**2 / sigma**2).item() == pytest.approx(expected, rel=0.02)


def test_the_gradient_is_scaled_by_row_and_nothing_where_teacher_and_image_agree() -> None:
    x0, real, fake = torch.tensor([[1.0, 3.0], [2.0, 2.0]]), torch.tensor([[0.0, 1.0], [2.0, 2.0]]), torch.zeros(2, 2)
    gradient = matching_gradient(x0, real, fake)
    assert gradient.dtype == torch.float64
    assert gradient.tolist() == [[0.0, -1.0 / 1.5], [0.0, 0.0]]


def matching(**options: object) -> Matching:
    networks = {"student": Affine(2), "fake": Affine(3)}
    student, fake = (Denoiser(networks[name], SCHEDULE) for name in ("student", "fake"))
    return Matching(Denoiser(Affine(1), SCHEDULE), student, fake, networks, SCHEDULE, **options)  # type: ignore[arg-type]


def test_the_student_moves_where_the_gradient_says_and_only_at_its_turn() -> None:
    method = matching(options=MatchingOptions(ratio=3))
    rows, told = states(*TRAINED_AT)
    turns = [[loss.module for loss in method.losses(rows, told, update, seeded_draws(0))] for update in range(4)]
    assert turns == [["student", "fake"], ["fake"], ["fake"], ["student", "fake"]]
    loss = next(method.losses(rows, told, 0, seeded_draws(1)))
    x0 = method.student(rows.z, rows.timesteps, told).x0
    (of_x0,) = torch.autograd.grad(loss.value, [method.networks["student"].weight])
    gradient = method.gradient(x0.detach(), told, seeded_draws(1))
    (expected,) = torch.autograd.grad(x0, [method.networks["student"].weight], (gradient / gradient.numel()).float())
    assert torch.allclose(of_x0, expected, rtol=1e-3, atol=1e-6)


def test_the_fake_score_learns_the_noise_and_the_student_nothing_of_it() -> None:
    method = matching()
    rows, told = states(*TRAINED_AT)
    _, fake = method.losses(rows, told, 0, seeded_draws(2))
    fake.value.backward()
    assert method.networks["student"].weight.grad is None
    assert method.networks["fake"].weight.grad is not None


def ones(count: int, draws: Draws) -> tuple[Tensor, Conditioning]:
    """Data of one image and one prompt."""
    return torch.ones(count, 4, 8, 8), {"prompt": torch.zeros(count)}


def test_the_adversary_is_the_logistic_loss_on_noised_images() -> None:
    """At timesteps below 1 next to no noise: logits of 3 for data and -2 for what was made, known in advance."""

    def critic(z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        assert int(timesteps.max()) == 0
        real = (z - 1).abs().flatten(1).mean(dim=1) < 0.2
        return torch.where(real, 3.0, -2.0)

    plain, beside = matching(), matching(adversary=Adversary(critic, ones, 0.5, 0.25, highest=1))
    rows, told = states(*TRAINED_AT)
    found = [list(method.losses(rows, told, 0, seeded_draws(4))) for method in (plain, beside)]
    added = [after.value.item() - before.value.item() for before, after in zip(*found, strict=True)]
    softplus = torch.nn.functional.softplus
    assert added[0] == pytest.approx(0.5 * softplus(torch.tensor(2.0)).item(), rel=1e-4)
    fake_before, fake_after = (losses[1].value.item() for losses in found)
    assert fake_after - fake_before != 0
    expected = 0.25 * (softplus(torch.tensor(-2.0)) + softplus(torch.tensor(-3.0))).item()
    # The adversary's draws come before the fake score's noise, so the rest is compared at one draw.
    alone = replace(beside, adversary=replace(beside.adversary, critic_weight=0.0))  # type: ignore[type-var]
    silent = list(alone.losses(rows, told, 0, seeded_draws(4)))
    assert fake_after - silent[1].value.item() == pytest.approx(expected, rel=1e-3)


def test_dp_dmd_holds_the_first_step_alone_to_the_teachers_way() -> None:
    networks = {"student": Affine(2), "fake": Affine(3)}
    student, fake = (Denoiser(networks[name], SCHEDULE) for name in ("student", "fake"))
    teacher = Affine(1)
    method = DiverseMatching(
        Denoiser(teacher, SCHEDULE), student, fake, networks, SCHEDULE, diversity_weight=0.5, teacher_steps=10, lead=3
    )
    rows, told = states(999, 749)
    plain = Matching(method.teacher, student, fake, networks, SCHEDULE)
    losses = [next(kind.losses(rows, told, 0, seeded_draws(6))).value for kind in (method, plain)]
    scheduler = ddim()
    scheduler.set_timesteps(10)
    first, there = {"prompt": told["prompt"][:1]}, rows.z[:1]
    for timestep in scheduler.timesteps[:3]:
        there = scheduler.step(teacher(there, timestep[None], first), timestep, there).prev_sample
    image = method.first_image(rows.z[:1], first)
    then = torch.tensor([evenly_spaced(10)[3]])
    eps = SCHEDULE.eps_of(image, rows.z[:1], torch.tensor([999]))
    assert torch.allclose(SCHEDULE.add_noise(image, then, eps), there, atol=1e-3, rtol=1e-3)
    x0 = student(rows.z, rows.timesteps, told).x0[:1]
    assert (losses[0] - losses[1]).item() == pytest.approx(0.5 * (x0 - image).square().mean().item(), rel=1e-3)
    later, told = states(749, 499)
    same = [next(kind.losses(later, told, 0, seeded_draws(6))).value for kind in (method, plain)]
    assert same[0].item() == same[1].item()


def test_a_student_is_not_trained_for_timesteps_that_its_solver_has_not() -> None:
    network = Affine(2)
    with pytest.raises(ValueError, match=r"timesteps \[749, 249\], which the 50 steps"):
        Consistency(
            Guided(Denoiser(Affine(1), SCHEDULE), {}), Denoiser(network, SCHEDULE), network, SCHEDULE, list(TRAINED_AT)
        )
