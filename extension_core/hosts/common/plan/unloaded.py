"""Plans before the chosen checkpoint is loaded, as Forge does with the next image: over the schedule of nearly all.

Which model makes which step depends on the family alone, so it can be told; levels of the host's own schedules cannot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from extension_core.errors import DiversityError
from extension_core.hosts.common.files.loaded_checkpoint import is_of_next_image
from extension_core.hosts.noise import Kind, Noise
from extension_core.hosts.protocols import Host
from extension_core.sampling.schedule import NoiseSchedule
from extension_core.weights.placement import Placed


class NotLoaded(DiversityError):
    """Nobody knows the noise levels yet; nothing is wrong with the request."""

    def __init__(self) -> None:
        super().__init__("The plan is shown once the checkpoint is loaded, which the next image does.")


def at_next_image(host: Host, checkpoint: str = "") -> Host:
    """The host as the next image finds it: without a model as long as another checkpoint is chosen than is loaded.

    Args:
        checkpoint: the one that a page has chosen; without it that of the host's setting.
    """
    is_current = host.is_loaded() and is_of_next_image(checkpoint)
    return host if is_current else cast("Host", Unloaded(host))


class Unloaded:
    """A host without a checkpoint, whose noise schedule is taken to be Stable Diffusion's."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def is_loaded(self) -> bool:
        return False

    def check_request(self, p: Any) -> None:
        """Nobody knows yet what the model cannot do."""
        del p

    def noise(self, live: bool = False) -> Noise:
        """The schedule of SD 1.x, 2.x and SDXL, of which families' levels are made; the host's own are not."""
        del live
        schedule = NoiseSchedule.stable_diffusion()
        sigmas = torch.from_numpy(schedule.sigmas)
        return Noise(1 / (1 + sigmas**2), sigmas, schedule, _no_levels)

    def expected_placement(self, path: Path | None, p: Any, residency: str) -> Placed:
        """Nobody knows yet."""
        del path, p, residency
        return Placed("", "")


def _no_levels(kind: Kind) -> Any:
    raise NotLoaded
