"""How different a request's images are, written under their grid and into their infotexts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from modules import infotext_utils
from PIL import Image

from extension_core.errors import first_line
from extension_core.hosts.common.processing.infotext_entries import REFUSED
from extension_core.measures import distance_matrix, pairwise_mean
from extension_core.measures.captions import captioned
from extension_core.options.fields import INFOTEXT_PREFIX

KEY = f"{INFOTEXT_PREFIX} diversity"
MEASURE = "structural"
_WANTED = "diversity_distillation_grid_diversity"
_LOG = logging.getLogger("diversity_distillation")


def want(p: Any) -> None:
    """Measure this request's images when they are made."""
    setattr(p, _WANTED, True)


def write(p: Any, processed: Any) -> None:
    """Measure; called in the `postprocess` hook, before anything else is put among the images."""
    if not vars(p).get(_WANTED) or REFUSED in p.extra_generation_params:
        return
    try:
        _write(processed)
    except Exception as error:  # noqa: BLE001 - a measure may not cost the images
        _LOG.exception("The diversity could not be measured")
        processed.comments += f"The diversity of these images could not be measured ({first_line(error)}).\n"


def diversity_of(images: Sequence[Image.Image]) -> float | None:
    """How different they are, in 0..1; None for what cannot be compared: one image, or images of several sizes."""
    if len({image.size for image in images}) != 1 or len(images) < 2:
        return None
    pixels = np.stack([np.asarray(image.convert("RGB")) for image in images])
    return pairwise_mean(distance_matrix(pixels, MEASURE))


def _write(processed: Any) -> None:
    first = processed.index_of_first_image
    own = processed.images[first:]
    found = diversity_of(own)
    if found is None:
        return
    value = f"{found:.3f}"
    said = f"{value} ({MEASURE} distance of {len(own)} images)"
    if first:
        processed.images[0] = captioned(processed.images[0], f"diversity {value}")
    for index, text in enumerate(processed.infotexts):
        processed.infotexts[index] = f"{text}, {KEY}: {infotext_utils.quote(said)}"
        if index < len(processed.images) and "parameters" in processed.images[index].info:
            processed.images[index].info["parameters"] = processed.infotexts[index]
    processed.info = processed.infotexts[0]
