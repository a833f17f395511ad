"""May this file take turns with that model? Answered from names and shapes, before any tensor is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from extension_core.errors import DiversityError
from extension_core.weights.naming import TEXT_PREFIXES, UNET_PREFIX, with_prefix

Shapes = Mapping[str, tuple[int, ...]]

_INPUT_CONV = UNET_PREFIX + "input_blocks.0.0.weight"
_CROSS_ATTENTION = "attn2.to_k.weight"
_GUIDANCE_EMBEDDING = "cond_proj.weight"
# By the channels into their U-Nets (Stability's and Runway's configurations).
_KINDS = {
    4: "a text-to-image model",
    5: "a depth model",
    7: "an upscaler",
    8: "an InstructPix2Pix model",
    9: "an inpainting model",
}
_ARCHITECTURES = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL", 1280: "SDXL refiner"}


def architecture(shapes: Shapes) -> str:
    """Name of the architecture a U-Net's shapes belong to."""
    return architecture_of_width(
        {shape[1] for name, shape in shapes.items() if name.endswith(_CROSS_ATTENTION) and len(shape) == 2}
    )


def architecture_of_width(widths: Collection[int]) -> str:
    """Name of the architecture whose cross attention reads prompts of this width."""
    if len(widths) != 1:
        return "an unknown architecture"
    width = next(iter(widths))
    return _ARCHITECTURES.get(width, f"an architecture with context width {width}")


def input_channels(shapes: Shapes) -> int:
    """Channels into a U-Net: the latent's 4, and those of the pictures that some kinds of models take beside it."""
    shape = shapes.get(_INPUT_CONV, (0, 4))
    return shape[1] if len(shape) > 1 else 0


def check_unet(file_name: str, file_shapes: Shapes, host_shapes: Shapes) -> None:
    """Refuse a file whose U-Net is not the host model's.

    Args:
        file_shapes: canonical name -> shape, of the whole file.
        host_shapes: canonical name -> shape of the host model's U-Net.

    Raises:
        DiversityError: the file has no U-Net, is of another kind, or lacks tensors (how many, the first three).
    """
    found = with_prefix(file_shapes, UNET_PREFIX)
    if not found:
        raise DiversityError(
            f"The distilled model '{file_name}' is none: it holds no U-Net (no '{UNET_PREFIX}*' tensors, nor "
            "diffusers' 'down_blocks.*') and no LoRA; choose a checkpoint, a U-Net or a LoRA."
        )
    _check_guidance_embedding(file_name, found)
    _check_inputs(file_name, file_shapes, host_shapes)
    unet = {name: file_shapes[name] for name in found}
    missing = sorted(set(host_shapes) - found)
    mismatched = sorted(name for name in found & set(host_shapes) if unet[name] != host_shapes[name])
    if not (missing or mismatched):
        return
    ours, theirs = architecture(host_shapes), architecture(unet)
    if ours != theirs:
        raise DiversityError(
            f"The distilled model '{file_name}' is {theirs} but the loaded checkpoint is {ours}; choose two models of "
            "the same architecture."
        )
    for what, names in (("lacks", missing), ("has other shapes for", mismatched)):
        if names:
            raise DiversityError(
                f"The distilled model '{file_name}' {what} {len(names)} U-Net tensors of the loaded checkpoint, first "
                f"{', '.join(names[:3])}; choose a complete file of the same architecture."
            )


def extra_tensors_note(file_name: str, file_shapes: Shapes, host_shapes: Shapes) -> tuple[str, ...]:
    """What the user should know of U-Net tensors that the host's model has no place for; as the host, we skip them."""
    extra = sorted(with_prefix(file_shapes, UNET_PREFIX) - set(host_shapes))
    if not extra:
        return ()
    note = (
        f"The distilled model '{file_name}' has {len(extra)} U-Net tensors that the loaded checkpoint lacks, first "
        f"{', '.join(extra[:3])}; they are left out."
    )
    return (note,)


def _check_guidance_embedding(file_name: str, found: Collection[str]) -> None:
    if any(name.endswith(_GUIDANCE_EMBEDDING) for name in found):
        raise DiversityError(
            f"The distilled model '{file_name}' wants its guidance scale as an input (cond_proj), as the full LCM "
            "U-Nets do, and WebUIs have none to give; choose the LCM LoRA instead."
        )


def _check_inputs(file_name: str, file_shapes: Shapes, host_shapes: Shapes) -> None:
    second, base = input_channels(file_shapes), input_channels(host_shapes)
    if second != base:
        theirs, ours = (_KINDS.get(count, "a model of an unknown kind") for count in (second, base))
        raise DiversityError(
            f"The distilled model '{file_name}' is {theirs} ({second} input channels) but the loaded checkpoint is "
            f"{ours} ({base} input channels); choose two of the same kind, or a LoRA."
        )


def prediction_type(metadata: Mapping[str, str], shapes: Shapes, config_text: str | None) -> str | None:
    """'v', 'eps', or None if the file does not say.

    Looks where the hosts look: the yaml beside the file, the `v_pred` marker key, and modelspec's metadata.
    """
    if config_text is not None:
        return "v" if 'parameterization: "v"' in config_text or "parameterization: v" in config_text else "eps"
    if "v_pred" in shapes:
        return "v"
    stated = str(metadata.get("modelspec.prediction_type", "")).lower()
    return {"v": "v", "v_prediction": "v", "epsilon": "eps", "eps": "eps"}.get(stated)


def check_prediction(file_name: str, second: str | None, base: str) -> None:
    """Refuse to mix eps- and v-prediction.

    Raises:
        DiversityError: the file says that it predicts otherwise than the loaded checkpoint.
    """
    if second is not None and second != base:
        raise DiversityError(
            f"The distilled model '{file_name}' predicts {second} but the loaded checkpoint predicts {base}; choose "
            "two models with the same prediction type."
        )


def check_text_encoder(file_name: str, choice: str, file_shapes: Shapes, host_shapes: Shapes) -> bool:
    """Whether the file's own text encoder can be considered at all.

    Raises:
        DiversityError: `own` was asked for and the file has none, or the file's is incomplete.
    """
    found = with_prefix(file_shapes, TEXT_PREFIXES)
    usable = {name for name in host_shapes if file_shapes.get(name) == host_shapes[name]}
    # The hosts add parameters of their own (SD 2's logit_scale may be absent from files), so a few may be missing.
    complete = bool(found) and all(name in usable or name.endswith("logit_scale") for name in host_shapes)
    if choice == "base" or (not found and choice == "auto"):
        return False
    if not found:
        raise DiversityError(
            f"text_encoder is 'own' but the distilled model '{file_name}' has no text encoder; set text_encoder to "
            "auto or base."
        )
    if not complete:
        missing = sorted(set(host_shapes) - usable)
        raise DiversityError(
            f"The text encoder of the distilled model '{file_name}' lacks {len(missing)} tensors, first "
            f"{', '.join(missing[:3])}; set text_encoder to base."
        )
    return True
