"""From a configuration file to a running training: everything is opened and checked before the first update."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from diffusers import UNet2DConditionModel

from extension_core.errors import DiversityError
from extension_core.training.assembly import Sized, Workshop
from extension_core.training.config import Config, read_config
from extension_core.training.denoiser import Conditioning
from extension_core.training.describe import metadata_of
from extension_core.training.engine import Ending, Training
from extension_core.training.run_folder import RunFolder
from extension_core.training.samples import Samples
from extension_core.training.threshold import LatentRange
from extension_core.training.wishes import Wishes

_MEASURED = 1024  # latents on which the range of a threshold is measured
