"""Pictures: their files with the infotext in them, grids, sizes."""

from __future__ import annotations

import io
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import piexif
import piexif.helper
from PIL import Image, ImageOps, PngImagePlugin

from modules import flavour, script_callbacks
from modules.grid_annotations import GridAnnotation, draw_grid_annotations
from modules.shared import opts

_LANCZOS = Image.Resampling.LANCZOS
_WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def _texts(image: Image.Image, infotext: str | None = None) -> PngImagePlugin.PngInfo:
    """A picture's text fields, for a PNG file."""
    fields = {name: value for name, value in image.info.items() if isinstance(name, str) and isinstance(value, str)}
    if infotext is not None:
        fields["parameters"] = infotext
    chunks = PngImagePlugin.PngInfo()
    for name, value in fields.items():
        chunks.add_text(name, value)
    return chunks


def to_bytes(image: Image.Image) -> bytes:
    """PNG with the picture's text fields."""
    out = io.BytesIO()
    image.save(out, format="PNG", pnginfo=_texts(image))
    return out.getvalue()


def save_image_with_geninfo(
    image: Image.Image,
    geninfo: str | None,
    filename: str,
    extension: str | None = None,
    existing_pnginfo: dict[str, Any] | None = None,
    pnginfo_section_name: str = "parameters",
) -> None:
    """PNG carries the infotext as a text field beside others, JPEG and WebP in Exif's user comment."""
    kind = _WRITERS[(extension or Path(filename).suffix).lower()]
    told = geninfo if opts.enable_pnginfo else None
    if kind == "PNG":
        copy = image.copy()
        copy.info = {**(existing_pnginfo or {}), pnginfo_section_name: told or ""} if opts.enable_pnginfo else {}
        copy.save(filename, format=kind, pnginfo=_texts(copy))
        return
    image.convert("RGB").save(filename, format=kind, quality=80)
    if told is not None:
        comment = piexif.helper.UserComment.dump(told, encoding="unicode")
        piexif.insert(piexif.dump({"Exif": {piexif.ExifIFD.UserComment: comment}}), filename)


def read_info_from_image(image: Image.Image) -> tuple[str | None, dict[str, Any]]:
    """The infotext of a picture, and its other text fields."""
    texts = {name: value for name, value in image.info.items() if isinstance(value, str)}
    infotext = texts.pop("parameters", None)
    if infotext is None and "exif" in image.info:
        comment = piexif.load(image.info["exif"])["Exif"].get(piexif.ExifIFD.UserComment)
        infotext = piexif.helper.UserComment.load(comment) if comment else None
    return infotext, texts


def save_image(
    image: Image.Image,
    path: str,
    basename: str | None,
    seed: Any = None,
    prompt: Any = None,
    extension: str = "png",
    info: str | None = None,
    short_filename: bool = False,
    no_prompt: bool = False,
    grid: bool = False,
    pnginfo_section_name: str = "parameters",
    p: Any = None,
    existing_info: dict[str, Any] | None = None,
    forced_filename: str | None = None,
    suffix: str = "",
    save_to_dirs: bool | None = None,
) -> tuple[str, str | None]:
    """Writes a picture into the folder `path` as "[basename-]number-seed[suffix]", or as `forced_filename`. The name of
    the file, and None: no text is written beside it.
    """
    del prompt, no_prompt, grid, save_to_dirs
    os.makedirs(path, exist_ok=True)
    stem = forced_filename
    if stem is None:
        described = "" if short_filename or seed is None else f"-{seed}"
        stem = _next_number(path, f"{basename}-" if basename else "") + described + suffix
    texts = {**(existing_info or {}), **({} if info is None else {pnginfo_section_name: info})}
    params = script_callbacks.ImageSaveParams(image, p, os.path.join(path, f"{stem}.{extension}"), texts)
    script_callbacks.before_image_saved_callback(params)
    wanted, params.filename = params.filename, _really(params.filename)
    unfinished, ending = f"{params.filename}.tmp", Path(params.filename).suffix
    told = params.pnginfo.get(pnginfo_section_name)
    save_image_with_geninfo(params.image, told, unfinished, ending, params.pnginfo, pnginfo_section_name)
    os.replace(unfinished, params.filename)
    if not flavour.RENAMED_IS_TOLD:
        params.filename = wanted
    params.image.already_saved_as = params.filename
    script_callbacks.image_saved_callback(params)
    return params.filename, None


