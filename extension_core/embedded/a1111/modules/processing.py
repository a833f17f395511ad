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
    paths,
    processing_output,
    rng,
    scripts,
    sd_hijack,
    sd_models,
    sd_samplers,
    sd_samplers_common,
    sd_unet,
    sd_vae,
    shared,
)
from modules.processed import Processed, create_infotext, program_version
from modules.processing_base import StableDiffusionProcessing, txt2img_image_conditioning
from modules.processing_img2img import StableDiffusionProcessingImg2Img, apply_overlay, create_binary_mask, uncrop
from modules.processing_txt2img import StableDiffusionProcessingTxt2Img, old_hires_fix_first_pass_dimensions
from modules.rng import slerp
from modules.sd_hijack import model_hijack
from modules.sd_latents import DecodedSamples, create_random_tensors, decode_latent_batch, opt_C, opt_f
from modules.sd_samplers_common import approximation_indexes, decode_first_stage, images_tensor_to_samples
from modules.shared import cmd_opts, opts, state


def get_fixed_seed(seed: Any) -> Any:
    """-1, nothing and what is no number become a random seed."""
    if seed == "" or seed is None:
        seed = -1
    elif isinstance(seed, str):
        try:
            seed = int(seed)
        except ValueError:
            seed = -1
    return int(random.randrange(4294967294)) if seed == -1 else seed


def fix_seed(p: Any) -> None:
    p.seed = get_fixed_seed(p.seed)
    p.subseed = get_fixed_seed(p.subseed)


def _apply_overrides(p: Any) -> None:
    """Settles the checkpoint, then the request's settings. Also brings the selected checkpoint back after a Refiner."""
    if sd_models.checkpoint_aliases.get(p.override_settings.get("sd_model_checkpoint")) is None:
        p.override_settings.pop("sd_model_checkpoint", None)
        sd_models.reload_model_weights()
    for key, value in p.override_settings.items():
        opts.set(key, value, is_api=True, run_callbacks=False)
        if key == "sd_model_checkpoint":
            sd_models.reload_model_weights()
        if key == "sd_vae":
            sd_vae.reload_vae_weights()


def process_images(p: StableDiffusionProcessing) -> Processed:
    if p.scripts is not None:
        p.scripts.before_process(p)
    stored = {k: opts.data[k] for k in p.override_settings if k in opts.data}  # what was never saved is not restored
    try:
        _apply_overrides(p)
        sd_models.apply_token_merging(p.sd_model, p.get_token_merging_ratio())
        sd_samplers.fix_p_invalid_sampler_and_scheduler(p)
        return process_images_inner(p)
    finally:
        sd_models.apply_token_merging(p.sd_model, 0)
        if p.override_settings_restore_afterwards:
            for key, value in stored.items():
                setattr(opts, key, value)
                if key == "sd_vae":
                    sd_vae.reload_vae_weights()


def _settle(p: Any) -> None:
    """Everything that is fixed for the whole request: options, model names, prompts, seeds."""
    devices.torch_gc()
    seed, subseed = get_fixed_seed(p.seed), get_fixed_seed(p.subseed)
    p.restore_faces = opts.face_restoration if p.restore_faces is None else p.restore_faces
    p.tiling = opts.tiling if p.tiling is None else p.tiling
    if p.refiner_checkpoint not in (None, "", "None", "none"):
        p.refiner_checkpoint_info = sd_models.get_closet_checkpoint_match(p.refiner_checkpoint)
        if p.refiner_checkpoint_info is None:
            raise Exception(f"Could not find checkpoint with name {p.refiner_checkpoint}")
    p.sd_model_name = shared.sd_model.sd_checkpoint_info.name_for_extra
    p.sd_model_hash = shared.sd_model.sd_model_hash
    p.sd_vae_name = sd_vae.get_loaded_vae_name()
    p.sd_vae_hash = sd_vae.get_loaded_vae_hash()
    sd_hijack.model_hijack.apply_circular(p.tiling)
    sd_hijack.model_hijack.clear_comments()
    p.fill_fields_from_opts()
    p.setup_prompts()
    count = range(len(p.all_prompts))
    p.all_seeds = seed if isinstance(seed, list) else [int(seed) + (x if p.subseed_strength == 0 else 0) for x in count]
    p.all_subseeds = subseed if isinstance(subseed, list) else [int(subseed) + x for x in count]
    if os.path.exists(cmd_opts.embeddings_dir) and not p.do_not_reload_embeddings:
        model_hijack.embedding_db.load_textual_inversion_embeddings()


