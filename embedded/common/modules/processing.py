"""A generation from start to end. The order of hooks and of model changes is the host's; `p.sample` is called
unguarded.
"""

from __future__ import annotations

import os
import random
from typing import Any

import torch

from modules import (
    devices,
    errors,
    extra_networks,
    infotext_utils,
    model_handling,
    paths,
    processing_output,
    processing_result,
    rng,
    scripts,
    sd_models,
    sd_samplers,
    sd_samplers_common,
    sd_vae,
    shared,
)
from modules.hires_size import old_hires_fix_first_pass_dimensions
from modules.processed import create_infotext, program_version
from modules.processing_base import StableDiffusionProcessing, txt2img_image_conditioning
from modules.processing_img2img import StableDiffusionProcessingImg2Img, apply_overlay, create_binary_mask, uncrop
from modules.processing_result import Processed
from modules.processing_txt2img import StableDiffusionProcessingTxt2Img
from modules.rng import slerp
from modules.sd_decoding import decode_latent_batch
from modules.sd_latents import DecodedSamples, create_random_tensors, opt_C, opt_f
from modules.sd_samplers_common import approximation_indexes, decode_first_stage, images_tensor_to_samples
from modules.shared import cmd_opts, opts, state

_SEEDS = 4294967294


def get_fixed_seed(seed: Any) -> Any:
    """-1, nothing and what is no number become a random seed."""
    if isinstance(seed, str):
        try:
            seed = int(seed)
        except ValueError:
            seed = None
    return random.randrange(_SEEDS) if seed in (None, -1) else seed


def fix_seed(p: Any) -> None:
    p.seed, p.subseed = get_fixed_seed(p.seed), get_fixed_seed(p.subseed)


def process_images(p: StableDiffusionProcessing) -> Processed:
    if p.scripts is not None:
        p.scripts.before_process(p)
    with model_handling.settings_of(p):
        sd_samplers.fix_p_invalid_sampler_and_scheduler(p)
        return process_images_inner(p)


def _find_refiner(p: Any) -> None:
    wanted = p.refiner_checkpoint
    if wanted in (None, "", "None", "none"):
        return
    p.refiner_checkpoint_info = found = sd_models.get_closet_checkpoint_match(wanted)
    if found is None:
        raise Exception(f"Could not find checkpoint with name {wanted}")


def _name_models(p: Any) -> None:
    """For the infotext, which is written when a Refiner may have taken the model's place."""
    model = shared.sd_model
    p.sd_model_name, p.sd_model_hash = model.sd_checkpoint_info.name_for_extra, model.sd_model_hash
    p.sd_vae_name, p.sd_vae_hash = sd_vae.get_loaded_vae_name(), sd_vae.get_loaded_vae_hash()


def _numbered(seed: Any, count: int, counting: bool) -> list[int]:
    """One seed a picture: a list as it is; a number counts up, or repeats where the variation counts instead."""
    if isinstance(seed, list):
        return seed
    first = int(seed)
    return list(range(first, first + count)) if counting else [first] * count


def _settle(p: Any) -> None:
    """Everything that is fixed for the whole request: options, model names, prompts, seeds."""
    devices.torch_gc()
    seed, subseed = get_fixed_seed(p.seed), get_fixed_seed(p.subseed)
    for name, default in (("restore_faces", opts.face_restoration), ("tiling", opts.tiling)):
        if getattr(p, name) is None:
            setattr(p, name, default)
    _find_refiner(p)
    _name_models(p)
    model_handling.begin_request(p)
    p.fill_fields_from_opts()
    p.setup_prompts()
    count = len(p.all_prompts)
    p.all_seeds = _numbered(seed, count, counting=p.subseed_strength == 0)
    p.all_subseeds = _numbered(subseed, count, counting=True)


def _take_batch(p: Any, n: int, *names: str) -> None:
    """Sets `p.prompts` and the like to batch n's part of `p.all_prompts` and the like."""
    first = n * p.batch_size
    for name in names:
        setattr(p, name, getattr(p, f"all_{name}")[first : first + p.batch_size])


