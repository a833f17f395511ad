"""From a configuration to networks, method and source of states."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from extension_core.training.bucketed import BucketedImages, BucketedSource
from extension_core.training.denoiser import Conditioning, Denoiser, Denoising, Guided, Network, Thresholding
from extension_core.training.descent import Source
from extension_core.training.methods.consistency import Consistency
from extension_core.training.methods.diverse_matching import DiverseMatching
from extension_core.training.methods.matching import Adversary, Matching, MatchingOptions
from extension_core.training.methods.method import Method
from extension_core.training.methods.progressive import Progressive
from extension_core.training.networks.checkpoint import Checkpoint
from extension_core.training.networks.critic import CriticHead, MiddleCritic
from extension_core.training.networks.lora import add_lora
from extension_core.training.networks.unet import as_network
from extension_core.training.noise_schedule import evenly_spaced
from extension_core.training.replay import Bounds
from extension_core.training.run.config import Config, PriorsConfig
from extension_core.training.states import Data, Priors, StateSource
from extension_core.training.threshold import LatentRange, threshold

_CFG: dict[str, float | tuple[float, float]] = {"pd": 7.5, "lcm": (6.0, 16.0), "dmd2": 8.0, "dp-dmd": 8.0}
_SOLVER_STEPS = 50


@dataclass(frozen=True)
class Sized:
    """Data of one picture size, and how many pictures that is."""

    data: Data
    pictures: int


@dataclass
class Workshop:
    """What every stage of a training has in common.

    Args:
        base: the checkpoint's U-Net, frozen, on the accelerator's device.
        uncond: conditioning of the empty prompt, each tensor [1, ...].
        range: of the data's latents, where a threshold is asked for.
    """

    config: Config
    checkpoint: Checkpoint
    accelerator: Accelerator
    base: UNet2DConditionModel
    uncond: Conditioning
    sizes: Sequence[Sized]
    range: LatentRange | None

    def new_student(self, seed: int) -> UNet2DConditionModel:
        """A U-Net that starts as the base, with what is trained of it: everything, or a LoRA."""
        if self.config.student.kind == "lora":
            student = sharing(self.base)
            add_lora(student, self.config.student.rank, self.config.student.alpha, seed)
        else:
            student = copy.deepcopy(self.base).requires_grad_(True)
        student.train()
        if self.config.course.gradient_checkpointing:
            student.enable_gradient_checkpointing()
        return student.to(self.accelerator.device)

    def network(self, unet: UNet2DConditionModel) -> Network:
        """A U-Net in the precision of the training, its output in float32."""
        asked = as_network(torch.compile(unet) if self.config.course.compile else unet)

        def network(z: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
            with self.accelerator.autocast():
                return asked(z, timesteps, conditioning).float()

        return network

    def denoiser(self, unet: UNet2DConditionModel) -> Denoiser:
        """A U-Net of the checkpoint's kind, without a threshold."""
        return Denoiser(self.network(unet), self.checkpoint.schedule, self.checkpoint.prediction)

    @property
    def thresholding(self) -> Thresholding | None:
        """The configured threshold, on the teacher's x0."""
        asked = self.config.threshold
        return None if self.range is None else threshold(asked.kind, self.range, asked.edge)


