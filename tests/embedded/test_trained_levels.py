"""DMD2 at the timesteps of its training: what the U-Net is really told, on both kinds of host and in both phases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from tests.embedded.conftest import FLAVOUR
from tests.embedded.ours import Ours, ours

__all__ = ["ours"]
DMD2 = {"family": "dmd2", "switch_step": 2}


@contextmanager
def timesteps() -> Iterator[list[float]]:
    """The timestep of each call of a U-Net, while it is open."""
    from modules import shared

    model = shared.sd_model.forge_objects.unet.model if FLAVOUR == "forge" else shared.sd_model.model
    kind, told = type(model.diffusion_model), list[float]()

    def before(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(module, kind):
            told.append(float(args[1].max()))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(before)
    try:
        yield told
    finally:
        handle.remove()


@pytest.mark.parametrize(("schedule", "levels"), [("trained", [999, 749, 499, 249]), ("family", [999, 759, 499, 259])])
def test_the_unet_is_told_the_planned_timesteps(ours: Ours, schedule: str, levels: list[int]) -> None:
    with timesteps() as told:
        answer = ours.run({**DMD2, "schedule": schedule})
    assert answer.status == 200, answer.body
    assert told == levels
    assert f"base 999 -> {levels[1]} -> 499, distilled 499 -> {levels[3]} -> 0" in answer.infotext
    assert ("DD schedule: trained" in answer.infotext) == (schedule == "trained")


def test_a_request_after_it_has_the_hosts_own_levels_again(ours: Ours) -> None:
    request = {"sampler_name": "LCM", "scheduler": "SGM Uniform", "cfg_scale": 1}
    with timesteps() as before:
        plain = ours.plain(**request)
    trained = ours.run({**DMD2, "schedule": "trained"})
    with timesteps() as after:
        assert ours.plain(**request).equals(plain)
    assert before == after
    assert not trained.equals(ours.run({**DMD2, "schedule": "family"}))


def test_a_hires_pass(ours: Ours) -> None:
    """Six steps of which the host leaves out two, for the strength; none of these is one of LCM's timesteps but 499."""
    hires = {"enable_hr": True, "hr_scale": 1.0, "hr_upscaler": "Latent", "denoising_strength": 0.6}
    if FLAVOUR == "forge":
        hires["hr_additional_modules"] = ["Use same choices"]
    with timesteps() as told:
        answer = ours.run({"family": "dmd2", "schedule": "trained"}, **hires)
    assert answer.status == 200, answer.body
    assert told == [999, 749, 499, 249, 666, 499, 332, 166]
