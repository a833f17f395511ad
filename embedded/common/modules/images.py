"""Pictures: resizing, grids, and PNG files that carry their infotext."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import piexif
import piexif.helper
from PIL import Image, ImageColor, ImageOps, PngImagePlugin

from modules import flavour_files, script_callbacks, shared
from modules.filenames import FilenameGenerator, get_next_sequence_number, sanitize_filename_part
from modules.grid_annotations import GridAnnotation, draw_grid_annotations, get_font
from modules.image_files import save_image, save_image_with_geninfo
from modules.shared import opts

LANCZOS = Image.Resampling.LANCZOS


def _rows(count: int, batch_size: int) -> int:
    """Of a grid of so many pictures, by the settings."""
    if opts.n_rows >= 0:
        return int(opts.n_rows) or batch_size
    if opts.grid_prevent_empty_spots:
        return next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    return round(math.sqrt(count))


def image_grid(imgs: list[Image.Image], batch_size: int = 1, rows: int | None = None) -> Image.Image:
    rows = max(1, min(_rows(len(imgs), batch_size) if rows is None else rows, len(imgs)))
    params = script_callbacks.ImageGridLoopParams(imgs, math.ceil(len(imgs) / rows), rows)
    script_callbacks.image_grid_callback(params)
    w, h = max(x.width for x in imgs), max(x.height for x in imgs)
    mode = flavour_files.GRID_MODE
    paper = ImageColor.getcolor(opts.grid_background_color, mode)
    grid = Image.new(mode, (params.cols * w, params.rows * h), paper)  # type: ignore[arg-type]
    for i, img in enumerate(params.imgs):
        x, y = (i % params.cols) * w + (w - img.width) // 2, (i // params.cols) * h + (h - img.height) // 2
        grid.paste(img, box=(x, y))
    return grid


def _upscale(im: Image.Image, width: int, height: int, upscaler_name: str | None) -> Image.Image:
    if upscaler_name is None or upscaler_name == "None" or im.mode == "L":
        return im.resize((width, height), resample=LANCZOS)
    scale = max(width / im.width, height / im.height)
    if scale > 1.0:
        upscaler = next((x for x in shared.sd_upscalers if x.name == upscaler_name), None)
        if upscaler is None:
            upscaler = shared.sd_upscalers[0]
            print(f"There is no upscaler {upscaler_name!r}; {upscaler.name} is used instead")
        enlarge = upscaler.scaler.upscale
        im = enlarge(im, scale, upscaler.data_path)
    return im if im.size == (width, height) else im.resize((width, height), resample=LANCZOS)


def _spread_edges(res: Image.Image, resized: Image.Image, left: int, top: int) -> None:
    """Fills the border around a fitted picture with its outermost pixels."""
    width, height = res.size
    if top > 0:
        res.paste(resized.resize((width, top), box=(0, 0, width, 0)), box=(0, 0))
        res.paste(
            resized.resize((width, top), box=(0, resized.height, width, resized.height)), box=(0, top + resized.height)
        )
    elif left > 0:
        res.paste(resized.resize((left, height), box=(0, 0, 0, height)), box=(0, 0))
        res.paste(
            resized.resize((left, height), box=(resized.width, 0, resized.width, height)), box=(left + resized.width, 0)
        )


def resize_image(
    resize_mode: int, im: Image.Image, width: int, height: int, upscaler_name: str | None = None
) -> Image.Image:
    """0: stretch; 1: fill and crop; 2: fit, the border filled from the edges."""
    upscaler = upscaler_name or opts.upscaler_for_img2img
    if resize_mode == 0:
        return _upscale(im, width, height, upscaler)
    wider = width / height > im.width / im.height
    fill = resize_mode == 1
    src_w = width if wider == fill else im.width * height // im.height
    src_h = height if wider != fill else im.height * width // im.width
    scaled = _upscale(im, src_w, src_h, upscaler)
    left, top = width // 2 - src_w // 2, height // 2 - src_h // 2
    canvas = Image.new("RGB", (width, height))
    canvas.paste(scaled, box=(left, top))
    if not fill:
        _spread_edges(canvas, scaled, left, top)
    return canvas


def _fixed_point_kernel(sigma: float) -> np.ndarray:
    """A Gaussian in 256ths, rounding errors carried on from the edge to the middle, as OpenCV's 8-bit filter has it."""
    radius = int(2.5 * sigma + 0.5)
    exact = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2.0 * sigma**2))
    exact *= 256 / exact.sum()
    kernel, error = np.zeros(2 * radius + 1, np.int64), 0.0
    for i in range(radius):
        wanted = exact[i] + error
        kernel[i] = kernel[-1 - i] = np.rint(wanted)
        error = wanted - kernel[i]
    kernel[radius] = 256 - kernel.sum()
    return kernel


def gaussian_blur(mask: Image.Image, sigma_x: int, sigma_y: int) -> Image.Image:
    """Blurs a greyscale picture in each direction, edges mirrored, with OpenCV's numbers."""
    from scipy import ndimage

    pixels = np.array(mask).astype(np.int64)
    for axis, sigma in ((1, sigma_x), (0, sigma_y)):
        if sigma > 0:
            sums = ndimage.correlate1d(pixels, _fixed_point_kernel(sigma), axis=axis, mode="mirror")
            pixels = (sums + 128) >> 8  # pyright: ignore[reportOperatorIssue]
    return Image.fromarray(pixels.astype(np.uint8))


_PNG_FIELDS = {
    "jfif",
    "jfif_version",
    "jfif_unit",
    "jfif_density",
    "dpi",
    "exif",
    "loop",
    "background",
    "timestamp",
    "duration",
    "photoshop",
}


def read_info_from_image(image: Image.Image) -> tuple[str | None, dict[str, Any]]:
    """The infotext of a picture, and its other text fields."""
    items = dict(image.info or {})
    geninfo = items.pop("parameters", None)
    if "exif" in items:
        exif = piexif.load(items["exif"])
        comment = exif.get("Exif", {}).get(piexif.ExifIFD.UserComment, b"")
        geninfo = piexif.helper.UserComment.load(comment) if comment else geninfo
    if geninfo is None:
        geninfo = flavour_files.hidden_infotext(image)
    return geninfo, {k: v for k, v in items.items() if k not in _PNG_FIELDS}


def flatten(img: Image.Image, bgcolor: str) -> Image.Image:
    """Replaces transparency by a colour, and returns RGB."""
    if img.mode != "RGBA":
        return img.convert("RGB")
    canvas = Image.new("RGBA", img.size, bgcolor)
    canvas.paste(img, mask=img)
    return canvas.convert("RGB")


def read(fp: Any, **kwargs: Any) -> Image.Image:
    image = Image.open(fp, **kwargs)
    info = image.info
    image = ImageOps.exif_transpose(image) or image
    image.info = info
    return image


def to_bytes(image: Image.Image) -> bytes:
    """PNG with the picture's text fields."""
    chunks = PngImagePlugin.PngInfo()
    texts = {key: text for key, text in image.info.items() if isinstance(key, str) and isinstance(text, str)}
    for key, text in texts.items():
        chunks.add_text(key, text)
    with io.BytesIO() as out:
        image.save(out, format="PNG", pnginfo=chunks)
        return out.getvalue()


__all__ = [
    "FilenameGenerator",
    "GridAnnotation",
    "draw_grid_annotations",
    "flatten",
    "gaussian_blur",
    "get_font",
    "get_next_sequence_number",
    "image_grid",
    "read",
    "read_info_from_image",
    "resize_image",
    "sanitize_filename_part",
    "save_image",
    "save_image_with_geninfo",
    "to_bytes",
]
