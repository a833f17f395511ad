"""Loading a distilled model beside the host's, by the host's own loader, and letting it go."""

from __future__ import annotations

import gc
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from backend import loader, memory_management
from backend.patcher.unet import UnetPatcher
from modules import shared

from extension_core.errors import DiversityError
from extension_core.hosts.forge.second_unet import SecondUnet
from extension_core.hosts.forge.text import OwnText, load_text
from extension_core.weights.naming import UNET_PREFIX, file_keys, named_parameters
from extension_core.weights.reader import TensorSource, open_tensors


@dataclass
class LoadedModel:
    """A resident distilled model.

    Attributes:
        text: its own text encoder, None if the base's conditioning serves.
    """

    unet: SecondUnet
    text: OwnText | None

    def restore(self) -> None:
        """Take it out of the host's memory management and free it; called when it is resident no more."""
        for patcher in (self.unet.patcher, *([self.text.patcher] if self.text else [])):
            memory_management.unload_model_clones(patcher)
        del self.unet, self.text
        gc.collect()  # a model and its network loader hold each other
        memory_management.soft_empty_cache()


@torch.inference_mode()
def load_model(path: Path, own_text_encoder: bool) -> LoadedModel:
    """Read a file's U-Net, and its text encoder where it may be used and differs from the host's.

    Raises:
        DiversityError: the file cannot be read, or memory does not suffice.
    """
    try:
        with open_tensors(path) as source:
            unet = load_unet(source)
            own_text = load_text(source, unet.model.diffusion_model) if own_text_encoder else None
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DiversityError(
            f"There is not enough memory for the distilled model '{path.name}' beside the loaded checkpoint ({error}); "
            "close other programs or choose a smaller model."
        ) from error
    return LoadedModel(SecondUnet(unet), own_text)


def load_unet(source: TensorSource) -> UnetPatcher:
    """A U-Net of the loaded checkpoint's architecture, in the number types that the host would choose for it.

    It shares the host's predictor: both phases are on one noise schedule, whatever is done to it meanwhile.
    """
    engine = shared.sd_model
    base = engine.forge_objects.unet.model
    live = [named.name for named in named_parameters(base.diffusion_model, UNET_PREFIX)]
    tensors = read_unet(source, live)
    # The repository's path matters for other components alone (backend/loader.py, dfdcbab6).
    module = loader.load_huggingface_component(
        engine.model_config, "unet", "diffusers", "UNet2DConditionModel", loader.dir_path, tensors
    )
    return UnetPatcher.from_model(
        module, diffusers_scheduler=None, config=engine.model_config, k_predictor=base.predictor
    )


def read_unet(source: TensorSource, live: Collection[str]) -> dict[str, torch.Tensor]:
    """A file's U-Net under the names it has inside the host's model, in whichever layout the file is."""
    keys = file_keys(list(source.keys()), live).items()
    return {name.removeprefix(UNET_PREFIX): source.get(key) for name, key in keys if name.startswith(UNET_PREFIX)}