def sharing(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Another U-Net over the same parameters: no second copy of them is held."""
    build: Any = UNet2DConditionModel.from_config
    with torch.device("meta"):
        other: UNet2DConditionModel = build(unet.config)
    other.load_state_dict(unet.state_dict(), assign=True)
    return other.requires_grad_(False)


def timesteps_of(config: Config) -> list[int]:
    """Where the student is sampled, falling."""
    steps = config.method.steps
    if config.method.timesteps is not None:
        return config.method.timesteps
    if config.method.name == "lcm":
        grid = [1000 * (index + 1) // _SOLVER_STEPS - 1 for index in reversed(range(_SOLVER_STEPS))]
        return [grid[index * _SOLVER_STEPS // steps] for index in range(steps)]
    return evenly_spaced(steps)


def halvings(config: Config) -> list[int]:
    """Steps of the student of each stage: one for every method but progressive distillation."""
    if config.method.name != "pd":
        return [config.method.steps]
    stages = [config.method.first_halving]
    while stages[-1] > config.method.steps:
        stages.append(stages[-1] // 2)
    return stages


@dataclass
class Assembled:
    """A stage of a training.

    Args:
        student: what is exported.
    """

    method: Method
    source: Source
    student: UNet2DConditionModel
    averaged: nn.Module | None = None


def assemble(workshop: Workshop, student: UNet2DConditionModel, teacher: UNet2DConditionModel, steps: int) -> Assembled:
    """A stage.

    Args:
        teacher: the base, or the student of the stage before, which needs no guidance any more.
        steps: of the student.
    """
    config, thresholding = workshop.config, workshop.thresholding
    guided = _guided(workshop, teacher, thresholding)
    own = workshop.denoiser(student)
    sampled = replace(own, threshold=thresholding) if config.threshold.student else own
    averaged = None
    if config.method.name == "pd":
        method: Method = Progressive(guided, own, student, workshop.checkpoint.schedule, steps, sampled_by=sampled)
    elif config.method.name == "lcm":
        averaged = None if config.student.kind == "lora" else copy.deepcopy(student).requires_grad_(False)
        method = _consistency(workshop, guided, own, student, averaged, sampled)
    else:
        method = _matching(workshop, guided, own, student, sampled)
    source = _source(workshop, method, guided)
    return Assembled(method, source, student, averaged)


def _guided(workshop: Workshop, teacher: UNet2DConditionModel, thresholding: Thresholding | None) -> Guided:
    asked = workshop.config.method
    cfg = _CFG[asked.name] if asked.cfg is None else asked.cfg
    middle = sum(cfg) / 2 if isinstance(cfg, tuple) else cfg
    single = middle if teacher is workshop.base else 1.0
    return Guided(workshop.denoiser(teacher), workshop.uncond, single, thresholding)


def _consistency(
    workshop: Workshop,
    teacher: Guided,
    own: Denoiser,
    student: UNet2DConditionModel,
    averaged: UNet2DConditionModel | None,
    sampled: Denoiser,
) -> Consistency:
    asked = workshop.config.method.cfg
    cfg = _CFG["lcm"] if asked is None else asked
    return Consistency(
        teacher,
        own,
        student,
        workshop.checkpoint.schedule,
        timesteps_of(workshop.config),
        averaged=None if averaged is None else workshop.denoiser(averaged),
        cfg=cfg if isinstance(cfg, tuple) else (cfg, cfg),
        solver_steps=_SOLVER_STEPS,
        sampled_by=sampled,
    )


def _matching(
    workshop: Workshop, teacher: Guided, own: Denoiser, student: UNet2DConditionModel, sampled: Denoiser
) -> Matching:
    config = workshop.config
    fake = workshop.new_student(config.course.seed + 1)
    score = workshop.denoiser(fake)
    trained: dict[str, nn.Module] = {"unet": fake}
    adversary = None
    if config.method.adversary:
        torch.manual_seed(config.course.seed)
        head = CriticHead(fake.config["block_out_channels"][-1]).to(workshop.accelerator.device)
        trained["head"] = head
        images = BucketedImages(*_split(workshop.sizes), workshop.accelerator.device)
        adversary = Adversary(MiddleCritic(score.network, fake, head), images)
    kind: Callable[..., Matching] = DiverseMatching if config.method.name == "dp-dmd" else Matching
    return kind(
        teacher,
        own,
        score,
        {"student": student, "fake": nn.ModuleDict(trained)},
        workshop.checkpoint.schedule,
        timesteps_of(config),
        MatchingOptions(config.method.ratio),
        adversary,
        sampled,
    )


def _split(sizes: Sequence[Sized]) -> tuple[list[Data], list[float]]:
    return [size.data for size in sizes], [float(size.pictures) for size in sizes]


def _source(workshop: Workshop, method: Method, teacher: Denoising) -> BucketedSource:
    asked = workshop.config.states
    priors = _priors(workshop.config.priors, asked.last_priors)
    trained = method.grid.trained
    fine = evenly_spaced(asked.teacher_steps)
    # A teacher is sampled finely; where the student is trained at all of its solver's steps, those are fine enough.
    path = sorted({*trained, *fine}, reverse=True) if len(trained) < len(fine) else list(trained)
    shares = max(1, len(workshop.sizes))
    bounds = Bounds(max(1, asked.entries // shares), asked.megabytes / shares, asked.staleness, asked.uses)
    sources = [
        StateSource(
            workshop.checkpoint.schedule,
            method.grid,
            size.data,
            teacher,
            method.sampled,
            priors,
            bounds,
            path,
            asked.rollout_rows,
            workshop.accelerator.device,
        )
        for size in workshop.sizes
    ]
    return BucketedSource(sources, [float(size.pictures) for size in workshop.sizes])


def _priors(first: PriorsConfig, last: PriorsConfig | None) -> Priors:
    end = None if last is None else Priors(last.forward, last.teacher, last.student)
    return Priors(first.forward, first.teacher, first.student, end)