def _next_number(folder: str, prefix: str) -> str:
    """The prefix and a number, one more than the highest of the folder's files that begin so."""
    numbered = re.compile(re.escape(prefix) + r"(\d+)")
    numbers = [int(found[1]) for found in map(numbered.match, os.listdir(folder)) if found]
    return f"{prefix}{max(numbers, default=-1) + 1:05}"


def _really(filename: str) -> str:
    """Another name where a file is there already and the settings do not let it be replaced."""
    file, number = Path(filename), 0
    while opts.save_images_replace_action != "Replace" and file.exists():
        number += 1
        file = file.with_name(f"{Path(filename).stem}-{number}{file.suffix}")
    return str(file)


def image_grid(imgs: list[Image.Image], batch_size: int = 1, rows: int | None = None) -> Image.Image:
    """Pictures in so many rows; else in as many as columns."""
    if rows is None:
        rows = round(math.sqrt(len(imgs)))
    rows = min(max(rows, 1), len(imgs))
    params = script_callbacks.ImageGridLoopParams(imgs, -(-len(imgs) // rows), rows)
    script_callbacks.image_grid_callback(params)
    width, height = (max(sides) for sides in zip(*(picture.size for picture in imgs)))
    sheet = Image.new(flavour.GRID_MODE, (width * params.cols, height * params.rows), "white")
    for number, picture in enumerate(params.imgs):
        row, column = divmod(number, params.cols)
        sheet.paste(picture, (column * width, row * height))
    return sheet


@dataclass(frozen=True)
class Upscaler:
    """Enlarges pictures without a network."""

    name: str
    filter: Image.Resampling


UPSCALERS = [
    Upscaler("None", _LANCZOS),
    Upscaler("Lanczos", _LANCZOS),
    Upscaler("Nearest", Image.Resampling.NEAREST),
]


def resize_image(
    resize_mode: int, im: Image.Image, width: int, height: int, upscaler_name: str | None = None
) -> Image.Image:
    """0: stretched; 1: what does not fit is cut off; 2: fitted in, its edges spread over what remains."""
    resample = next((known.filter for known in UPSCALERS if known.name == upscaler_name), _LANCZOS)
    if resize_mode == 0:
        return im.resize((width, height), resample)
    if resize_mode == 1:
        return ImageOps.fit(im, (width, height), resample)
    fitted = np.asarray(ImageOps.contain(im, (width, height), resample))
    missing = [(size - side) for size, side in zip((height, width), fitted.shape)]
    border = [(gap // 2, gap - gap // 2) for gap in missing] + [(0, 0)] * (fitted.ndim - 2)
    return Image.fromarray(np.pad(fitted, border, mode="edge"))


def gaussian_blur(mask: Image.Image, sigma_x: int, sigma_y: int) -> Image.Image:
    """A greyscale picture blurred in each direction."""
    from scipy import ndimage

    return Image.fromarray(ndimage.gaussian_filter(np.asarray(mask), (sigma_y, sigma_x), mode="mirror"))


def flatten(img: Image.Image, bgcolor: str) -> Image.Image:
    """RGB; what is transparent has this colour."""
    if img.mode != "RGBA":
        return img.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", img.size, bgcolor), img).convert("RGB")


def read(fp: Any) -> Image.Image:
    """A file's picture the right way up, with its texts."""
    opened = Image.open(fp)
    upright = ImageOps.exif_transpose(opened) or opened
    upright.info = opened.info
    return upright


__all__ = ["GridAnnotation", "draw_grid_annotations"]
