"""Where states come from, how often they are used, and that a run that was resumed is the one that was not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benches.ddil.arms import ARMS, DDIL, METHODS, timesteps_of, train
from benches.ddil.measures import density_coverage, energy_distance, frechet_distance
from benches.ddil.mixture import Mixture
from benches.ddil.student import Student, pretrained
from extension_core.errors import DiversityError
from extension_core.training.denoiser import Denoiser
from extension_core.training.descent import Course, Descent
from extension_core.training.methods.matching import Matching
from extension_core.training.noise_schedule import NoiseSchedule, evenly_spaced
from extension_core.training.replay import Bounds, ReplayBuffer, Rows
from extension_core.training.rollout import rollout, sample
from extension_core.training.states import Grid, Priors, StateSource
from tests.training.numbers import seeded_draws

SCHEDULE = NoiseSchedule.stable_diffusion()
MIXTURE = Mixture.unequal_grid()
STEPS = [999, 749, 499, 249]


def teacher() -> Denoiser:
    return Denoiser(lambda z, timesteps, _: MIXTURE.teacher(SCHEDULE, z, timesteps), SCHEDULE, "x0")


def source(priors: Priors, bounds: Bounds | None = None, **more: Any) -> StateSource:
    torch.manual_seed(0)
    student = Denoiser(Student(2), SCHEDULE, "v")
    grid = Grid(STEPS, STEPS, "renoise")
    return StateSource(SCHEDULE, grid, MIXTURE, teacher(), student, priors, bounds or Bounds(), **more)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestBuffer:
    @settings(max_examples=60)
    @given(
        st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=20),
        st.integers(1, 60), st.integers(1, 4), st.integers(1, 6),
    )  # fmt: skip
    def test_its_bounds_hold_whatever_is_done_with_it(
        self, course: list[tuple[int, int, int]], entries: int, uses: int, staleness: int
    ) -> None:
        buffer = ReplayBuffer(Bounds(entries, 1.0, staleness, uses))
        update, number, born, used = 0, 0, {}, {}
        for added, taken, passed in course:
            ids = torch.arange(number, number + added).double()
            number += added
            born.update(dict.fromkeys(ids.int().tolist(), update))
            buffer.add(Rows(ids[:, None], torch.zeros(added).long(), torch.zeros(added).long()), update)
            assert len(buffer) <= entries
            rows = buffer.take(taken, update, seeded(update))
            if rows is not None:
                found = rows.z[:, 0].int().tolist()
                assert len(set(found)) == taken
                for state in found:
                    used[state] = used.get(state, 0) + 1
                    assert used[state] <= uses
                    assert update - born[state] < staleness
            update += passed

    def test_it_is_bounded_in_bytes(self) -> None:
        buffer = ReplayBuffer(Bounds(entries=1000, megabytes=0.01))
        buffer.add(Rows(torch.zeros(100, 4, 8, 8), torch.zeros(100).long(), torch.zeros(100).long()), 0)
        assert len(buffer) == 9
        assert buffer.capacity * 4 * 8 * 8 * 4 <= 10_000

    def test_it_is_the_same_after_a_checkpoint(self) -> None:
        first, second = ReplayBuffer(Bounds(uses=2)), ReplayBuffer(Bounds(uses=2))
        second.load_state_dict(first.state_dict())
        assert second.take(1, 0, seeded(0)) is None
        first.add(Rows(torch.randn(20, 2), torch.arange(20), torch.arange(20)), 3)
        first.take(5, 4, seeded(1))
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        for update in range(4, 12):
            taken = [buffer.take(6, update, seeded(update)) for buffer in (first, second)]
            assert (taken[0] is None) == (taken[1] is None)
            if taken[0] is not None and taken[1] is not None:
                assert torch.equal(taken[0].z, taken[1].z)

    @pytest.mark.parametrize("name", ["entries", "megabytes", "staleness", "uses"])
    def test_bounds_of_nothing_are_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name} is 0; it must be above 0"):
            Bounds(**{name: 0})


class TestPriors:
    def test_they_go_in_a_straight_line_to_the_last(self) -> None:
        priors = Priors(2, 1, 1, last=Priors(0, 0, 4))
        assert [priors.at(at).tolist() for at in (0, 0.5, 1)] == [[0.5, 0.25, 0.25], [0.25, 0.125, 0.625], [0, 0, 1]]

    @pytest.mark.parametrize("values", [(0, 0, 0), (1, -0.1, 0)])
    def test_what_is_no_chance_is_refused(self, values: tuple[float, float, float]) -> None:
        with pytest.raises(ValueError, match="none may be below 0, and one must be above"):
            Priors(*values)


class TestSource:
    def test_each_source_has_its_share(self) -> None:
        drawn = source(Priors(0.2, 0.3, 0.5), rollout_rows=512)
        found = torch.cat([drawn.draw(500, update, 0, seeded_draws(update)).sources for update in range(8)])
        assert (torch.bincount(found, minlength=3) / len(found)).tolist() == pytest.approx([0.2, 0.3, 0.5], abs=0.03)

    def test_forward_states_are_noised_data(self) -> None:
        rows = source(Priors()).draw(4000, 0, 0, seeded_draws(0)).states
        assert set(rows.timesteps.tolist()) == set(STEPS)
        for timestep in STEPS:
            z = rows.z[rows.timesteps == timestep]
            data, _ = MIXTURE.draw(4000, seeded(1))
            again = SCHEDULE.add_noise(data, torch.full((4000,), timestep), torch.randn(4000, 2, generator=seeded(2)))
            assert energy_distance(z, again) < 0.02

    def test_student_states_are_those_of_its_own_sampling(self) -> None:
        drawn = source(Priors(0, 0, 1), rollout_rows=6)
        rows = drawn.draw(6, 0, 0, seeded_draws(5)).states
        generator = seeded(5)
        torch.multinomial(drawn.priors.at(0), 6, replacement=True, generator=generator)
        noise = torch.randn(6, 2, generator=generator)
        for _ in STEPS[1:]:  # which of each part: there is one
            torch.randint(0, 1, (), generator=generator)
        with torch.no_grad():
            steps = list(rollout(drawn.student, SCHEDULE, STEPS, noise, {}, generator, "renoise"))
        known = {step.timestep: step.z for step in steps}
        for z, timestep in zip(rows.z, rows.timesteps.tolist(), strict=True):
            assert bool((known[timestep] == z).all(dim=1).any())

    def test_teacher_states_are_on_its_finer_way(self) -> None:
        drawn = source(Priors(0, 1, 0), teacher_steps=evenly_spaced(20), rollout_rows=2000)
        rows = drawn.draw(2000, 0, 0, seeded_draws(0)).states
        assert set(rows.timesteps.tolist()) == set(STEPS)
        late = rows.z[rows.timesteps == 249]
        data, _ = MIXTURE.draw(2000, seeded(1))
        noised = SCHEDULE.add_noise(data, torch.full((2000,), 249), torch.randn(2000, 2, generator=seeded(2)))
        assert energy_distance(late, noised) < 0.03

    def test_a_rollout_serves_as_many_updates_as_its_states_have_uses(self) -> None:
        """64 rows of 4 steps, each used 4 times, are 1,024 rows of a batch: 16 updates of 64."""
        drawn = source(Priors(0, 0, 1), Bounds(uses=4), rollout_rows=64)
        assert isinstance(drawn.student, Denoiser)
        for update in range(16):
            drawn.draw(64, update, 0, seeded_draws(update))
        assert drawn.student.evaluations.rows <= 2 * 3 * 64, "nor is the network asked at the last state"

    def test_a_student_that_is_trained_between_its_steps_meets_states_there(self) -> None:
        trained = [20 * index + 19 for index in reversed(range(50))]
        drawn = source(Priors(0, 0, 1), Bounds(uses=1), rollout_rows=8)
        drawn.grid = Grid(trained, [999, 759, 499, 259], "renoise")
        batches = [drawn.draw(8, update, 0, seeded_draws(update)).states for update in range(120)]
        met = [int(timestep) for states in batches for timestep in states.timesteps]
        assert set(met) <= set(trained)
        for above, lowest in ((1000, 999), (999, 759), (759, 499), (499, 259), (259, 0)):
            part = [timestep for timestep in met if lowest <= timestep < above]
            assert len(part) / len(met) == pytest.approx(0.2, abs=0.07)
            assert len(set(part)) >= min(4, len([timestep for timestep in trained if lowest <= timestep < above]))

    def test_a_buffer_too_small_for_a_batch_is_told_of(self) -> None:
        with pytest.raises(ValueError, match="wants 64 states of the student, but the replay buffer holds 10;"):
            source(Priors(0, 0, 1), Bounds(entries=10)).draw(64, 0, 0, seeded_draws(0))

    def test_a_teacher_that_meets_no_trained_timestep_is_refused(self) -> None:
        with pytest.raises(ValueError, match="meets none of the timesteps"):
            source(Priors(), teacher_steps=[998, 500])


def descent(seed: int = 0, updates: int = 12, student: Student | None = None) -> Descent:
    torch.manual_seed(0)
    networks = {"student": student or Student(2), "fake": Student(2)}
    own, fake = (Denoiser(networks[name], SCHEDULE, "v") for name in ("student", "fake"))
    method = Matching(teacher(), own, fake, networks, SCHEDULE, STEPS)
    states = StateSource(SCHEDULE, method.grid, MIXTURE, teacher(), own, DDIL, Bounds(uses=3), rollout_rows=32)
    course = Course(updates, batch=32, seed=seed)
    return Descent(method, states, course, lambda _, module: torch.optim.AdamW(module.parameters(), lr=1e-3))


class TestDescent:
    def test_a_resumed_run_has_the_losses_of_an_unbroken_one_bit_for_bit(self, tmp_path: Any) -> None:
        whole = descent()
        losses = [whole.update(update) for update in range(12)]
        broken = descent()
        assert [broken.update(update) for update in range(7)] == losses[:7]
        torch.save(broken.state_dict(), tmp_path / "state.pt")
        resumed = descent()
        resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert [resumed.update(update) for update in range(7, 12)] == losses[7:]
        weights = [run.method.trained["student"].state_dict() for run in (whole, resumed)]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    def test_another_seed_is_another_run(self) -> None:
        assert descent(0).update(0) != descent(1).update(0)

    def test_a_loss_that_is_no_number_leaves_the_networks_as_they_were(self) -> None:
        student = Student(2)
        run = descent(student=student)
        run.update(0)
        with torch.no_grad():
            student.layers[0].bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
        before = {name: value.clone() for name, value in student.state_dict().items()}
        with pytest.raises(DiversityError, match="The loss of the student is nan at update 5; lower the learning rate"):
            run.update(5)
        assert all(
            torch.equal(value, before[name]) for name, value in student.state_dict().items() if "0.bias" not in name
        )


class TestMixture:
    def test_the_teacher_is_the_score_of_the_density(self) -> None:
        """Tweedie's formula on torch's own mixture."""
        for mixture in (MIXTURE, Mixture.scattered()):
            timesteps = torch.tensor([50, 300, 700])
            z = torch.randn(3, *mixture.shape, generator=seeded(3)).double().requires_grad_()
            alpha, sigma = SCHEDULE.levels(timesteps, z)
            spread = ((alpha * mixture.spread) ** 2 + sigma**2).sqrt()
            for row in range(3):
                components = torch.distributions.Independent(
                    torch.distributions.Normal(alpha[row] * mixture.means.double(), spread[row]), 1
                )
                density = torch.distributions.MixtureSameFamily(
                    torch.distributions.Categorical(mixture.weights.double()), components
                )
                (score,) = torch.autograd.grad(density.log_prob(z[row]), z)
                expected = (z[row] + sigma[row] ** 2 * score[row]) / alpha[row]
                found = mixture.teacher(SCHEDULE, z, timesteps)[row]
                assert torch.allclose(found, expected, atol=1e-5)

    def test_the_teachers_own_samples_are_data(self) -> None:
        noise = torch.randn(4000, 2, generator=seeded(0))
        made = sample(teacher(), SCHEDULE, evenly_spaced(100), noise, {}, seeded(1))
        data, _ = MIXTURE.draw(4000, seeded(2))
        assert energy_distance(made, data) < 0.01
        assert bool((MIXTURE.reached(made) > 0).all())

    def test_measures_know_what_is_missing(self) -> None:
        data, _ = MIXTURE.draw(2000, seeded(0))
        again, _ = MIXTURE.draw(2000, seeded(1))
        half = again[again[:, 0] > 0]
        assert density_coverage(data, again) == pytest.approx((1, 1), abs=0.06)
        assert density_coverage(data, half)[1] < 0.65
        assert abs(energy_distance(data, again)) < 0.005 < energy_distance(data, half)
        assert frechet_distance(data, again) < 0.01 < frechet_distance(data, half)


class TestStudents:
    @pytest.fixture(scope="class")
    def start(self) -> Student:
        return pretrained(MIXTURE, SCHEDULE, seed=0, updates=1500)

    @pytest.mark.parametrize("method", METHODS)
    def test_every_method_learns_to_sample_in_four_steps(self, start: Student, method: str) -> None:
        """Against where it begins, the teacher's network sampled in as few steps."""
        budget = 1_200_000 if method == "lcm" else 400_000
        trained = train(MIXTURE, start, method, ARMS[1], 4, seed=0, budget=budget)
        data, _ = MIXTURE.draw(2000, seeded(9))
        grid, noise = trained.method.grid, torch.randn(2000, 2, generator=seeded(8))
        assert grid.steps == timesteps_of(method, 4)
        apart = [
            energy_distance(data, sample(denoiser, SCHEDULE, grid.steps, noise, {}, seeded(7), grid.sampler))
            for denoiser in (Denoiser(start, SCHEDULE, "v"), trained.method.sampled)
        ]
        assert apart[1] < 0.8 * apart[0]
        assert budget <= trained.evaluations < budget + 20_000
