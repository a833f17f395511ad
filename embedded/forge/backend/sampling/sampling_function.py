"""One call of the denoiser: the U-Net's patcher is looked up anew, with its model, controls and options."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from backend import memory_management, utils
from backend.sampling.condition import Condition, compile_conditions, compile_weighted_conditions

COND, UNCOND = 0, 1
_NOTHING = 1e-37


class _Part(NamedTuple):
    """What runs for one part of the prompts, or for the negative prompts."""

    kind: int
    strength: float
    conditioning: dict[str, Condition]
    control: Any

    def goes_with(self, other: _Part) -> bool:
        mine, theirs = self.conditioning, other.conditioning
        if self.control is not other.control or mine.keys() != theirs.keys():
            return False
        return mine is theirs or all(mine[name].can_concat(theirs[name]) for name in mine)


def _part(entry: dict[str, Any], kind: int, x: torch.Tensor) -> _Part:
    ready = {name: value.process_cond(x.shape[0], x.device) for name, value in entry["model_conds"].items()}
    return _Part(kind, entry.get("strength", 1.0), ready, entry.get("control"))


def _next_batch(parts: list[_Part], model: Any, x: torch.Tensor) -> list[_Part]:
    """Takes as many parts as go together and into memory, the last one first."""
    fitting = [index for index, part in enumerate(parts) if part.goes_with(parts[0])][::-1]
    free = memory_management.get_free_memory(x.device)
    count = next((n for n in (len(fitting) // i for i in range(1, len(fitting) + 1)) if _fits(model, x, n, free)), 1)
    return [parts.pop(index) for index in fitting[:count]]


def _fits(model: Any, x: torch.Tensor, count: int, free: float) -> bool:
    return model.memory_required([count * x.shape[0], *x.shape[1:]]) < free


def _transformer_options(model_options: dict[str, Any], batch: list[_Part], timestep: torch.Tensor) -> dict[str, Any]:
    kinds, rows = [part.kind for part in batch], timestep.shape[0]
    of_rows = [kind for kind in kinds for _ in range(rows)]
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
    first, *others = (part.conditioning for part in batch)
    arguments: dict[str, Any] = {name: value.concat([other[name] for other in others]) for name, value in first.items()}
    rows, levels = torch.cat([x] * len(batch)), torch.cat([timestep] * len(batch))
    arguments["transformer_options"] = options = _transformer_options(model_options, batch, timestep)
    control = batch[0].control
    if control is not None:
        _tell_controls(control, options)
        arguments["control"] = control.get_control(rows, levels, dict(arguments), len(batch))
        arguments["control_model"] = control
    wrapper = model_options.get("model_function_wrapper")
    if wrapper is None:
        return model.apply_model(rows, levels, **arguments).chunk(len(batch))
    given = {"input": rows, "timestep": levels, "c": arguments, "cond_or_uncond": options["cond_or_uncond"]}
    return wrapper(model.apply_model, given).chunk(len(batch))


def _tell_controls(control: Any, options: dict[str, Any]) -> None:
    while control is not None:
        control.transformer_options = options
        control = control.previous_controlnet


def calc_cond_uncond_batch(
    model: Any,
    cond: list[dict[str, Any]],
    uncond: list[dict[str, Any]] | None,
    x_in: torch.Tensor,
    timestep: torch.Tensor,
    model_options: dict[str, Any],
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x0 by the prompts' parts, averaged by their weights; x0 by the negative prompts, or 0)."""
    sums = [torch.zeros_like(x_in), torch.zeros_like(x_in)]
    weights = [torch.full_like(x_in, _NOTHING), torch.full_like(x_in, _NOTHING)]
    parts = [_part(entry, COND, x_in) for entry in cond]
    parts += [_part(entry, UNCOND, x_in) for entry in uncond or []]
    while parts:
        batch = _next_batch(parts, model, x_in)
        for part, denoised in zip(batch, _call(model, batch, x_in, timestep, model_options), strict=True):
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
    if not math.isclose(strength, 1.0):
        return uncond + (cond - uncond) * cond_scale * strength
    return uncond + (cond - uncond) * cond_scale


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
            entry["model_conds"]["c_concat"] = Condition(picture)
        if patcher.controlnet_linked_list is not None:
            entry["control"] = patcher.controlnet_linked_list
    state = (patcher.model, x, denoiser_params.sigma, uncond, cond, cond_scale, patcher.model_options, self.p.seeds[0])
    for modifier in patcher.model_options.get("conditioning_modifiers", []):
        state = modifier(*state)
    return sampling_function_inner(*state, return_full=True)


def sampling_prepare(unet: Any, x: torch.Tensor) -> None:
    """Loads the U-Net and all that runs beside it, before the first step."""
    batch, *size = x.shape
    estimate = unet.model_options.get("memory_peak_estimation_modifier", unet.memory_required)
    preserved, beside = unet.extra_preserved_memory_during_sampling, unet.extra_model_patchers_during_sampling
    if unet.controlnet_linked_list is not None:
        preserved += unet.controlnet_linked_list.inference_memory_requirements(unet.model_dtype())
        beside = [*beside, *unet.controlnet_linked_list.get_models()]
    if unet.has_online_lora():
        size_of_number = utils.dtype_to_element_size(unet.model.computation_dtype)
        preserved += utils.nested_compute_size(unet.lora_patches, element_size=size_of_number)
    memory_management.load_models_gpu([unet, *beside], estimate([batch * 2, *size]), preserved)
    if unet.has_online_lora():
        place = {"device": unet.current_device, "dtype": unet.model.computation_dtype}
        utils.nested_move_to_device(unet.lora_patches, **place)
    for control in unet.list_controlnets():
        control.pre_run(unet.model, unet.model.predictor.percent_to_sigma)


def sampling_cleanup(unet: Any) -> None:
    if unet.has_online_lora():
        utils.nested_move_to_device(unet.lora_patches, device=unet.offload_device)
    for control in unet.list_controlnets():
        control.cleanup()
