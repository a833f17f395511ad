"""What becomes of decoded pictures: scripts' turns, overlays, files, masks, the grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from modules import images, scripts
from modules.processed import create_infotext
from modules.processing_img2img import apply_overlay
from modules.shared import opts


def _infotext(p: Any, index: int = 0, use_main_prompt: bool = False) -> str:
    of_batch = {"all_prompts": p.prompts, "all_negative_prompts": p.negative_prompts}
    of_batch |= {"all_seeds": p.seeds, "all_subseeds": p.subseeds}
    return create_infotext(p, index=index, use_main_prompt=use_main_prompt, **of_batch)


def _save(p: Any, image: Image.Image, i: int, suffix: str = "") -> None:
    described = (p.seeds[i], p.prompts[i], opts.samples_format, _infotext(p, i))
    images.save_image(image, p.outpath_samples, "", *described, p=p, suffix=suffix)


def _composite(p: Any, image: Image.Image, i: int) -> tuple[Image.Image, Image.Image, Any]:
    """Scripts' turns, and the original laid around an inpainted region."""
    mask = getattr(p, "mask_for_overlay", None)
    overlays = p.overlay_images if opts.overlay_inpaint else None
    overlay = overlays[i] if overlays is not None and i < len(overlays) else None
    if p.scripts is not None:
        args = scripts.PostProcessMaskOverlayArgs(i, mask, overlay)
        p.scripts.postprocess_maskoverlay(p, args)
        mask, overlay = args.mask_for_overlay, args.overlay_image
    image, original = apply_overlay(image, p.paste_to, overlay)
    if p.scripts is not None:
        after = scripts.PostprocessImageArgs(image)
        p.scripts.postprocess_image_after_composite(p, after)
        image = after.image
    return image, original, mask


def _masks(p: Any, image: Image.Image, original: Image.Image, mask: Any, i: int, save: bool) -> list[Image.Image]:
    found = []
    if opts.return_mask or opts.save_mask:
        if save and opts.save_mask:
            _save(p, mask.convert("RGB"), i, "-mask")
        if opts.return_mask:
            found.append(mask.convert("RGB"))
    if opts.return_mask_composite or opts.save_mask_composite:
        shape = images.resize_image(2, mask, image.width, image.height).convert("L")
        cut = Image.composite(original.convert("RGBA").convert("RGBa"), Image.new("RGBa", image.size), shape).convert(
            "RGBA"
        )
        if save and opts.save_mask_composite:
            _save(p, cut, i, "-mask-composite")
        if opts.return_mask_composite:
            found.append(cut)
    return found


def finish_batch(p: Any, pictures: Any, output_images: list[Any], infotexts: list[str]) -> None:
    save = p.save_samples()
    for i, x_sample in enumerate(pictures):
        p.batch_index = i
        image = Image.fromarray((255.0 * np.moveaxis(x_sample.cpu().numpy(), 0, 2)).astype(np.uint8))
        if p.scripts is not None:
            args = scripts.PostprocessImageArgs(image)
            p.scripts.postprocess_image(p, args)
            image = args.image
        image, original, mask = _composite(p, image, i)
        if save:
            _save(p, image, i)
        text = _infotext(p, i)
        infotexts.append(text)
        if opts.enable_pnginfo:
            image.info["parameters"] = text
        output_images.append(image)
        if mask is not None:
            output_images += _masks(p, image, original, mask, i, save)


def add_grid(p: Any, output_images: list[Any], infotexts: list[str]) -> int:
    """Puts a grid first where one is wanted; returns the index of the first single picture."""
    single = len(output_images) < 2 and opts.grid_only_if_multiple
    if not (opts.return_grid or opts.grid_save) or p.do_not_save_grid or single:
        return 0
    grid = images.image_grid(output_images, p.batch_size)
    text = _infotext(p, use_main_prompt=True)
    if opts.return_grid:
        infotexts.insert(0, text)
        if opts.enable_pnginfo:
            grid.info["parameters"] = text
        output_images.insert(0, grid)
    if opts.grid_save:
        described = (p.all_seeds[0], p.all_prompts[0], opts.grid_format, text)
        short = not opts.grid_extended_filename
        images.save_image(grid, p.outpath_grids, "grid", *described, short_filename=short, grid=True, p=p)
    return 1 if opts.return_grid else 0