def _prepare_batch(p: Any, n: int) -> bool:
    """From the model's weights to the conditioning of batch n; False where a script left no prompts."""
    sd_models.reload_model_weights()
    batch = slice(n * p.batch_size, (n + 1) * p.batch_size)
    p.prompts, p.negative_prompts = p.all_prompts[batch], p.all_negative_prompts[batch]
    p.seeds, p.subseeds = p.all_seeds[batch], p.all_subseeds[batch]
    channels = getattr(shared.sd_model, "latent_channels", opt_C)
    p.rng = rng.ImageRNG(
        (channels, p.height // opt_f, p.width // opt_f),
        p.seeds,
        subseeds=p.subseeds,
        subseed_strength=p.subseed_strength,
        seed_resize_from_h=p.seed_resize_from_h,
        seed_resize_from_w=p.seed_resize_from_w,
    )
    given = {"batch_number": n, "prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}
    if p.scripts is not None:
        p.scripts.before_process_batch(p, **given)
    if len(p.prompts) == 0:
        return False
    p.parse_extra_network_prompts()
    if not p.disable_extra_networks:
        with devices.autocast():
            extra_networks.activate(p, p.extra_network_data)
    if p.scripts is not None:
        p.scripts.process_batch(p, **{**given, "prompts": p.prompts})
    p.setup_conds()
    p.extra_generation_params.update(model_hijack.extra_generation_params)
    return True


def _write_last_params(p: Any) -> None:
    with open(os.path.join(paths.data_path, "params.txt"), "w", encoding="utf8") as file:
        file.write(Processed(p, []).infotext(p, 0))


def _sample_batch(p: Any, n: int) -> Any:
    """Pictures [B, 3, H, W] in 0..1 of batch n."""
    if n == 0 and not cmd_opts.no_prompt_history:
        _write_last_params(p)
    for comment in model_hijack.comments:
        p.comment(comment)
    if p.n_iter > 1:
        state.job = f"Batch {n + 1} out of {p.n_iter}"
    sd_models.apply_alpha_schedule_override(p.sd_model, p)
    with devices.without_autocast() if devices.unet_needs_upcast else devices.autocast():
        samples = p.sample(
            conditioning=p.c,
            unconditional_conditioning=p.uc,
            seeds=p.seeds,
            subseeds=p.subseeds,
            subseed_strength=p.subseed_strength,
            prompts=p.prompts,
        )
    if p.scripts is not None:
        args = scripts.PostSampleArgs(samples)
        p.scripts.post_sample(p, args)
        samples = args.samples
    if not getattr(samples, "already_decoded", False):
        devices.test_for_nans(samples, "unet")
        if opts.sd_vae_decode_method != "Full":
            p.extra_generation_params["VAE Decoder"] = opts.sd_vae_decode_method
        samples = decode_latent_batch(p.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
    pictures = torch.clamp((torch.stack(list(samples)).float() + 1.0) / 2.0, min=0.0, max=1.0)
    devices.torch_gc()
    state.nextjob()
    return _hand_to_scripts(p, n, pictures) if p.scripts is not None else pictures


def _hand_to_scripts(p: Any, n: int, pictures: torch.Tensor) -> Any:
    p.scripts.postprocess_batch(p, pictures, batch_number=n)
    batch = slice(n * p.batch_size, (n + 1) * p.batch_size)
    p.prompts, p.negative_prompts = p.all_prompts[batch], p.all_negative_prompts[batch]
    args = scripts.PostprocessBatchListArgs(list(pictures))
    p.scripts.postprocess_batch_list(p, args, batch_number=n)
    return args.images


def process_images_inner(p: StableDiffusionProcessing) -> Processed:
    _settle(p)
    if p.scripts is not None:
        p.scripts.process(p)
    infotexts: list[str] = []
    output_images: list[Any] = []
    with torch.no_grad(), p.sd_model.ema_scope():
        with devices.autocast():
            p.init(p.all_prompts, p.all_seeds, p.all_subseeds)
            sd_unet.apply_unet()
        if state.job_count == -1:
            state.job_count = p.n_iter
        for n in range(p.n_iter):
            p.iteration = n
            if state.skipped:
                state.skipped = False
            if state.interrupted or state.stopping_generation or not _prepare_batch(p, n):
                break
            processing_output.finish_batch(p, _sample_batch(p, n), output_images, infotexts)
            devices.torch_gc()
        if not infotexts:
            infotexts.append(Processed(p, []).infotext(p, 0))
        p.color_corrections = None
        index_of_first_image = processing_output.add_grid(p, output_images, infotexts)
    if not p.disable_extra_networks and p.extra_network_data:
        extra_networks.deactivate(p, p.extra_network_data)
    devices.torch_gc()
    result = Processed(
        p,
        images_list=output_images,
        seed=p.all_seeds[0],
        info=infotexts[0],
        subseed=p.all_subseeds[0],
        index_of_first_image=index_of_first_image,
        infotexts=infotexts,
    )
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
