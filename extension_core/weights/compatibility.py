"""May this file take turns with that model? Answered from names and shapes, before any tensor is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from extension_core.errors import DiversityError
from extension_core.weights.architectures import architecture, by_depth, other_architecture
from extension_core.weights.naming import TEXT_PREFIXES, UNET_PREFIX, with_prefix

Shapes = Mapping[str, tuple[int, ...]]

_INPUT_CONV = UNET_PREFIX + "input_blocks.0.0.weight"
_OUTPUT_CONV = UNET_PREFIX + "out.2.weight"
_GUIDANCE_EMBEDDING = "cond_proj.weight"
# By the channels into their U-Nets (Stability's and Runway's configurations).
_KINDS = {
    4: "a text-to-image model",
    5: "a depth model",
    7: "an upscaler",
    8: "an InstructPix2Pix model",
    9: "an inpainting model",
}
_PREDICTIONS = {"v": "v", "v_prediction": "v", "true": "v", "epsilon": "eps", "eps": "eps", "false": "eps"}
# Keys beside the weights that stand for noise levels of their own (ComfyUI's supported_models.py).
_OTHER_LEVELS = {"edm_vpred.sigma_max": "CosXL, which predicts v", "edm_mean": "Playground 2.5, which predicts x0"}


def input_channels(shapes: Shapes) -> int:
    """Channels into a U-Net: the latent's 4, and those of the pictures that some kinds of models take beside it."""
    shape = shapes.get(_INPUT_CONV, (0, 4))
    return shape[1] if len(shape) > 1 else 0


def kind_of(channels: int) -> str:
    """What a model with so many input channels is."""
    return _KINDS.get(channels, "a model of an unknown kind")


def other_levels(shapes: Shapes) -> str:
    """What a file is that stands for noise levels of its own, "" if it does not."""
    found = ((key, what) for key, what in _OTHER_LEVELS.items() if key in shapes)
    return next((f"{what} over noise levels of its own (EDM's, '{key}')" for key, what in found), "")


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
        if (other := other_architecture(file_shapes)) is not None:
            raise DiversityError(
                f"The distilled model '{file_name}' is for {other} but the loaded checkpoint is "
                f"{architecture(host_shapes)}; choose two models of the same architecture."
            )
        raise DiversityError(
            f"The distilled model '{file_name}' is none: it holds no U-Net (no '{UNET_PREFIX}*' tensors, nor "
            "diffusers' 'down_blocks.*') and no LoRA; choose a checkpoint, a U-Net or a LoRA."
        )
    check_by_itself(file_name, found, file_shapes)
    _check_channels(file_name, file_shapes, host_shapes)
    unet = {name: file_shapes[name] for name in found}
    missing = sorted(set(host_shapes) - found)
    mismatched = sorted(name for name in found & set(host_shapes) if unet[name] != host_shapes[name])
    deeper = by_depth(unet) not in (None, by_depth(host_shapes))
    if not (missing or mismatched or deeper):
        return
    ours, theirs = architecture(host_shapes), other_architecture(file_shapes) or architecture(unet)
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


def check_by_itself(file_name: str, unet_names: Collection[str], file_shapes: Shapes) -> None:
    """Refuse a U-Net that no WebUI's base can take turns with, whatever that base is.

    Args:
        unet_names: those of the file's tensors that are its U-Net's.

    Raises:
        DiversityError: it wants its guidance as an input, or has noise levels of its own.
    """
    _check_guidance_embedding(file_name, unet_names)
    _check_levels(file_name, file_shapes)


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


def _check_levels(file_name: str, file_shapes: Shapes) -> None:
    if what := other_levels(file_shapes):
        raise DiversityError(
            f"The distilled model '{file_name}' is {what}, which are not the loaded checkpoint's; choose a model that "
            "was made from an ordinary one."
        )


def _check_channels(file_name: str, file_shapes: Shapes, host_shapes: Shapes) -> None:
    second, base = input_channels(file_shapes), input_channels(host_shapes)
    if second != base:
        raise DiversityError(
            f"The distilled model '{file_name}' is {kind_of(second)} ({second} input channels) but the loaded "
            f"checkpoint is {kind_of(base)} ({base} input channels); choose two of the same kind, or a LoRA."
        )
    second, base = (next(iter(shapes.get(_OUTPUT_CONV, (4,))), 0) for shapes in (file_shapes, host_shapes))
    if second != base:
        raise DiversityError(
            f"The distilled model '{file_name}' makes latents of {second} channels but the loaded checkpoint {base}; "
            "choose two models that share a VAE."
        )


def prediction_type(metadata: Mapping[str, str], shapes: Shapes, config_text: str | None) -> str | None:
    """'v', 'eps', or None if the file does not say.

    Looks where the hosts look: the yaml beside the file, the `v_pred` marker key, and modelspec's metadata; and where
    ComfyUI (`predict_key`) and trainers (`ss_v_parameterization`) say it.
    """
    if config_text is not None:
        return "v" if 'parameterization: "v"' in config_text or "parameterization: v" in config_text else "eps"
    if "v_pred" in shapes:
        return "v"
    for key in ("modelspec.prediction_type", "modelspec.predict_key", "ss_v_parameterization"):
        if (found := _PREDICTIONS.get(str(metadata.get(key, "")).lower())) is not None:
            return found
    return None


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
