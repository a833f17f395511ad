"""Forge's live model, what may take turns with it, and the resident distilled model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

import torch
from modules import script_callbacks, sd_models, shared

from extension_core.errors import DiversityError
from extension_core.hosts.common.files import base_file
from extension_core.hosts.forge import text
from extension_core.hosts.forge.base_unet import KEPT, KEPT_IN_8_BITS
from extension_core.hosts.forge.distilled_lora import is_online, load_lora
from extension_core.hosts.forge.kinds import check_kind
from extension_core.hosts.forge.loading import LoadedModel, base_key, load_model
from extension_core.weights.live_model import LiveModel
from extension_core.weights.lora_file import is_lora, read_lora
from extension_core.weights.naming import UNET_PREFIX, named_parameters
from extension_core.weights.residency import Residency
from extension_core.weights.selection import Selection

# Process-wide on purpose: the second model stays between images, as the host's own model does.
RESIDENCY: Residency[LoadedModel] = Residency()
# `prediction_type` of a predictor (backend/modules/k_prediction.py, dfdcbab6) in the words of weights.compatibility.
_PREDICTIONS = {"epsilon": "eps", "v_prediction": "v"}


def watch_model_changes() -> None:
    """Let the second model go when the host loads another checkpoint. Call on every execution of the script."""
    base_file.watch_model_changes()
    for residency in (RESIDENCY, KEPT, KEPT_IN_8_BITS):
        script_callbacks.on_model_loaded(lambda _model, residency=residency: residency.drop())


def is_loaded() -> bool:
    """Whether a checkpoint is loaded; Forge loads it with the first image and shows a stand-in until then."""
    return hasattr(sd_models.model_data.sd_model, "forge_objects")


def live_unet() -> Any:
    """The host's `KModel`: U-Net and predictor."""
    return shared.sd_model.forge_objects.unet.model


def check_host_model() -> None:
    """Refuse a loaded model that cannot take turns with another.

    Raises:
        DiversityError: it is not of the SD 1.x, 2.x or SDXL kind, takes what the host has not, has noise levels
            of its own, or its U-Net is stored in a packed format.
    """
    name = shared.sd_model.sd_checkpoint_info.name
    if not hasattr(live_unet().diffusion_model, "input_blocks"):
        raise DiversityError(
            f"Diversity Distillation works with SD 1.x, SD 2.x and SDXL but the loaded checkpoint '{name}' is of "
            "another kind; load one of those."
        )
    check_kind()
    base_file.check_levels()
    stored = live_unet().storage_dtype
    if not isinstance(stored, torch.dtype):
        raise DiversityError(
            f"Diversity Distillation needs plain numbers in the U-Net but '{name}' is stored as {stored}; set "
            "Diffusion in Low Bits to Automatic or one of the float8 kinds."
        )
    if live_unet().predictor.prediction_type not in _PREDICTIONS:
        raise DiversityError(
            f"Diversity Distillation works with eps- and v-prediction but the loaded checkpoint '{name}' predicts "
            f"{live_unet().predictor.prediction_type}; load another one."
        )


def check_hires_modules(p: Any) -> None:
    """Refuse a hires pass with another VAE or text encoder: the host reloads everything for it.

    Raises:
        DiversityError: such modules are asked for.
    """
    selection = getattr(p, "hr_additional_modules", None) if getattr(p, "enable_hr", False) else None
    if not isinstance(selection, list) or "Use same choices" in selection:
        return
    if _file_names(selection) != _file_names(shared.opts.forge_additional_modules):
        raise DiversityError(
            f"Diversity Distillation and the hires VAE / text encoder ({', '.join(selection) or 'the built-in ones'}) "
            "both switch models; set Hires VAE / Text Encoder to 'Use same choices' or untick Diversity Distillation."
        )


def _file_names(paths: Iterable[str]) -> list[str]:
    return sorted(Path(path).name for path in paths)


def live_model() -> LiveModel:
    """The live model as files are compared with it."""
    return LiveModel(unet_shapes(), _prediction(), text.live_shapes, text.as_shapes, text.is_overridden())


def _prediction() -> str:
    return _PREDICTIONS[live_unet().predictor.prediction_type]


def unet_shapes() -> dict[str, tuple[int, ...]]:
    unet = live_unet().diffusion_model
    return {named.name: tuple(named.tensor.shape) for named in named_parameters(unet, UNET_PREFIX)}


def second_model(selection: Selection) -> LoadedModel:
    """The resident second model, loaded if it is not resident yet.

    Raises:
        DiversityError: the file cannot be read or memory does not suffice; the host's model is not touched.
    """
    return RESIDENCY.get(*_loading(selection))


def ran_out(selection: Selection) -> bool:
    """Whether memory has run out with this second model; forgotten with it."""
    resident = RESIDENCY.resident(_loading(selection)[0])
    return resident is not None and resident.ran_out


def _loading(selection: Selection) -> tuple[tuple[Hashable, ...], Callable[[], LoadedModel]]:
    """(what the wanted model depends on, its load)."""
    lora = read_lora(selection.header, list(unet_shapes())) if is_lora(selection.header.shapes) else None
    key = (
        *selection.key(lora is not None),
        *base_key(),
        *((is_online(), repr(lora.stated)) if lora is not None else ()),
    )
    if lora is None:
        return key, lambda: load_model(selection)
    return key, lambda: load_lora(lora, selection.lora_strength, selection.own_text_encoder)
