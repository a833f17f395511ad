"""Loading a distilled model beside the host's, by the host's own loader, and letting it go."""

from __future__ import annotations

import gc
from collections.abc import Collection, Hashable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from backend import loader, memory_management
from backend.patcher.unet import UnetPatcher
from modules import shared

from extension_core.hosts.forge.second_unet import SecondUnet
from extension_core.hosts.forge.text import OwnText, load_text
from extension_core.weights.naming import UNET_PREFIX, file_keys, named_parameters
from extension_core.weights.out_of_memory import memory_for
from extension_core.weights.reader import TensorSource, open_tensors
from extension_core.weights.selection import Selection, open_origin
from extension_core.weights.style import with_styles


@dataclass
class LoadedModel:
    """A resident second model: the distilled one, or the base beside a distilled model that is loaded.

    Attributes:
        text: its own text encoder, None if the host's conditioning serves.
        notes: what the user should know of it, beside every image.
        ran_out: memory has run out while it was where the host's was.
    """

    unet: SecondUnet
    text: OwnText | None
    notes: tuple[str, ...] = ()
    ran_out: bool = False

    def release(self) -> None:
        """Take it out of the host's memory management and free it; it cannot be used after."""
        for patcher in (self.unet.patcher, *([self.text.patcher] if self.text else [])):
            memory_management.unload_model_clones(patcher)
        del self.unet, self.text
        gc.collect()  # a model and its network loader hold each other
        memory_management.soft_empty_cache()


@torch.inference_mode()
def load_model(selection: Selection) -> LoadedModel:
    """Read a file's U-Net, and its text encoder where it may be used and differs from the host's.

    Raises:
        DiversityError: the file cannot be read, or memory does not suffice.
    """
    with beside_the_loaded(f"the distilled model '{selection.path.name}'"), ExitStack() as stack:
        source = stack.enter_context(open_tensors(selection.header))
        origin = stack.enter_context(open_origin(selection.style)) if selection.style else None
        strength = selection.style.strength if selection.style else 0.0
        unet = load_unet(source, origin, strength)
        module = unet.model.diffusion_model
        own_text = load_text(source, module, origin, strength) if selection.own_text_encoder else None
    return LoadedModel(SecondUnet(unet), own_text)


def beside_the_loaded(what: str) -> AbstractContextManager[None]:
    """While a second model is made, which is called `what`.

    Raises:
        NotEnoughMemory: it does not suffice.
    """
    return memory_for(
        lambda said: (
            f"There is not enough memory for {what} beside the loaded checkpoint ({said}); close other programs or "
            "choose a smaller model."
        )
    )


def base_key() -> tuple[Hashable, ...]:
    """What tells the loaded checkpoint, as it is stored, from any other, whatever has become of its file since."""
    info = shared.sd_model.sd_checkpoint_info
    stored = _host_unet().model.storage_dtype
    return id(shared.sd_model), info.filename, stored


def load_unet(source: TensorSource, origin: TensorSource | None, strength: float) -> UnetPatcher:
    """A file's U-Net, in whichever layout the file is, with what the host's has learnt since its origin."""
    live = [named.name for named in named_parameters(_host_unet().model.diffusion_model, UNET_PREFIX)]
    tensors = read_unet(source, live)
    if origin is not None:
        tensors = with_styles(tensors, host_unet_tensors(), read_unet(origin, live), strength)
    return second_unet(tensors)


def host_unet_tensors() -> dict[str, torch.Tensor]:
    """The host's U-Net as its file has it: parameters [...] by name."""
    return tensors_of(_host_unet().model)


def tensors_of(kmodel: Any) -> dict[str, torch.Tensor]:
    """A `KModel`'s U-Net as its file has it: parameters [...] by name, without networks merged now."""
    merged: Mapping[str, torch.Tensor] = kmodel.lora_loader.backup
    named = kmodel.diffusion_model.named_parameters()
    return {name: merged.get(f"diffusion_model.{name}", parameter).data for name, parameter in named}


def second_unet(tensors: Mapping[str, torch.Tensor]) -> UnetPatcher:
    """A U-Net of the loaded checkpoint's architecture, in the number types that the host would choose for it.

    It shares the host's predictor: both phases are on one noise schedule, whatever is done to it meanwhile.

    Args:
        tensors: parameters [...] by their names inside the host's U-Net.
    """
    config = shared.sd_model.model_config
    # The repository's path matters for other components alone (backend/loader.py, dfdcbab6).
    module = loader.load_huggingface_component(
        config, "unet", "diffusers", "UNet2DConditionModel", loader.dir_path, dict(tensors)
    )
    predictor = _host_unet().model.predictor
    return UnetPatcher.from_model(module, diffusers_scheduler=None, config=config, k_predictor=predictor)


def _host_unet() -> UnetPatcher:
    return shared.sd_model.forge_objects.unet


def read_unet(source: TensorSource, live: Collection[str]) -> dict[str, torch.Tensor]:
    """A file's U-Net, parameters [...] under their names inside the host's model, in whichever layout the file is."""
    keys = file_keys(list(source.keys()), live).items()
    return {name.removeprefix(UNET_PREFIX): source.get(key) for name, key in keys if name.startswith(UNET_PREFIX)}
