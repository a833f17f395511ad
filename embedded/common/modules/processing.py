"""A generation from start to end. The order of hooks and of model changes is the hosts'."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image

from modules import devices, extra_networks, images, model_handling, sd_models, sd_samplers, shared
from modules.processed import create_infotext
from modules.processing_base import StableDiffusionProcessing
from modules.processing_img2img import StableDiffusionProcessingImg2Img
from modules.processing_result import Processed
from modules.processing_txt2img import StableDiffusionProcessingTxt2Img, picture_of
from modules.rng import ImageRNG, opt_C, opt_f
from modules.sd_latent_codec import decode_latent_batch
from modules.shared import opts, state


def get_fixed_seed(seed: Any) -> Any:
    """-1, nothing and what is no number become a random seed."""
    is_given = str(seed).lstrip("-").isdigit() and int(seed) != -1
    return int(seed) if is_given else random.randrange(2**32 - 2)


def fix_seed(p: Any) -> None:
    p.seed, p.subseed = map(get_fixed_seed, (p.seed, p.subseed))


def process_images(p: StableDiffusionProcessing) -> Processed:
    p.tell_scripts("before_process")
    with model_handling.settings_of(p):
        sd_samplers.fix_p_invalid_sampler_and_scheduler(p)
        return process_images_inner(p)


def _settle(p: Any) -> None:
    """Everything that is fixed for the whole request: models' names, prompts, seeds."""
    p.tiling = bool(opts.tiling if p.tiling is None else p.tiling)
    if p.refiner_checkpoint not in (None, "", "None", "none"):
        p.refiner_checkpoint_info = sd_models.get_closet_checkpoint_match(p.refiner_checkpoint)
        if p.refiner_checkpoint_info is None:
            raise Exception(f"Could not find checkpoint with name {p.refiner_checkpoint}")
    # for the infotext, which is written when a Refiner may have taken the model's place
    model = shared.sd_model
    p.sd_model_name, p.sd_model_hash = model.sd_checkpoint_info.name_for_extra, model.sd_model_hash
    model_handling.begin_request(p)
    p.setup_prompts()
    seed, subseed = map(get_fixed_seed, (p.seed, p.subseed))
    p.all_seeds = [seed + i for i, _ in enumerate(p.all_prompts)]
    p.all_subseeds = [subseed + i for i, _ in enumerate(p.all_prompts)]


