"""Pictures: their files with the infotext in them, grids, sizes."""

from __future__ import annotations

import functools
import io
import math
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import piexif
import piexif.helper
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from modules import flavour, script_callbacks
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
    image, geninfo, filename, extension=None, existing_pnginfo=None, pnginfo_section_name="parameters"
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
    """Writes "[basename-]number-seed[suffix]" or `forced_filename` into the folder `path`; its name, and None."""
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


UPSCALERS = {"None": _LANCZOS, "Lanczos": _LANCZOS, "Nearest": Image.Resampling.NEAREST}
"""Those that enlarge without a network."""


def resize_image(resize_mode: int, im: Any, width: int, height: int, upscaler_name: str = "") -> Image.Image:
    """0: stretched; 1: what does not fit is cut off."""
    resample = UPSCALERS.get(upscaler_name or "", _LANCZOS)
    if resize_mode == 0:
        return im.resize((width, height), resample)
    return ImageOps.fit(im, (width, height), resample)


def flatten(img: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white."""
    if img.mode != "RGBA":
        return img.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", img.size, "white"), img).convert("RGB")


def read(fp: Any) -> Image.Image:
    """A file's picture the right way up, with its texts."""
    opened = Image.open(fp)
    upright = ImageOps.exif_transpose(opened) or opened
    upright.info = opened.info
    return upright


class GridAnnotation:
    """A text of a legend; one that is not active is grey."""

    def __init__(self, text: str = "", is_active: bool = True) -> None:
        self.text, self.is_active = text, is_active


@functools.cache
def _font(size: int) -> Any:
    """DejaVu Sans, which is there wherever gradio is: that needs matplotlib."""
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def draw_grid_annotations(im, width, height, hor_texts, ver_texts, margin=0) -> Image.Image:
    """The grid `im` of cells of this size, with one text above each column and one left of each row."""
    size = max((width + height) // 25, 8)
    above, beside = ([texts[0].text for texts in side] for side in (hor_texts, ver_texts))
    top, left = 3 * size if any(above) else 0, width if any(beside) else 0
    sheet = Image.new("RGB", (left + im.width, top + im.height), "white")
    sheet.paste(im, (left, top))
    draw = ImageDraw.Draw(sheet)
    places = [(left + (k + 0.5) * width, top / 2, text) for k, text in enumerate(above)]
    places += [(left / 2, top + (k + 0.5) * height, text) for k, text in enumerate(beside)]
    for x, y, text in places:
        lines = "\n".join(textwrap.wrap(text, max(width * 2 // size, 1)))
        draw.multiline_text((x, y), lines, "black", _font(size), anchor="mm", align="center")
    return sheet
