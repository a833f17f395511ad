"""One call of the denoiser: the U-Net's patcher is looked up anew, with its model, controls and options.

Conditioning is a list of dicts, one for each part of the prompts, whose `model_conds` are the model's arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from backend import memory_management, utils

COND, UNCOND = 0, 1
_NOTHING = 1e-37
_MOST_REPEATS = 4
_TEXT = "c_crossattn"


def compile_conditions(cond: torch.Tensor | None) -> list[dict[str, Any]] | None:
    """A step's conditioning [B, T, D] for one prompt a picture."""
    return None if cond is None else [{"model_conds": {_TEXT: cond}}]


def compile_weighted_conditions(
    cond: torch.Tensor, weights: Sequence[Sequence[tuple[int, float]]]
) -> list[dict[str, Any]]:
    """One entry for each part of prompts joined by AND; `weights` are (row, weight) by picture and part. A part's
    weight is the last picture's.
    """
    rows_and_weight = [([row for row, _ in parts], parts[-1][1]) for parts in zip(*weights)]
    return [{"model_conds": {_TEXT: cond[rows]}, "strength": weight} for rows, weight in rows_and_weight]


class _Part(NamedTuple):
    """What runs for one part of the prompts, or for the negative prompts: tensors with a row for each picture."""

    kind: int
    strength: float
    conds: dict[str, torch.Tensor]
    control: Any

    def goes_with(self, other: _Part) -> bool:
        """In one call. Prompts of unequal length do where repeating them makes them equal: attention counts none."""
        if self.control is not other.control or self.conds.keys() != other.conds.keys():
            return False
        lengths = [part.conds[_TEXT].shape[1] for part in (self, other)]
        return math.lcm(*lengths) <= _MOST_REPEATS * min(lengths)


def _part(entry: dict[str, Any], kind: int, x: torch.Tensor) -> _Part:
    """Conditioning is cut to the pictures, or repeated from the start."""
    rows = torch.arange(len(x))
    ready = {name: cond[rows % len(cond)].to(x.device) for name, cond in entry["model_conds"].items()}
    return _Part(kind, entry.get("strength", 1.0), ready, entry.get("control"))


