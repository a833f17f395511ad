"""Pictures' files: under which name, with which text, and what scripts are told."""

from __future__ import annotations

import os
from typing import Any

import piexif
import piexif.helper
from PIL import Image, PngImagePlugin

from modules import errors, flavour_files, script_callbacks
from modules.filenames import FilenameGenerator, get_next_sequence_number
from modules.shared import opts

_SIDE_LIMITS = {"jpg": 65535, "jpeg": 65535, "webp": 16383}


def _exif(geninfo: str | None) -> bytes:
    comment = piexif.helper.UserComment.dump(geninfo or "", encoding="unicode")
    return piexif.dump({"Exif": {piexif.ExifIFD.UserComment: comment}})


def _save_png(image: Image.Image, filename: str, texts: dict[str, Any] | None) -> None:
    chunks = None
    if texts is not None:
        chunks = PngImagePlugin.PngInfo()
        for key, value in texts.items():
            chunks.add_text(key, str(value))
    image.save(filename, format="PNG", quality=opts.jpeg_quality, pnginfo=chunks)


def _without_alpha(image: Image.Image, extension: str) -> Image.Image:
    if image.mode == "I;16":
        return image.point(lambda x: x * (255 / 65535)).convert("RGB" if extension == ".webp" else "L")
    return image.convert("RGB") if image.mode == "RGBA" else image


def save_image_with_geninfo(
    image: Image.Image,
    geninfo: str | None,
    filename: str,
    extension: str | None = None,
    existing_pnginfo: dict[str, Any] | None = None,
    pnginfo_section_name: str = "parameters",
) -> None:
    """PNG carries the infotext as a text field beside others; JPEG, WebP and AVIF in Exif's user comment, GIF as its
    comment. WebP and JPEG are written first and rewritten with the Exif: what is no single plain frame may not
    survive it.
    """
    extension = os.path.splitext(filename)[1] if extension is None else extension
    kind, written = Image.registered_extensions()[extension], extension.lower()
    described = opts.enable_pnginfo and geninfo is not None
    if written == ".png":
        texts = existing_pnginfo or {}
        if opts.enable_pnginfo:
            texts[pnginfo_section_name] = geninfo
        _save_png(image, filename, texts if opts.enable_pnginfo else None)
    elif written in (".jpg", ".jpeg", ".webp"):
        flat = _without_alpha(image, written)
        flat.save(filename, format=kind, quality=opts.jpeg_quality, lossless=opts.webp_lossless)
        if described:
            piexif.insert(_exif(geninfo), filename)
    elif written == ".avif":
        image.save(filename, format=kind, quality=opts.jpeg_quality, exif=_exif(geninfo) if described else None)
    elif written == ".gif":
        image.save(filename, format=kind, comment=geninfo)
    else:
        image.save(filename, format=kind, quality=opts.jpeg_quality)


def _folder(path: str, names: FilenameGenerator, to_dirs: bool) -> str:
    if not to_dirs:
        return path
    folder = names.apply(opts.directories_filename_pattern or "[prompt_words]")
    return os.path.join(path, folder.lstrip(" ").rstrip("\\ /"))


def _decoration(names: FilenameGenerator, short: bool) -> str:
    if short or names.seed is None:
        return ""
    pattern = flavour_files.own_pattern(names.p)
    if pattern is None:
        pattern = opts.samples_filename_pattern or ("[seed]" if opts.save_to_dirs else "[seed]-[prompt_spaces]")
    return names.apply(pattern)


def _numbered(folder: str, basename: str | None, decoration: str, extension: str) -> str:
    """The first name from the next number on that no file has; without a number where the settings say so and the name
    is not empty, whether a file has it or not.
    """
    if decoration and not opts.save_images_add_number:
        return os.path.join(folder, f"{decoration}.{extension}")
    first, rest = get_next_sequence_number(folder, basename or ""), f"-{decoration}" if decoration else ""
    full = ""
    for number in range(first, first + 500):
        full = os.path.join(folder, f"{basename}-{number:04}" if basename else f"{number:05}")
        full = f"{full}{rest}.{extension}"
        if not os.path.exists(full):
            break
    return full


