"""How accelerate makes gradients and uses them: in mixed precision, on one device or on several."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

from extension_core.training.descent import parameters_of


class AcceleratedStepping:
    """A `Stepping` through an accelerator.

    The gradients are averaged here, not by torch's DistributedDataParallel: that counts on every backward pass reaching
    all parameters of a module, and the losses of matching reach those of student and critic by turns.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def backward(self, value: Tensor) -> None:
        """Add the gradients of a scalar, scaled where the precision wants it."""
        self._accelerator.backward(value)

    def step(self, optimizer: torch.optim.Optimizer, clip: float) -> None:
        """One step along the mean of all processes' gradients, whose norm is at most `clip`."""
        parameters = parameters_of(optimizer)
        if self._accelerator.num_processes > 1:
            for parameter in parameters:
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self._accelerator.reduce(own, reduction="mean")
        self._accelerator.clip_grad_norm_(parameters, clip)
        optimizer.step()
