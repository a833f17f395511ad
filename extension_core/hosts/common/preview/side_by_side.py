"""What a comparison came to: each model's images in a row with their diversity, and the same in one sentence."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from modules import images as host_images
from modules import infotext_utils, shared
from PIL import Image

from extension_core.errors import first_line
from extension_core.hosts.common.preview.recorded import Role
from extension_core.hosts.common.processing.grid_diversity import MEASURE, diversity_of
from extension_core.measures.rows import Row, sheet_of_rows
from extension_core.options.fields import INFOTEXT_PREFIX

KEY = f"{INFOTEXT_PREFIX} compared"
NAMES: dict[Role, str] = {"base": "Base alone", "distilled": "Distilled alone", "hybrid": "Both in turn"}
_LOG = logging.getLogger("diversity_distillation")


def tell(p: Any, processed: Any, made: Mapping[Role, Sequence[Any]], shown: bool) -> None:
    """Say under the images how different each model's are, and put a sheet of them all before the first.

    Args:
        made: each model's images, in the order of the rows; pictures that are files' names are left out.
        shown: whether the sheet is wanted.
    """
    try:
        rows: dict[Role, list[Image.Image]] = {role: kept for role, each in made.items() if (kept := _pictures(each))}
        found: dict[Role, float] = {role: at for role, kept in rows.items() if (at := diversity_of(kept)) is not None}
        said = ", ".join(f"{NAMES[role].lower()} {value:.3f}" for role, value in found.items())
        if len(found) > 1:
            count = len(next(iter(rows.values())))
            processed.comments += f"Diversity of {count} images ({MEASURE} distance): {said}.\n"
        if shown and len(rows) > 1:
            _show(p, processed, [_row(role, pictures, found) for role, pictures in rows.items()], said)
    except Exception as error:  # noqa: BLE001 - a sheet may not cost the images
        _LOG.exception("The comparison could not be drawn")
        processed.comments += f"The comparison could not be drawn ({first_line(error)}).\n"


def _pictures(images: Sequence[Any]) -> list[Image.Image]:
    return [image.convert("RGB") for image in images if isinstance(image, Image.Image)]


def _row(role: Role, pictures: Sequence[Image.Image], found: Mapping[Role, float]) -> Row:
    return Row(NAMES[role], f"diversity {found[role]:.3f}" if role in found else "", pictures)


def _show(p: Any, processed: Any, rows: Sequence[Row], said: str) -> None:
    """As the hosts show a grid of their own (`process_images_inner`, modules/processing.py, 1.10.1)."""
    sheet, text = sheet_of_rows(rows), processed.infotexts[processed.index_of_first_image]
    if said:
        text = f"{text}, {KEY}: {infotext_utils.quote(said)}"
    if shared.opts.enable_pnginfo:
        sheet.info["parameters"] = text
    processed.images.insert(0, sheet)
    processed.infotexts.insert(0, text)
    processed.index_of_first_image += 1
    if shared.opts.grid_save and not getattr(p, "do_not_save_grid", False):
        form, short = shared.opts.grid_format, not shared.opts.grid_extended_filename
        host_images.save_image(
            sheet, p.outpath_grids, "comparison", extension=form, info=text, short_filename=short, p=p, grid=True
        )
