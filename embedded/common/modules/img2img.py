"""The pictures that img2img starts from."""

from __future__ import annotations

from typing import Any

from modules import flavour_page, images


def with_pictures(values: dict[str, Any]) -> dict[str, Any]:
    """img2img's fields, with start picture and mask of the inner tab that was open. ValueError without a picture."""
    rest = {**values}
    mode, plain, painted, second, mask = (
        rest.pop(name) for name in ("mode", "picture", "painted", "picture_with_mask", "mask")
    )
    picture, mask = {
        "img2img": lambda: (plain, None),
        "inpaint": lambda: flavour_page.picture_and_mask(painted),
        "upload": lambda: (second, mask),
    }[mode]()
    if picture is None:
        raise ValueError("No picture was given; put one into the tab that is open.")
    rest["inpaint_full_res"] = bool(rest["inpaint_full_res"])
    start = images.flatten(picture, "#ffffff")
    return {**rest, "init_images": [start], "mask": mask}