def _shortened(folder: str, filename: str) -> tuple[str, str]:
    """Stem and ending. The host's trap: not the name alone, the path with it is cut to the length that the file system
    allows for a name.
    """
    stem, extension = os.path.splitext(filename)
    if hasattr(os, "statvfs"):
        stem = stem[: os.statvfs(folder).f_namemax - max(4, len(extension))]
    return stem, extension


def _write(image: Image.Image, stem: str, extension: str, params: Any, section: str) -> str:
    """Writes to a .tmp file and moves that into its place; returns the stem it got."""
    info = params.pnginfo.get(section)
    save_image_with_geninfo(image, info, f"{stem}.tmp", extension, params.pnginfo, section)
    free, n = stem, 0
    while opts.save_images_replace_action != "Replace" and os.path.exists(free + extension):
        n += 1
        free = f"{stem}-{n}"
    os.replace(f"{stem}.tmp", free + extension)
    return free


def _save_smaller_copy(image: Image.Image, stem: str, written: str, params: Any, section: str) -> None:
    """A JPEG beside a picture whose sides or file are large."""
    limit = opts.target_side_length
    oversize = max(image.size) > limit
    if not opts.export_for_4chan or not (
        oversize or os.stat(written).st_size > opts.img_downscale_threshold * 1024 * 1024
    ):
        return
    if oversize:
        scale = limit / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        try:
            image = image.resize(size, Image.Resampling.LANCZOS)
        except Exception:  # some modes cannot be resized so
            image = image.resize(size)
    try:
        _write(image, stem, ".jpg", params, section)
    except Exception as fault:
        errors.display(fault, "saving a smaller copy")


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
    """Writes a picture into `path`, or a folder below it, under a name that the settings' patterns, the next number and
    `suffix` make, or `forced_filename`. Returns the file's name and that of the text file beside it, if one is wanted.
    """
    names = FilenameGenerator(p, seed, prompt, image, basename=basename)
    if max(image.size) > _SIDE_LIMITS.get(extension.lower(), max(image.size)):
        print(f"A picture of {image.width}x{image.height} does not fit into {extension}; it is saved as PNG")
        extension = "png"
    if save_to_dirs is None:
        save_to_dirs = bool(opts.grid_save_to_dirs if grid else opts.save_to_dirs and not no_prompt)
    folder = _folder(path, names, save_to_dirs)
    os.makedirs(folder, exist_ok=True)
    if forced_filename is None:
        wanted = _numbered(folder, basename, _decoration(names, short_filename) + suffix, extension)
    else:
        wanted = os.path.join(folder, f"{forced_filename}.{extension}")
    pnginfo = existing_info or {}
    if info is not None:
        pnginfo[pnginfo_section_name] = info
    params = script_callbacks.ImageSaveParams(image, p, wanted, pnginfo)
    script_callbacks.before_image_saved_callback(params)
    flavour_files.hide_infotext(params)
    return _save(params, folder, pnginfo_section_name)


def _save(params: Any, folder: str, section: str) -> tuple[str, str | None]:
    """Where a number was added to the name, A1111 tells the name that was wanted, of a file that was there before."""
    image, info = params.image, params.pnginfo.get(section)
    stem, extension = _shortened(folder, params.filename)
    params.filename = stem + extension
    written = _write(image, stem, extension, params, section)
    stem = written if flavour_files.RENAMED_IS_TOLD else stem
    image.already_saved_as = stem + extension
    _save_smaller_copy(image, stem, stem + extension, params, section)
    txt = None
    if opts.save_txt and info is not None:
        txt = f"{stem}.txt"
        with open(txt, "w", encoding="utf8") as file:
            file.write(f"{info}\n")
    script_callbacks.image_saved_callback(params)
    return stem + extension, txt
