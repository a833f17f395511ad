"""UniPC."""

from modules.models.diffusion.uni_pc import uni_pc
from modules.models.diffusion.uni_pc.uni_pc import NoiseScheduleVP, UniPC

__all__ = ["NoiseScheduleVP", "UniPC", "uni_pc"]
