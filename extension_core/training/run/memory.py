"""Whether a training can fit into memory, asked before its first update."""

from __future__ import annotations

import psutil
import torch
from torch import nn

from extension_core.errors import NotEnoughMemory
from extension_core.training.run.config import Config

_GIB = 1024**3
_ADAM = {"adamw": 8, "adamw8bit": 2}  # bytes that the optimizer keeps for each number that is trained


def bytes_needed(config: Config, modules: list[nn.Module]) -> int:
    """Of gradients and optimizer, for modules that are loaded already; without what their layers pass on."""
    trained = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    return sum(p.numel() * (p.element_size() + _ADAM[config.course.optimizer]) for p in trained.values())


def bytes_free(device: torch.device) -> int:
    """On a device now."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def check_room(config: Config, modules: list[nn.Module], device: torch.device) -> None:
    """Refuse what cannot fit whatever the batch.

    Raises:
        NotEnoughMemory: it says what would.
    """
    needed, free = bytes_needed(config, modules), bytes_free(device)
    if needed > free:
        raise NotEnoughMemory(
            f"Gradients and optimizer take {needed / _GIB:.1f} GiB and {free / _GIB:.1f} GiB are free on {device}; "
            f"{_instead(config)}."
        )


def too_large(config: Config, device: torch.device) -> NotEnoughMemory:
    """What is said where an update has run out of memory."""
    return NotEnoughMemory(f"Memory of {device} ran out at a batch of {config.course.batch}; {_instead(config)}.")


def _instead(config: Config) -> str:
    course = config.course
    ways = [
        (config.student.kind == "unet", 'train a LoRA (student.kind = "lora")'),
        (
            course.batch > 1,
            f"set course.batch to {max(1, course.batch // 2)} and course.accumulate to {course.accumulate * 2}",
        ),
        (not course.gradient_checkpointing, "set course.gradient_checkpointing to true"),
        (course.precision == "no" and torch.cuda.is_available(), 'set course.precision to "bf16"'),
        (course.optimizer == "adamw" and torch.cuda.is_available(), 'set course.optimizer to "adamw8bit"'),
        (config.data.resolution > 512, "set data.resolution to 512"),
    ]
    return next((text for fits, text in ways if fits), "close what else uses it, or take a smaller student.rank")
