"""A training from its configuration to the file that a WebUI loads; at any moment it can be ended and gone on with."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from extension_core.errors import DiversityError
from extension_core.training.descent import Course, Descent, load_trained_state, trained_state
from extension_core.training.run.assembly import Assembled, Workshop, assemble, halvings
from extension_core.training.run.config import Config
from extension_core.training.run.folder import RunFolder
from extension_core.training.run.memory import check_room, too_large
from extension_core.training.run.samples import Samples
from extension_core.training.run.stepping import AcceleratedStepping
from extension_core.training.run.wishes import Wishes

_AVERAGING = 0.95  # LCM's moving average

Ending = Literal["finished", "stopped"]
Saved = tuple[dict[str, Any], dict[str, Any]]
"""A state of every process alike, and of this one alone (folder.py)."""


@dataclass(frozen=True)
class Stage:
    """One halving of progressive distillation; other methods have a single stage.

    Args:
        steps: of the student.
        first: number of its first update.
        end: number of the first update after it.
    """

    steps: int
    first: int
    end: int


def stages_of(config: Config) -> list[Stage]:
    """The updates of a training divided among its stages."""
    steps, updates = halvings(config), config.course.updates
    bounds = [round(updates * index / len(steps)) for index in range(len(steps) + 1)]
    return [Stage(count, *span) for count, *span in zip(steps, bounds, bounds[1:], strict=False)]


def rate_of(config: Config, stage: Stage) -> Callable[[int], float]:
    """Factor on the learning rate: a warm-up, then constant; progressive distillation goes to 0 in each halving."""
    warmup = config.course.warmup

    def rate(update: int) -> float:
        begun = update - stage.first
        rising = min(1.0, (begun + 1) / (warmup + 1))
        return rising * (1 - begun / (stage.end - stage.first)) if config.method.name == "pd" else rising

    return rate


class Training:
    """One run.

    Args:
        samples: none where no pictures are wished.
        export: writes the file of a student after so many updates.
        progress: called after each update with the number of updates made.
    """

    def __init__(
        self,
        workshop: Workshop,
        folder: RunFolder,
        wishes: Wishes,
        samples: Samples | None,
        export: Callable[[UNet2DConditionModel, int], None],
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.workshop, self.config, self.accelerator = workshop, workshop.config, workshop.accelerator
        self._folder, self._wishes, self._samples = folder, wishes, samples
        self._export, self._progress = export, progress
        self.made = 0  # updates, with those of sessions before
        self._timed, self._spent = 0, 0.0  # updates of this session, and their seconds

    def run(self) -> Ending:
        """Train from the newest state on, or from the beginning."""
        saved = self._folder.load()
        begun = self.made = 0 if saved is None else int(saved[0]["update"])
        if self.accelerator.is_main_process:
            self._folder.forget_after(begun)
        student = self.workshop.new_student(self.config.course.seed)
        teacher = self.workshop.base
        self._progress(begun)
        for stage in stages_of(self.config):
            if begun >= stage.end and stage.end < self.config.course.updates:
                continue
            if saved is not None and saved[0]["stage"] != stage.first:  # it was saved at the end of the one before
                load_trained_state(student, saved[0]["networks"]["student"])
                saved = None
            if stage.first > 0:
                teacher = self._teacher_of(student, saved)
            if not self._run_stage(stage, student, teacher, begun, saved):
                return "stopped"
            begun, saved = max(begun, stage.end), None
        return "finished"

    def _teacher_of(self, student: UNet2DConditionModel, saved: Saved | None) -> Any:
        """The student as it is at the beginning of a stage."""
        if saved is not None and saved[0]["teacher"]:
            load_trained_state(student, saved[0]["teacher"])
        return copy.deepcopy(student).requires_grad_(False)

    def _run_stage(
        self,
        stage: Stage,
        student: UNet2DConditionModel,
        teacher: UNet2DConditionModel,
        begun: int,
        saved: Saved | None,
    ) -> bool:
        made = assemble(self.workshop, student, teacher, stage.steps)
        descent = self._descent(stage, made)
        beginning = {name: value.clone() for name, value in trained_state(student).items()} if stage.first else {}
        kept = {"stage": stage.first, "teacher": beginning}
        if saved is not None:
            self._restore(descent, made, saved)
        check_room(self.config, list(made.method.trained.values()), self.accelerator.device)
        for update in range(max(begun, stage.first), stage.end):
            if self._to_stop(update, descent, made, kept):
                return False
            self._update(update, descent, made)
            if (update + 1) % self.config.course.save_every == 0 or update + 1 == stage.end:
                self._save(update + 1, descent, made, kept)
        return True

    def _descent(self, stage: Stage, made: Assembled) -> Descent:
        course, accelerator = self.config.course, self.accelerator
        plan = Course(
            self.config.course.updates,
            course.batch,
            course.accumulate,
            course.seed,
            course.clip,
            rate_of(self.config, stage),
            accelerator.process_index,
            accelerator.num_processes,
        )
        return Descent(made.method, made.source, plan, self._optimizer, AcceleratedStepping(accelerator))

    def _optimizer(self, name: str, module: nn.Module) -> torch.optim.Optimizer:
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        kind: Any = torch.optim.AdamW
        if self.config.course.optimizer == "adamw8bit":
            kind = _eight_bit()
        return kind(parameters, lr=self.config.learning_rate, betas=(0.9, 0.999), weight_decay=0.01)

    def _update(self, update: int, descent: Descent, made: Assembled) -> None:
        began = time.monotonic()
        try:
            losses = descent.update(update)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            raise too_large(self.config, self.accelerator.device) from error
        if made.averaged is not None:
            _average(made.averaged, made.student)
        self._spent += time.monotonic() - began
        self._timed += 1
        self.made = update + 1
        self._tell(update + 1, losses, made)

    def _tell(self, update: int, losses: dict[str, float], made: Assembled) -> None:
        if not self.accelerator.is_main_process:
            return
        every = self.config.samples.every
        seen = dict(losses)
        if self._samples is not None and every and update % every == 0:
            seen["diversity"] = self._samples.make(made.method, update)
        self._folder.log(update - 1, seen)
        self.accelerator.log(seen, step=update)
        each = self._spent / self._timed
        self._folder.tell(
            state="training",
            update=update,
            updates=self.config.course.updates,
            seconds_per_update=each,
            seconds_left=each * (self.config.course.updates - update),
            losses=seen,
        )
        self._progress(update)

    def _to_stop(self, update: int, descent: Descent, made: Assembled, kept: dict[str, Any]) -> bool:
        """Whether to end here, the same in every process; everything is saved where somebody wants to or to wait."""
        wishes = self._wishes
        stop, pause = self._agreed(wishes.to_stop), self._agreed(wishes.to_pause)
        if pause and not stop:
            self._save(update, descent, made, kept)
            wishes.wait_while_paused(lambda: self._folder.tell(state="paused", update=update))
            stop = self._agreed(wishes.to_stop)
        if stop:
            self._save(update, descent, made, kept)
        return stop

    def _agreed(self, wish: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return wish
        wishes: Any = self.accelerator.reduce(torch.tensor(float(wish), device=self.accelerator.device))
        return bool(wishes.item())

    def _save(self, update: int, descent: Descent, made: Assembled, kept: dict[str, Any]) -> None:
        """What every process has alike is written last: with it the state is whole.

        Args:
            kept: of the stage: its first update, and its teacher where that is a student.
        """
        state = descent.state_dict()
        self._folder.save_own(update, {"states": state["states"]})
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        shared = {
            **kept,
            "networks": state["networks"],
            "optimizers": state["optimizers"],
            "averaged": {} if made.averaged is None else made.averaged.state_dict(),
            "scaler": {} if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
        }
        self._folder.save_shared(update, shared)
        self._export(made.student, update)

    def _restore(self, descent: Descent, made: Assembled, saved: Saved) -> None:
        shared, own = saved
        descent.load_state_dict({**shared, **own})
        if made.averaged is not None:
            made.averaged.load_state_dict(shared["averaged"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(shared["scaler"])


@torch.no_grad()
def _average(averaged: nn.Module, student: nn.Module) -> None:
    step: Any = get_ema_multi_avg_fn(_AVERAGING)
    step(list(averaged.parameters()), [parameter.detach() for parameter in student.parameters()], None)


def _eight_bit() -> Any:
    try:
        from bitsandbytes.optim import AdamW8bit  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
    except ImportError as error:
        raise DiversityError(
            'course.optimizer is "adamw8bit" and bitsandbytes is not installed; install it in the trainer\'s '
            'environment, or take "adamw".'
        ) from error
    return AdamW8bit  # pyright: ignore[reportUnknownVariableType]
