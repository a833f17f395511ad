"""Regions of inpainting masks."""

from __future__ import annotations

from PIL import Image, ImageFilter, ImageOps

Box = tuple[int, int, int, int]


def get_crop_region_v2(mask: Image.Image, pad: int = 0) -> Box | None:
    """The box around all that is masked, `pad` pixels wider where there is room; None where nothing is masked."""
    box = mask.getbbox()
    return None if box is None else _padded(box, pad, mask.size)


def _padded(box: Box, pad: int, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    width, height = size
    return max(left - pad, 0), max(top - pad, 0), min(right + pad, width), min(bottom + pad, height)


def get_crop_region(mask: Image.Image, pad: int = 0) -> Box:
    """Where nothing is masked, the host's box that is turned inside out."""
    return get_crop_region_v2(mask, pad) or _padded((*mask.size, 0, 0), pad, mask.size)


def _widened(low: int, high: int, wanted: float, limit: int) -> tuple[int, int]:
    """An interval widened to `wanted`, moved back inside 0..limit, cut where it does not fit."""
    missing = int(wanted - (high - low))
    low -= missing // 2
    high += missing - missing // 2
    if high >= limit:
        low, high = low - (high - limit), limit
    if low < 0:
        low, high = 0, high - low
    return low, min(high, limit)


def expand_crop_region(
    crop_region: Box, processing_width: int, processing_height: int, image_width: int, image_height: int
) -> Box:
    """Widened in one direction to the shape in which it will be processed."""
    x1, y1, x2, y2 = crop_region
    ratio = processing_width / processing_height
    if (x2 - x1) / (y2 - y1) > ratio:
        y1, y2 = _widened(y1, y2, (x2 - x1) / ratio, image_height)
    else:
        x1, x2 = _widened(x1, x2, (y2 - y1) * ratio, image_width)
    return x1, y1, x2, y2


def fill(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Masked parts filled with blurred colours of what lies around, finer blurs over coarser ones."""
    filled = Image.new("RGBA", image.size)
    outside = Image.new("RGBa", image.size)
    outside.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    for radius, repeats in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        blurred = outside.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            filled.alpha_composite(blurred)
    return filled.convert("RGB")
