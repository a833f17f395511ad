"""The strip as files beside the image: a contact sheet by the host's own way of saving, and an animated WebP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import piexif
import piexif.helper
from modules import images, shared
from PIL import Image

from extension_core.errors import DiversityError, first_line
from extension_core.hosts.common.preview.recorded import Files, Place
from extension_core.hosts.common.preview.strips import Strips
from extension_core.trajectory.frame_pictures import Decoder

SUFFIX = "-dt"
# What file name patterns and folders ask of a request (FilenameGenerator in images.py of A1111 1.10.1 and of Forge).
_ASKED = (
    "all_seeds",
    "batch_index",
    "batch_size",
    "cfg_scale",
    "denoising_strength",
    "iteration",
    "job_timestamp",
    "n_iter",
    "negative_prompt",
    "override_settings",
    "prompt",
    "sampler_name",
    "scheduler",
    "sd_model_hash",
    "steps",
    "styles",
    "user",
)


def place_of(p: Any, infotext: str, decoder: Decoder) -> Place:
    """Where a request's files go."""
    asked = {name: getattr(p, name) for name in _ASKED if hasattr(p, name)}
    request = SimpleNamespace(**{"job_timestamp": shared.state.job_timestamp, **asked})
    seeds, prompts = getattr(p, "all_seeds", None) or [p.seed], getattr(p, "all_prompts", None) or [p.prompt]
    return Place(p.outpath_samples, seeds[0], prompts[0], infotext, request, decoder)


def sheet_of(strips: Strips, place: Place) -> Image.Image:
    """The contact sheet as the host passes pictures on, with the infotext where it has it."""
    sheet = strips.sheet(f"seed {place.seed}   {place.prompt}")
    if shared.opts.enable_pnginfo:
        sheet.info["parameters"] = place.infotext
    return sheet


def write(files: Files, strips: Strips, sheet: Image.Image, place: Place, p: Any = None) -> None:
    """Write both files; one that was written before is left alone.

    Raises:
        DiversityError: says which could not be written and why; the other may have been.
    """
    with files.lock:
        if files.sheet is None:
            files.sheet = _tried("DT strip", lambda: _write_sheet(sheet, place, p))
        beside = files.sheet
        if files.animation is None:
            files.animation = _tried("animation of the DT strip", lambda: _write_animation(strips, place, beside))


def _tried(what: str, writing: Callable[[], Path]) -> Path:
    try:
        return writing()
    except Exception as error:  # the disk's, the host's, or that of a callback of another extension
        words = getattr(error, "strerror", None) or first_line(error)  # without the path, for whoever may not see it
        raise DiversityError(f"The {what} could not be written ({words}); the images are as they were.") from error


def _write_sheet(sheet: Image.Image, place: Place, p: Any) -> Path:
    name, _ = images.save_image(
        sheet,
        place.folder,
        "",
        place.seed,
        place.prompt,
        "png",
        info=place.infotext,
        p=place.request if p is None else p,
        suffix=SUFFIX,
    )
    path = _really_written(Path(name))
    sheet.already_saved_as = str(path)  # type: ignore[attr-defined]
    return path


def _really_written(path: Path) -> Path:
    """A1111 1.10.1 returns the name that it wanted, also where it added a number so as not to replace a file."""
    found, number = [path], 1
    while not _replaces() and (numbered := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
        found.append(numbered)
        number += 1
    return max((one for one in found if one.exists()), key=lambda one: one.stat().st_mtime_ns, default=path)


def _write_animation(strips: Strips, place: Place, sheet: Path) -> Path:
    content = strips.animation(_exif(place.infotext) if shared.opts.enable_pnginfo else b"")
    path = sheet.with_suffix(".webp")
    stem, number = path.stem, 0
    while path == sheet or (not _replaces() and path.exists()):
        number += 1
        path = path.with_name(f"{stem}-{number}.webp")
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    return path


def _replaces() -> bool:
    return getattr(shared.opts, "save_images_replace_action", "Replace") == "Replace"


def _exif(infotext: str) -> bytes:
    """As both hosts write it; WebP has it without the mark that it has in a JPEG."""
    comment = piexif.helper.UserComment.dump(infotext, encoding="unicode")
    return piexif.dump({"Exif": {piexif.ExifIFD.UserComment: comment}}).removeprefix(b"Exif\0\0")
