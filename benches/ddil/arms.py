"""What is compared: methods, each plain and with DDIL in its parts, at equal compute."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benches.ddil.mixture import Mixture
from benches.ddil.student import Student
from extension_core.training.denoiser import Denoiser, Evaluations, Guided, Thresholding
from extension_core.training.descent import Course, Descent
from extension_core.training.methods.consistency import Consistency
from extension_core.training.methods.diverse_matching import DiverseMatching
from extension_core.training.methods.matching import Matching
from extension_core.training.methods.method import Method
from extension_core.training.methods.progressive import Progressive
from extension_core.training.noise_schedule import NoiseSchedule, evenly_spaced
from extension_core.training.replay import Bounds
from extension_core.training.states import Priors, StateSource
from extension_core.training.threshold import LatentRange, StaticThreshold

METHODS = ("pd", "lcm", "dmd2", "dp-dmd")


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        priors: none for the method's own states: the student's for matching, noised data for the others.
    """

    name: str
    priors: Priors | None = None
    reflected: bool = False
    uses: int = 4


DDIL = Priors(forward=0.4, teacher=0.3, student=0.3)
ARMS = (
    Arm("plain"),
    Arm("+ DDIL", DDIL),
    Arm("+ reflected", reflected=True),
    Arm("+ both", DDIL, reflected=True),
    Arm("student states only", Priors(0, 0, 1)),
    Arm("teacher states only", Priors(0, 1, 0)),
    Arm("no replay", DDIL, uses=1),
)


@dataclass
class Trained:
    """A student, and what its training cost in rows given to a network or to the teacher."""

    method: Method
    source: StateSource
    schedule: NoiseSchedule
    evaluations: int
    updates: int


def timesteps_of(method: str, steps: int) -> list[int]:
    """Where a student of this many steps is sampled."""
    if method == "lcm":  # the nearest of the solver's 50
        return [20 * round((timestep + 1) / 20) - 1 for timestep in evenly_spaced(steps)]
    return evenly_spaced(steps)


def train(
    mixture: Mixture, start: Student, method: str, arm: Arm, steps: int, seed: int, budget: int, batch: int = 256
) -> Trained:
    """Until networks and teacher have been given `budget` rows."""
    schedule, counted = NoiseSchedule.stable_diffusion(), Evaluations()
    threshold = _threshold(mixture) if arm.reflected else None
    teacher = Denoiser(
        lambda z, timesteps, _: mixture.teacher(schedule, z, timesteps), schedule, "x0", threshold, counted
    )
    made = _method(method, steps, mixture, schedule, teacher, start, threshold, counted)
    own = Priors(0, 0, 1) if isinstance(made, Matching) else Priors()
    path = sorted({*made.grid.trained, *evenly_spaced(16)}, reverse=True) if len(made.grid.trained) < 16 else ()
    bounds = Bounds(entries=8192, uses=arm.uses)
    source = StateSource(
        schedule, made.grid, mixture, teacher, made.sampled, arm.priors or own, bounds, path, rollout_rows=batch
    )
    # The length of the course is found on the way: the cosine runs over the budget, not over a number of updates.
    course = Course(updates=budget // (4 * batch), batch=batch, seed=seed, rate=lambda _: _cosine(counted, budget))
    descent = Descent(made, source, course, _adam)
    update = 0
    while counted.rows < budget:
        descent.update(update)
        update += 1
    return Trained(made, source, schedule, counted.rows, update)


def _cosine(counted: Evaluations, budget: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, counted.rows / budget)))


def _adam(name: str, module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0, foreach=True)


def _threshold(mixture: Mixture) -> Thresholding:
    data, _ = mixture.draw(50_000, torch.Generator().manual_seed(0))
    return StaticThreshold(LatentRange.of(data))


def _method(
    method: str,
    steps: int,
    mixture: Mixture,
    schedule: NoiseSchedule,
    teacher: Denoiser,
    start: Student,
    threshold: Thresholding | None,
    counted: Evaluations,
) -> Method:
    network = copy.deepcopy(start)
    student = Denoiser(network, schedule, "v", None, counted)
    sampled = Denoiser(network, schedule, "v", threshold, counted)
    if method == "pd":
        return Progressive(teacher, student, network, schedule, steps, sampled_by=sampled)
    if method == "lcm":
        guided = Guided(teacher, {}, threshold=threshold)
        own = timesteps_of(method, steps)
        return Consistency(guided, student, network, schedule, own, cfg=(1, 1), sampled_by=sampled)
    fake_network = copy.deepcopy(start)
    fake = Denoiser(fake_network, schedule, "v", threshold, counted)
    networks = {"student": network, "fake": fake_network}
    kind: Callable[..., Matching] = DiverseMatching if method == "dp-dmd" else Matching
    return kind(teacher, student, fake, networks, schedule, timesteps_of(method, steps), sampled_by=sampled)
