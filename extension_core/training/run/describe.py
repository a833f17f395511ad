"""What a student's file says of itself, so that the accordion's `auto` samples it as it was trained."""

from __future__ import annotations

from extension_core import __version__
from extension_core.training.run.assembly import timesteps_of
from extension_core.training.run.config import Config

# The family under which the extension samples a method's students (extension_core/sampling/families.py).
FAMILIES = {"lcm": "lcm", "dmd2": "dmd2", "dp-dmd": "dmd2", "pd": "pd"}


def metadata_of(config: Config, updates: int) -> dict[str, str]:
    """Safetensors metadata of a student after so many updates."""
    method, priors = config.method, config.priors
    shares = f"{priors.forward:g}, {priors.teacher:g}, {priors.student:g}"
    return {
        "diversity_distillation.family": FAMILIES[method.name],
        "diversity_distillation.timesteps": ",".join(map(str, timesteps_of(config))),
        "diversity_distillation.method": method.name,
        "diversity_distillation.states": f"forward, teacher, student: {shares}",
        "diversity_distillation.threshold": config.threshold.kind,
        "diversity_distillation.updates": str(updates),
        "modelspec.title": config.out.name,
        "modelspec.description": (
            f"{FAMILIES[method.name]} student of {config.base.checkpoint.stem} for {method.steps} steps"
        ),
        "ss_output_name": config.out.name,
        "ss_sd_model_name": config.base.checkpoint.name,
        "ss_training_comment": f"Diversity Distillation {__version__}",
    }
