"""What a model file is by its header, whatever is loaded: kept as long as the file stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from extension_core.errors import DiversityError
from extension_core.weights.architectures import UNKNOWN, architecture, other_architecture
from extension_core.weights.compatibility import Shapes, check_by_itself, kind_of, prediction_type
from extension_core.weights.layouts import UNET_PREFIX, canonical_unet_keys
from extension_core.weights.lora_checks import check_by_itself as check_lora_by_itself
from extension_core.weights.lora_checks import lora_architecture
from extension_core.weights.lora_file import is_lora, read_lora
from extension_core.weights.reader import Header

Kind = Literal["checkpoint", "unet", "lora", ""]

# The first convolution in each layout; a VAE has one of the second name, after a prefix of its own.
_FIRST = (f"{UNET_PREFIX}input_blocks.0.0.weight", f"{UNET_PREFIX}conv_in.weight")
_OTHER_PARTS = ("first_stage_model.", "cond_stage_model.", "conditioner.")


@dataclass(frozen=True)
class Facts:
    """What can be told of a file without its tensors.

    Attributes:
        kind: "" for what is no model of a kind known here.
        architecture: as `architectures` names it, "" where the header does not say.
        channels: into its U-Net, 0 where that is not known or, as with a LoRA, does not count.
        prediction: "v" or "eps", None where the file does not say.
        problem: why it can take turns with no model, "" if nothing speaks against it.
    """

    kind: Kind = ""
    architecture: str = ""
    channels: int = 0
    prediction: str | None = None
    problem: str = ""


def facts_of(header: Header, config_text: str | None = None) -> Facts:
    """Of a file whose header was read.

    Args:
        config_text: of the yaml beside it, None if there is none.
    """
    if is_lora(header.shapes):
        return _of_lora(header)
    names = canonical_unet_keys(header.shapes, ())
    unet = {name: header.shapes[key] for key, name in names.items()}
    if not unet:
        found = other_architecture(header.shapes)
        return Facts("", found or "", problem=f"it is for {found}" if found else "it holds no U-Net and no LoRA")
    kind: Kind = "checkpoint" if any(key.startswith(_OTHER_PARTS) for key in header.shapes) else "unet"
    problem = _problem(header, unet)
    prediction = prediction_type(header.metadata, header.shapes, config_text)
    return Facts(kind, _known(architecture(unet)), _channels(unet), prediction, problem)


def facts_of_loaded(unet: Shapes, prediction: str) -> Facts:
    """Of a live U-Net, by its tensors' canonical names."""
    return Facts("checkpoint", _known(architecture(unet)), _channels(unet), prediction)


def _of_lora(header: Header) -> Facts:
    try:
        lora = read_lora(header, ())
        found = _known(lora_architecture(lora))
        check_lora_by_itself(lora)
    except DiversityError as error:
        return Facts("lora", problem=str(error))
    return Facts("lora", found)


def _problem(header: Header, unet: Shapes) -> str:
    try:
        check_by_itself(header.path.name, unet.keys(), header.shapes)
    except DiversityError as error:
        return str(error)
    return ""


def _known(found: str) -> str:
    return "" if found == UNKNOWN else found


def _channels(unet: Mapping[str, tuple[int, ...]]) -> int:
    shape = next((unet[name] for name in _FIRST if name in unet), ())
    return shape[1] if len(shape) == 4 else 0


def misfit(file: Facts, loaded: Facts) -> str | None:
    """Why a file cannot take turns with the loaded checkpoint: "" if it can, None where its header does not say.

    What is told here is told of architectures; the plan of a request looks at every tensor.
    """
    if file.problem:
        return file.problem
    if not file.architecture or not loaded.architecture:
        return None
    if file.architecture != loaded.architecture:
        return f"it is {file.architecture}, and the loaded checkpoint {loaded.architecture}"
    if file.channels and loaded.channels and file.channels != loaded.channels:
        return f"it is {kind_of(file.channels)}, and the loaded checkpoint {kind_of(loaded.channels)}"
    if file.kind != "lora" and loaded.prediction and file.prediction not in (None, loaded.prediction):
        return f"it predicts {file.prediction}, and the loaded checkpoint {loaded.prediction}"
    return ""
