"""Training of the four-step student: DMD2's distribution matching, without its GAN.

Each update simulates the student's own sampling to a random step, lets it predict the clean latent there, and moves
that prediction along the difference of two scores at a random noise level: the guided teacher's and that of a "fake"
model, which learns the student's current output all the while (Yin et al., arXiv 2405.14867).
Teacher guidance and the mode-seeking (reverse KL) gradient are what costs such students their diversity.
"""

from __future__ import annotations

import copy
from itertools import islice, pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embedded.networks import LatentDiffusion, UNetModel

from .loop import EMA, Progress, make_optimizer, set_rate, step_generator
from .recipe import Recipe, StudentTraining
from .sampling import add_noise, guided, x0_of_eps

STAGE = 3


def simulate(
    unet: nn.Module, config: StudentTraining, index: int, x: Tensor, context: Tensor, generator: torch.Generator
) -> Tensor:
    """The student's own noisy latent at its step ``index``, from noise x [B, 4, h, w]; without gradient."""
    with torch.no_grad():
        for now, then in islice(pairwise(config.timesteps), index):
            timesteps = torch.full((len(x),), now)
            x0 = x0_of_eps(x, timesteps, unet(x, timesteps, context).float())
            x = add_noise(x0, torch.full((len(x),), then), torch.randn(x.shape, generator=generator))
    return x


def matching_gradient(x0: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """DMD's gradient on x0: fake minus real prediction, over the mean distance of x0 to the real one, per sample."""
    scale = (x0 - real).abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3)
    return torch.nan_to_num((fake - real) / scale)


class Trainer:
    """Teacher, student and fake model with their optimizers; ``update`` does one update of the student."""

    def __init__(self, config: StudentTraining, teacher: UNetModel, uncond: Tensor) -> None:
        self.config, self.uncond = config, uncond
        self.teacher = teacher.eval().requires_grad_(False)
        self.student = copy.deepcopy(teacher).train().requires_grad_(True)
        self.fake = copy.deepcopy(teacher).train().requires_grad_(True)
        self.student_optimizer = make_optimizer(self.student.parameters(), config.rate, (0.0, 0.99))
        self.fake_optimizer = make_optimizer(self.fake.parameters(), config.fake_rate, (0.0, 0.99))
        self.ema = EMA(self.student, config.ema)

    def state(self, step: int) -> dict[str, object]:
        networks = {"student": self.student.state_dict(), "fake": self.fake.state_dict()}
        optimizers = {
            "student_optimizer": self.student_optimizer.state_dict(),
            "fake_optimizer": self.fake_optimizer.state_dict(),
        }
        return {**networks, **optimizers, "ema": self.ema.values, "step": step}

    def load(self, state: dict[str, dict]) -> None:
        self.student.load_state_dict(state["student"])
        self.fake.load_state_dict(state["fake"])
        self.student_optimizer.load_state_dict(state["student_optimizer"])
        self.fake_optimizer.load_state_dict(state["fake_optimizer"])
        self.ema.values = state["ema"]

    def update(
        self, step: int, context: Tensor, shape: tuple[int, ...], generator: torch.Generator
    ) -> dict[str, float]:
        """One update for ``context`` [B, T, D]; returns the losses to log."""
        index = int(torch.randint(0, len(self.config.timesteps), (), generator=generator))
        noise = torch.randn(len(context), *shape, generator=generator)
        with torch.autocast("cpu", torch.bfloat16):
            x = simulate(self.student, self.config, index, noise, context, generator)
            timesteps = torch.full((len(x),), self.config.timesteps[index])
            x0 = x0_of_eps(x, timesteps, self.student(x, timesteps, context).float())
        logged: dict[str, float] = {}
        if step >= self.config.fake_warmup:
            logged = self._move_student(x0, context, step, generator)
        losses = [self._move_fake(x0.detach(), context, generator) for _ in range(self.config.fake_updates)]
        return {**logged, "fake": sum(losses) / len(losses)}

    def _move_student(self, x0: Tensor, context: Tensor, step: int, generator: torch.Generator) -> dict[str, float]:
        noisy, timesteps, _ = self._renoise(x0.detach(), generator)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            uncond = self.uncond.expand(len(context), -1, -1)
            eps = guided(self.teacher, noisy, timesteps, context, uncond, self.config.teacher_cfg)
            real = x0_of_eps(noisy, timesteps, eps.float())
            fake = x0_of_eps(noisy, timesteps, self.fake(noisy, timesteps, context).float())
        gradient = matching_gradient(x0.detach(), real, fake)
        loss = 0.5 * F.mse_loss(x0, (x0 - gradient).detach())
        self._descend(self.student_optimizer, self.student, loss)
        self.ema.update(self.student, step - self.config.fake_warmup)
        return {"match": loss.item(), "spread": x0.detach().std().item()}

    def _move_fake(self, x0: Tensor, context: Tensor, generator: torch.Generator) -> float:
        noisy, timesteps, noise = self._renoise(x0, generator)
        with torch.autocast("cpu", torch.bfloat16):
            eps = self.fake(noisy, timesteps, context)
        loss = F.mse_loss(eps.float(), noise)
        self._descend(self.fake_optimizer, self.fake, loss)
        return loss.item()

    def _renoise(self, x0: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        timesteps = torch.randint(*self.config.renoise, (len(x0),), generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        return add_noise(x0, timesteps, noise), timesteps, noise

    @staticmethod
    def _descend(optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()


def train_student(recipe: Recipe, base: LatentDiffusion, tokens: Tensor, folder: Path) -> UNetModel:
    """The averaged student U-Net of ``base`` after ``recipe.student.updates`` updates; resumes from ``folder``.

    tokens: int16 [n, captions, 77]; no pictures are needed. The text encoder stays the base's.
    """
    config, progress = recipe.student, Progress(folder, "student")
    text = base.cond_stage_model.eval().requires_grad_(False)
    trainer = Trainer(config, base.model.diffusion_model, text([""]))
    state, first = progress.load(), 0
    if state is not None:
        trainer.load(state)
        first = state["step"]
    prompts = tokens.flatten(0, 1)
    for step in range(first, config.updates):
        generator = step_generator(recipe.seed, STAGE, step)
        rows = torch.randint(0, len(prompts), (config.batch,), generator=generator)
        with torch.no_grad():
            context = text.encode_tokens(prompts[rows].long())
        warm = min(1.0, (step + 1) / 50)
        set_rate(trainer.student_optimizer, config.rate * warm)
        progress.log(step, every=25, **trainer.update(step, context, (4, 16, 16), generator))
        if progress.due():
            progress.save(trainer.state(step + 1))
    if first < config.updates:
        progress.save(trainer.state(config.updates))
    student = copy.deepcopy(base.model.diffusion_model)
    trainer.ema.copy_to(student)
    return student.eval().requires_grad_(False)