def _together(batch: list[_Part]) -> dict[str, Any]:
    """The conditioning of several parts under each other."""
    length = math.lcm(*(part.conds[_TEXT].shape[1] for part in batch))
    texts = [part.conds[_TEXT].repeat(1, length // part.conds[_TEXT].shape[1], 1) for part in batch]
    others = {name: torch.cat([part.conds[name] for part in batch]) for name in batch[0].conds if name != _TEXT}
    return {_TEXT: torch.cat(texts), **others}


def _transformer_options(model_options: dict[str, Any], batch: list[_Part], timestep: torch.Tensor) -> dict[str, Any]:
    kinds = [part.kind for part in batch]
    of_rows = [kind for kind in kinds for _ in timestep]
    return {
        **model_options.get("transformer_options", {}),
        "cond_or_uncond": kinds,
        "sigmas": timestep,
        "cond_mark": torch.tensor(of_rows).to(timestep),
        "cond_indices": [row for row, kind in enumerate(of_rows) if kind == COND],
        "uncond_indices": [row for row, kind in enumerate(of_rows) if kind == UNCOND],
    }


def _call(
    model: Any, batch: list[_Part], x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any]
) -> tuple[torch.Tensor, ...]:
    """x0 of each part of a batch."""
    arguments, control = _together(batch), batch[0].control
    rows, levels = torch.cat([x] * len(batch)), torch.cat([timestep] * len(batch))
    arguments["transformer_options"] = options = _transformer_options(model_options, batch, timestep)
    if control is not None:
        arguments["control"] = control.get_control(rows, levels, dict(arguments), len(batch))
    wrapper = model_options.get("model_function_wrapper")
    if wrapper is None:
        return model.apply_model(rows, levels, **arguments).chunk(len(batch))
    given = {"input": rows, "timestep": levels, "c": arguments, "cond_or_uncond": options["cond_or_uncond"]}
    return wrapper(model.apply_model, given).chunk(len(batch))


def calc_cond_uncond_batch(
    model: Any, cond: Any, uncond: Any, x_in: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x0 by the prompts' parts, averaged by their weights; x0 by the negative prompts, or 0)."""
    sums, weights = [torch.zeros_like(x_in), torch.zeros_like(x_in)], [_NOTHING, _NOTHING]
    parts = [_part(entry, COND, x_in) for entry in cond] + [_part(entry, UNCOND, x_in) for entry in uncond or []]
    while parts:
        batch = [part for part in parts[::-1] if part.goes_with(parts[0])]
        parts = [part for part in parts if not any(part is taken for taken in batch)]
        for part, denoised in zip(batch, _call(model, batch, x_in, timestep, model_options)):
            sums[part.kind] += denoised * part.strength
            weights[part.kind] += part.strength
    return sums[COND] / weights[COND], sums[UNCOND] / weights[UNCOND]


def _guided(
    x: torch.Tensor, cond: torch.Tensor, uncond: torch.Tensor, cond_scale: float, strength: float, more: dict[str, Any]
) -> torch.Tensor:
    function = more["model_options"].get("sampler_cfg_function")
    if function is not None:
        predictions = {"cond": x - cond, "uncond": x - uncond, "cond_denoised": cond, "uncond_denoised": uncond}
        return x - function({**predictions, "cond_scale": cond_scale, "timestep": more["sigma"], **more})
    return uncond + (cond - uncond) * cond_scale * strength


def sampling_function_inner(
    model: Any,
    x: torch.Tensor,
    timestep: torch.Tensor,
    uncond: Any,
    cond: Any,
    cond_scale: float,
    model_options: dict[str, Any] | None = None,
    seed: int | None = None,
    return_full: bool = False,
) -> Any:
    """Both predictions and their combination. At CFG 1 the negative prompt is left out, unless a patch needs it."""
    del seed
    options = model_options or {}
    strength = sum(entry.get("strength", 1) for entry in cond)
    leave_out = math.isclose(cond_scale, 1.0) and not options.get("disable_cfg1_optimization", False)
    used = None if leave_out else uncond
    for function in options.get("sampler_pre_cfg_function", []):
        model, cond, used, x, timestep, options = function(model, cond, used, x, timestep, options)
    cond_pred, uncond_pred = calc_cond_uncond_batch(model, cond, used, x, timestep, options)
    more = {"input": x, "sigma": timestep, "model": model, "model_options": options}
    result = _guided(x, cond_pred, uncond_pred, cond_scale, strength, more)
    predictions = {"cond_denoised": cond_pred, "uncond_denoised": uncond_pred}
    for function in options.get("sampler_post_cfg_function", []):
        result = function({"denoised": result, "cond": cond, "uncond": uncond, **predictions, **more})
    return (result, cond_pred, uncond_pred) if return_full else result


def sampling_function(
    self: Any, denoiser_params: Any, cond_scale: float, cond_composition: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(guided x0, x0 by the prompts, x0 by the negative prompts) for the denoiser `self`."""
    patcher = self.inner_model.inner_model.forge_objects.unet
    x, picture = denoiser_params.x, patcher.extra_concat_condition
    if picture is None:
        picture = denoiser_params.image_cond
    uncond = compile_conditions(denoiser_params.text_uncond)
    cond = compile_weighted_conditions(denoiser_params.text_cond, cond_composition)
    for entry in [*cond, *(uncond or [])]:
        if isinstance(picture, torch.Tensor) and picture.shape[2:] == x.shape[2:]:  # else it is a dummy
            entry["model_conds"]["c_concat"] = picture
        entry["control"] = patcher.controlnet_linked_list
    state = (patcher.model, x, denoiser_params.sigma, uncond, cond, cond_scale, patcher.model_options, self.p.seeds[0])
    for modifier in patcher.model_options.get("conditioning_modifiers", []):
        state = modifier(*state)
    return sampling_function_inner(*state, return_full=True)


def sampling_prepare(unet: Any, x: torch.Tensor) -> None:
    """Loads the U-Net and all that runs beside it, before the first step."""
    batch, *size = x.shape
    dtype = unet.model.computation_dtype
    preserved, beside = unet.extra_preserved_memory_during_sampling, unet.extra_model_patchers_during_sampling
    if unet.controlnet_linked_list is not None:
        preserved += unet.controlnet_linked_list.inference_memory_requirements(unet.model_dtype())
        beside = [*beside, *unet.controlnet_linked_list.get_models()]
    if unet.has_online_lora():
        preserved += utils.nested_compute_size(unet.lora_patches, element_size=utils.dtype_to_element_size(dtype))
    memory_management.load_models_gpu([unet, *beside], unet.memory_required([batch * 2, *size]), preserved)
    if unet.has_online_lora():
        utils.nested_move_to_device(unet.lora_patches, device=unet.current_device, dtype=dtype)
    for control in unet.list_controlnets():
        control.pre_run(unet.model, unet.model.predictor.percent_to_sigma)


def sampling_cleanup(unet: Any) -> None:
    if unet.has_online_lora():
        utils.nested_move_to_device(unet.lora_patches, device=unet.offload_device)
    for control in unet.list_controlnets():
        control.cleanup()
