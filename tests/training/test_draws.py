"""Random numbers that several processes share, and gradients that are those of one."""

from __future__ import annotations

import pytest
import torch

from benches.ddil.mixture import Mixture
from benches.ddil.student import Student
from extension_core.training.denoiser import Denoiser
from extension_core.training.descent import Course, Descent
from extension_core.training.draws import Draws
from extension_core.training.methods.matching import Adversary, Matching
from extension_core.training.noise_schedule import NoiseSchedule
from extension_core.training.states import Priors, StateSource

SCHEDULE = NoiseSchedule.stable_diffusion()
MIXTURE = Mixture.unequal_grid()


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_what_all_processes_draw_is_what_one_draws(processes: int) -> None:
    one = Draws.of_update(7, 3)
    many = [Draws.of_update(7, 3, rank, processes) for rank in range(processes)]
    rows = 6 // processes
    for draw in (
        lambda draws, count: draws.normal(torch.zeros(count, 2, 3)),
        lambda draws, count: draws.uniform(count),
        lambda draws, count: draws.integers(5, 900, count),
    ):
        whole = draw(one, 6)
        assert torch.equal(torch.stack([draw(draws, rows) for draws in many], dim=1).flatten(0, 1), whole)


def test_updates_seeds_and_what_is_a_processs_own_differ() -> None:
    found = {
        Draws.of_update(*numbers).uniform(1).item()
        for numbers in ((0, 0), (0, 1), (1, 0), (2**40, 0), (2**40 + 1, 0), (0, 2**33))
    }
    assert len(found) == 6
    own = [torch.rand(1, generator=Draws.of_update(0, 0, rank, 2).own).item() for rank in (0, 1)]
    assert own[0] != own[1]


def descent(rank: int, processes: int, batch: int, accumulate: int = 1) -> Descent:
    torch.manual_seed(0)
    networks = {"student": Student(2), "fake": Student(2)}
    own, fake = (Denoiser(networks[name], SCHEDULE, "v") for name in ("student", "fake"))
    teacher = Denoiser(lambda z, timesteps, _: MIXTURE.teacher(SCHEDULE, z, timesteps), SCHEDULE, "x0")
    method = Matching(teacher, own, fake, networks, SCHEDULE)
    source = StateSource(SCHEDULE, method.grid, MIXTURE, teacher, own, Priors())
    course = Course(10, batch, accumulate, seed=1, clip=1e9, rank=rank, processes=processes)
    return Descent(method, source, course, lambda _, module: torch.optim.SGD(module.parameters(), lr=0.0))


def gradients(run: Descent) -> torch.Tensor:
    run.update(0)
    modules = run.method.trained.values()
    return torch.cat([p.grad.flatten() for module in modules for p in module.parameters() if p.grad is not None])


def test_the_mean_of_two_processes_gradients_is_that_of_one() -> None:
    one = gradients(descent(0, 1, 64))
    halves = [gradients(descent(rank, 2, 32)) for rank in (0, 1)]
    assert torch.allclose((halves[0] + halves[1]) / 2, one, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(halves[0], one, rtol=1e-2, atol=1e-5)


def test_accumulated_gradients_are_the_mean_of_their_parts() -> None:
    """The parts draw one after the other, so each is made again by a run that begins where the one before stopped."""
    both = descent(0, 1, 32, accumulate=2)
    sums = gradients(both)
    alone = descent(0, 1, 32)
    draws = Draws.of_update(1, 0)
    parts = []
    for _ in range(2):
        for optimizer in alone.optimizers.values():
            optimizer.zero_grad()
        batch = alone.source.draw(32, 0, 0.0, draws)
        for _, value in alone.method.losses(batch.states, batch.conditioning, 0, draws):
            value.backward()
        modules = alone.method.trained.values()
        parts.append(torch.cat([p.grad.flatten() for module in modules for p in module.parameters()]))
    assert torch.allclose(sums, (parts[0] + parts[1]) / 2, rtol=1e-4, atol=1e-7)


def test_the_students_loss_leaves_no_gradient_in_the_critic() -> None:
    """Which is part of what the fake score's optimizer steps at the end of the same update."""
    run = descent(0, 1, 16)
    assert isinstance(run.method, Matching)
    critic = run.method.networks["fake"]
    run.method.adversary = Adversary(
        lambda z, timesteps, told: critic(z, timesteps, told).sum(dim=1),
        lambda count, draws: (MIXTURE.draw(count, draws.shared)[0], {}),
    )
    draws = Draws.of_update(0, 0)
    batch = run.source.draw(16, 0, 0.0, draws)
    losses = run.method.losses(batch.states, batch.conditioning, 0, draws)
    next(losses).value.backward()
    assert all(p.grad is None for p in critic.parameters())
    assert all(p.grad is not None for p in run.method.networks["student"].parameters())
    next(losses).value.backward()
    assert all(p.grad is not None for p in critic.parameters())