def _prepare_batch(p: Any) -> bool:
    """From the model's weights to the conditioning of a batch; False where a script left no prompts."""
    model_handling.begin_batch(p)
    p.take_batch("prompts", "negative_prompts", "seeds", "subseeds")
    p.rng = ImageRNG((opt_C, p.height // opt_f, p.width // opt_f), p.seeds)

    def told() -> dict[str, Any]:
        return {"batch_number": p.iteration, "prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}

    p.tell_scripts("before_process_batch", **told())
    if not p.prompts:
        return False
    p.parse_extra_network_prompts()
    model_handling.activate_networks(p, p.extra_network_data)
    p.tell_scripts("process_batch", **told())
    p.setup_conds()
    for comment in model_handling.comments():
        p.comment(comment)
    if p.n_iter > 1:
        state.job = f"Batch {p.iteration + 1} out of {p.n_iter}"
    return True


def _sampled(p: Any) -> Any:
    """Pictures [B, 3, H, W] in 0..1 of the batch."""
    with model_handling.sampling(p):
        arguments = {name: getattr(p, name) for name in ("seeds", "subseeds", "subseed_strength", "prompts")}
        samples = p.sample(conditioning=p.c, unconditional_conditioning=p.uc, **arguments)
    after = SimpleNamespace(samples=samples)
    p.tell_scripts("post_sample", after)
    samples = after.samples
    if not getattr(samples, "already_decoded", False):
        samples = decode_latent_batch(p.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
    pictures = (torch.stack(list(samples)).float() / 2 + 0.5).clamp(0, 1)
    devices.torch_gc()
    state.nextjob()
    p.tell_scripts("postprocess_batch", images=pictures, batch_number=p.iteration)
    p.take_batch("prompts", "negative_prompts")  # scripts may have changed the lists of all
    batch = SimpleNamespace(images=list(pictures))
    p.tell_scripts("postprocess_batch_list", batch, batch_number=p.iteration)
    return batch.images


def _infotext(p: Any, place: int = 0, use_main_prompt: bool = False) -> str:
    return create_infotext(p, p.prompts, p.negative_prompts, p.seeds, place, use_main_prompt)


def _composed(p: Any, picture: Image.Image, place: int) -> Image.Image:
    """With the original laid around an inpainted region; scripts have their turns before, in between and after."""
    overlays = p.overlay_images or []
    overlay = overlays[place] if place < len(overlays) else None
    shown = SimpleNamespace(image=picture)
    p.tell_scripts("postprocess_image", shown)
    laid = SimpleNamespace(index=place, mask_for_overlay=p.mask_for_overlay, overlay_image=overlay)
    p.tell_scripts("postprocess_maskoverlay", laid)
    picture, overlay = shown.image, laid.overlay_image
    if overlay is not None:
        whole = picture.convert("RGBA")
        whole.alpha_composite(overlay)
        picture = whole.convert("RGB")
    shown.image = picture
    p.tell_scripts("postprocess_image_after_composite", shown)
    return shown.image


def _finish(p: Any, pictures: Any, made: list[Image.Image], infotexts: list[str]) -> None:
    for place, pixels in enumerate(pictures):
        p.batch_index = place
        picture = _composed(p, picture_of(pixels), place)
        text = _infotext(p, place)
        if p.save_samples():
            of_picture = (p.seeds[place], p.prompts[place], opts.samples_format, text)
            images.save_image(picture, p.outpath_samples, "", *of_picture, p=p)
        if opts.enable_pnginfo:
            picture.info["parameters"] = text
        made.append(picture)
        infotexts.append(text)


def _add_grid(p: Any, made: list[Image.Image], infotexts: list[str]) -> int:
    """Puts a grid first where one is wanted; returns the index of the first single picture."""
    if p.do_not_save_grid or len(made) < 2 or not (opts.return_grid or opts.grid_save):
        return 0
    grid, text = images.image_grid(made, p.batch_size), _infotext(p, use_main_prompt=True)
    if opts.enable_pnginfo:
        grid.info["parameters"] = text
    if opts.grid_save:
        of_grid = (p.all_seeds[0], p.all_prompts[0], opts.grid_format, text)
        short = not opts.grid_extended_filename
        images.save_image(grid, p.outpath_grids, "grid", *of_grid, short_filename=short, grid=True, p=p)
    if opts.return_grid:
        made.insert(0, grid)
        infotexts.insert(0, text)
    return int(opts.return_grid)


def process_images_inner(p: StableDiffusionProcessing) -> Processed:
    _settle(p)
    p.tell_scripts("process")
    made: list[Image.Image] = []
    infotexts: list[str] = []
    with model_handling.inference():
        with devices.autocast():
            p.init(p.all_prompts, p.all_seeds, p.all_subseeds)
        if state.job_count == -1:
            state.job_count = p.n_iter
        for number in range(p.n_iter):
            p.iteration, state.skipped = number, False
            if state.interrupted or state.stopping_generation or not _prepare_batch(p):
                break
            _finish(p, _sampled(p), made, infotexts)
        first = _add_grid(p, made, infotexts)
    if p.extra_network_data and not p.disable_extra_networks:
        extra_networks.deactivate(p, p.extra_network_data)
    infotexts = infotexts or [Processed(p, []).infotext(p, 0)]
    told = {"info": infotexts[0], "infotexts": infotexts, "index_of_first_image": first}
    told |= {"seed": p.all_seeds[0], "subseed": p.all_subseeds[0]}
    result = Processed(p, made, **told)
    if hasattr(p, "extra_result_images"):
        result.extra_images = p.extra_result_images
    p.tell_scripts("postprocess", result)
    return result


__all__ = ["StableDiffusionProcessingImg2Img", "StableDiffusionProcessingTxt2Img", "create_infotext"]
