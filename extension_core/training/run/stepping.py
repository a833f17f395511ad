"""How accelerate makes gradients and uses them: in mixed precision, on one device or on several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from extension_core.training.descent import parameters_of


class AcceleratedStepping:
    """A `Stepping` through an accelerator.

    The gradients are averaged here, not by torch's DistributedDataParallel: that counts on every backward pass reaching
    all parameters of a module, and the losses of matching reach those of student and critic by turns. Nor are the
    optimizers accelerate's: in half precision each of its would change the scale under which the others' gradients
    were made.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def backward(self, value: Tensor) -> None:
        """Add the gradients of a scalar, scaled where the precision wants it."""
        self._accelerator.backward(value)

    def step(self, optimizers: Sequence[torch.optim.Optimizer], clip: float) -> None:
        """One step of each along the mean of all processes' gradients, whose norm is at most `clip`."""
        scaler = self._accelerator.scaler
        for optimizer in optimizers:
            if scaler is not None:
                scaler.unscale_(optimizer)
            if self._accelerator.num_processes > 1:
                self._average(parameters_of(optimizer))
            nn.utils.clip_grad_norm_(parameters_of(optimizer), clip)
        # Only now: the scale is another after `update`, and the gradients of all were made under the same.
        for optimizer in optimizers:
            optimizer.step() if scaler is None else scaler.step(optimizer)
        if scaler is not None:
            scaler.update()

    def _average(self, parameters: Sequence[Tensor]) -> None:
        for parameter in parameters:
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            mean: Any = self._accelerator.reduce(own, reduction="mean")
            parameter.grad = mean
