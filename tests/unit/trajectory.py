"""What the tests of recordings share: tags, a card that answers late, and recordings of plain colours."""

from __future__ import annotations

import torch
from PIL import Image

from extension_core.sampling.schedule import NoiseSchedule
from extension_core.trajectory.frame_pictures import Decoder
from extension_core.trajectory.frames import PhaseName, Position, Section, Tag
from extension_core.trajectory.recorder import Recorder

FIRST = Section("first pass")
SCHEDULE = NoiseSchedule.stable_diffusion()


def tag(step: int = 0, steps: int = 4, phase: PhaseName = "", section: Section = FIRST) -> Tag:
    timestep = 999 * (steps - step) / steps
    model = {"base": "sdxl base 1.0", "distilled": "dmd2 4-step unet", "": "sdxl base 1.0"}[phase]
    return Tag(section, Position(step, steps, timestep, SCHEDULE.sigma(timestep)), phase, 1.0, model)


def hybrid(steps: int = 4, switch: int = 1, section: Section = FIRST) -> list[Tag]:
    return [tag(step, steps, "base" if step < switch else "distilled", section) for step in range(steps)]


class DeferredCopier:
    """Makes a copy when somebody waits for it, or when `run` is called; until then the memory holds nonsense."""

    def __init__(self) -> None:
        self.events: list[DeferredEvent] = []

    def copy(self, source: torch.Tensor) -> tuple[torch.Tensor, DeferredEvent]:
        target = torch.full_like(source, float("nan"))
        # Work on one stream is done in order: a copy sees what the source was when the copy was asked for.
        self.events.append(DeferredEvent(target, source.clone()))
        return target, self.events[-1]

    def run(self) -> None:
        for event in self.events:
            event.synchronize()


class DeferredEvent:
    def __init__(self, target: torch.Tensor, source: torch.Tensor) -> None:
        self.target, self.source = target, source
        self.made = self.waited = False

    def query(self) -> bool:
        return self.made

    def synchronize(self) -> None:
        self.waited = True
        if not self.made:
            self.target.copy_(self.source)
            self.made = True


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def colours(images: int = 2, level: float = 0.5) -> torch.Tensor:
    """Latents [images, 3, 8, 12] of one colour each, which `COLOURS` makes pictures of 96 x 64 of."""
    return torch.stack([torch.full((3, 8, 12), level * (image + 1) / images) for image in range(images)])


def picture_of(latent: torch.Tensor) -> Image.Image:
    pixels = (latent.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize((pixels.shape[1] * 8, pixels.shape[0] * 8))


def plain() -> Decoder:
    return Decoder("plain", picture_of)


def recorded(tags: list[Tag], images: int = 2) -> Recorder:
    recorder = Recorder()
    for number, each in enumerate(tags):
        recorder.add(each, colours(images, (number + 1) / len(tags)))
    return recorder
