"""Which frames of a long run are kept."""

from __future__ import annotations

from dataclasses import dataclass

from extension_core.errors import DiversityError

from .frames import Tag


@dataclass(frozen=True)
class Thinning:
    """Every n-th frame of a section, or the first at or below each of some noise levels.

    First frame, switch and last frame of a section are kept whatever is asked for.

    Attributes:
        every: 1 keeps all.
        timesteps: noise levels, as timesteps of the model's training; where any are given, `every` does not count.

    Raises:
        DiversityError: `every` is less than 1.
    """

    every: int = 1
    timesteps: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.every < 1:
            raise DiversityError(f"Keeping every {self.every}-th frame is not possible; give 1 or more.")

    def keeps(self, nth: int, tag: Tag, previous: Tag | None) -> bool:
        """Whether to keep the section's nth frame (from 0), which comes after `previous` (None: it is the first)."""
        if previous is None or switches(tag, previous):
            return True
        if not self.timesteps:
            return nth % self.every == 0
        now, before = tag.position.timestep, previous.position.timestep
        return any(now <= timestep < before for timestep in self.timesteps)


def switches(tag: Tag, previous: Tag | None) -> bool:
    """Whether the distilled model takes over from the base with this frame."""
    return previous is not None and (previous.phase, tag.phase) == ("base", "distilled")
