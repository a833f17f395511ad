"""Stop here: one of the frames made so far becomes the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from modules import devices, shared

from extension_core.hosts.common.preview.recorded import StopRequest
from extension_core.hosts.common.processing import infotext_entries
from extension_core.options.fields import INFOTEXT_PREFIX
from extension_core.trajectory.frames import Section, Tag
from extension_core.trajectory.store import Generation

_INFOTEXT_KEY = f"{INFOTEXT_PREFIX} stopped at"


class Stopping:
    """Ends one request with the frame that somebody chose.

    The run is ended as the host ends an interrupted one, but its flag is not set: files are saved, and masks and
    colours are treated, as after any other run. The frame then takes the place of what the run returned. Batches that
    have not begun are not made, which the host has a flag for (`stopping_generation`, modules/processing.py, 1.10.1).
    """

    def __init__(self, p: Any, generation: Generation, stop: StopRequest) -> None:
        self._p, self._generation, self._stop = p, generation, stop
        self._newest: tuple[int | None, Tag, torch.Tensor] | None = None
        self._made: dict[Section, int] = {}

    def hires(self, original: Callable[..., Any], samples: Any, *rest: Any) -> Any:
        """The hires pass, left out once somebody has asked."""
        return samples if self._stop.asked else original(samples, *rest)

    def newest(self, number: int | None, tag: Tag, x0: torch.Tensor) -> None:
        """A frame, x0 [B, C, h, w], has been made; samplers change its tensor in place afterwards (LCM)."""
        self._newest = number, tag, x0.detach().clone()
        self._made[tag.section] = self._made.get(tag.section, 0) + 1

    def steps_made(self, section: Section) -> int:
        """How many frames a section has so far, kept or not."""
        return self._made.get(section, 0)

    def due(self, section: Section) -> bool:
        """Whether the run in this section is to end now: somebody has asked, and its batch has a frame."""
        due = self._stop.asked and self._newest is not None and self._newest[1].section.batch == section.batch
        if due:
            shared.state.stopping_generation = True
        return due

    def result(self, samples: Any) -> Any:
        """What `p.sample` is to return: the chosen frame if there is one, in latents [B, C, H, W]."""
        if not self._stop.asked or self._newest is None or self._newest[1].section.batch != self._p.iteration:
            return samples
        tag, latent = self._chosen()
        position = tag.position
        at = f"{tag.section.name} step {position.step + 1} of {position.steps}, sigma {position.sigma:.4g}"
        infotext_entries.tell(self._p, {_INFOTEXT_KEY: at})
        if tag.phase == "base":
            infotext_entries.ended_before_the_switch(self._p, "stopped")
        return self._behind_the_mask(latent.to(devices.device))

    def _behind_the_mask(self, latent: torch.Tensor) -> torch.Tensor:
        """As the host does at the end of `sample` in img2img (modules/processing.py, 1.10.1)."""
        p = self._p
        if getattr(p, "mask", None) is None or getattr(p, "nmask", None) is None:
            return latent
        return latent * p.nmask + p.init_latent * p.mask

    def _chosen(self) -> tuple[Tag, torch.Tensor]:
        assert self._newest is not None
        number, tag, x0 = self._newest
        asked = self._stop.number
        frame = self._generation.recorder.frame(asked) if asked not in (None, number) else None
        if frame is not None and frame.info.tag.section.batch == tag.section.batch:
            return frame.info.tag, frame.latents().to(x0.dtype)
        return tag, x0