def _batch_arguments(p: Any, n: int) -> dict[str, Any]:
    return {"batch_number": n, "prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}


def _prepare_batch(p: Any, n: int) -> bool:
    """From the model's weights to the conditioning of batch n; False where a script left no prompts."""
    model_handling.begin_batch(p)
    _take_batch(p, n, "prompts", "negative_prompts", "seeds", "subseeds")
    p.rng = rng.of_request(p, (model_handling.latent_channels(), p.height // opt_f, p.width // opt_f))
    if p.scripts is not None:
        p.scripts.before_process_batch(p, **_batch_arguments(p, n))
    if not len(p.prompts):
        return False
    p.parse_extra_network_prompts()
    model_handling.activate_networks(p, p.extra_network_data)
    model_handling.after_networks(p)
    if p.scripts is not None:
        p.scripts.process_batch(p, **_batch_arguments(p, n))
    p.setup_conds()
    p.extra_generation_params.update(model_handling.notes())
    return True


def _infotext_without_pictures(p: Any) -> str:
    return Processed(p, []).infotext(p, 0)


def _write_last_params(p: Any) -> None:
    with open(os.path.join(paths.data_path, "params.txt"), "w", encoding="utf8") as out:
        out.write(_infotext_without_pictures(p))


def _announce_batch(p: Any, n: int) -> None:
    if n == 0 and not cmd_opts.no_prompt_history:
        _write_last_params(p)
    for comment in model_handling.comments():
        p.comment(comment)
    if p.n_iter > 1:
        state.job = f"Batch {n + 1} out of {p.n_iter}"


def _sample(p: Any) -> Any:
    """Latents, or pictures where the request decoded them itself."""
    given = {name: getattr(p, name) for name in ("seeds", "subseeds", "subseed_strength", "prompts")}
    with model_handling.sampling(p):
        result = p.sample(conditioning=p.c, unconditional_conditioning=p.uc, **given)
    if p.scripts is None:
        return result
    args = scripts.PostSampleArgs(result)
    p.scripts.post_sample(p, args)
    return args.samples


def _decoded(p: Any, result: Any) -> Any:
    """Pictures in -1..1, one after another."""
    if getattr(result, "already_decoded", False):
        return result
    devices.test_for_nans(result, "unet")
    if opts.sd_vae_decode_method != "Full":
        p.extra_generation_params["VAE Decoder"] = opts.sd_vae_decode_method
    return decode_latent_batch(p.sd_model, result, target_device=devices.cpu, check_for_nans=True)


def _sample_batch(p: Any, n: int) -> Any:
    """Pictures [B, 3, H, W] in 0..1 of batch n."""
    _announce_batch(p, n)
    decoded = torch.stack(list(_decoded(p, _sample(p)))).float()
    pictures = torch.clamp((decoded + 1.0) / 2.0, min=0.0, max=1.0)
    devices.torch_gc()
    state.nextjob()
    return pictures if p.scripts is None else _hand_to_scripts(p, n, pictures)


def _hand_to_scripts(p: Any, n: int, pictures: torch.Tensor) -> Any:
    p.scripts.postprocess_batch(p, pictures, batch_number=n)
    _take_batch(p, n, "prompts", "negative_prompts")  # scripts may have changed the lists of all
    args = scripts.PostprocessBatchListArgs(list(pictures))
    p.scripts.postprocess_batch_list(p, args, batch_number=n)
    return args.images


def _run_batches(p: Any, output_images: list[Any], infotexts: list[str]) -> None:
    for n in range(p.n_iter):
        p.iteration = n
        state.skipped = False
        if state.interrupted or state.stopping_generation or not _prepare_batch(p, n):
            return
        processing_output.finish_batch(p, _sample_batch(p, n), output_images, infotexts)
        devices.torch_gc()


def process_images_inner(p: StableDiffusionProcessing) -> Processed:
    _settle(p)
    if p.scripts is not None:
        p.scripts.process(p)
    output_images: list[Any] = []
    infotexts: list[str] = []
    with model_handling.inference(p):
        with devices.autocast():
            whole_request = (p.all_prompts, p.all_seeds, p.all_subseeds)
            p.init(*whole_request)
            model_handling.after_init()
        if state.job_count == -1:
            state.job_count = p.n_iter
        _run_batches(p, output_images, infotexts)
        if not infotexts:
            infotexts.append(_infotext_without_pictures(p))
        p.color_corrections = None
        first = processing_output.add_grid(p, output_images, infotexts)
    if p.extra_network_data and not p.disable_extra_networks:
        extra_networks.deactivate(p, p.extra_network_data)
    devices.torch_gc()
    seeds = {"seed": p.all_seeds[0], "subseed": p.all_subseeds[0]}
    described = {"info": infotexts[0], "infotexts": infotexts, "index_of_first_image": first, **seeds}
    result = processing_result.of_request(p, output_images, **described)
    if p.scripts is not None:
        p.scripts.postprocess(p, result)
    return result


__all__ = [
    "DecodedSamples",
    "Processed",
    "StableDiffusionProcessing",
    "StableDiffusionProcessingImg2Img",
    "StableDiffusionProcessingTxt2Img",
    "apply_overlay",
    "approximation_indexes",
    "create_binary_mask",
    "create_infotext",
    "create_random_tensors",
    "decode_first_stage",
    "decode_latent_batch",
    "errors",
    "fix_seed",
    "get_fixed_seed",
    "images_tensor_to_samples",
    "infotext_utils",
    "old_hires_fix_first_pass_dimensions",
    "opt_C",
    "opt_f",
    "process_images",
    "process_images_inner",
    "program_version",
    "sd_samplers_common",
    "slerp",
    "txt2img_image_conditioning",
    "uncrop",
]
