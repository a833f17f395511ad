"""What a request may not ask for beside two models that take turns."""

from __future__ import annotations

from typing import Any

from extension_core.errors import DiversityError
from extension_core.hosts.common.processing.scripts import selected_file


def check_conflicts(p: Any) -> None:
    """Refuse what switches models by itself.

    Raises:
        DiversityError: the native Refiner, a hires checkpoint or a script with a sampler of its own is asked for.
    """
    if selected_file(p) == "img2imgalt.py":
        raise DiversityError(
            "The script 'img2img alternative test' makes its image with a sampler of its own, in which models cannot "
            "take turns; choose another script or untick Diversity Distillation."
        )
    refiner = getattr(p, "refiner_checkpoint", None)
    if refiner not in (None, "", "None", "none"):
        raise DiversityError(
            f"Diversity Distillation and the Refiner ('{refiner}') both switch models; switch one of them off."
        )
    hires = getattr(p, "hr_checkpoint_name", None) if getattr(p, "enable_hr", False) else None
    if hires not in (None, "", "Use same checkpoint"):
        raise DiversityError(
            f"Diversity Distillation and the hires checkpoint '{hires}' both switch models; set Hires checkpoint to "
            "'Use same checkpoint' or untick Diversity Distillation."
        )
