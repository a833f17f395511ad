"""Infotext hidden in a picture's pixels: the lowest bits of the alpha channel, column by column, hold a signature, the
length in bits, and the gzipped text. The picture itself is changed: it has an alpha channel from then on.
"""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from PIL import Image

from modules import shared

_SIGNATURE = b"stealth_pngcomp"
_HEAD = 8 * len(_SIGNATURE)
_LENGTH = 32


def add_stealth_pnginfo(params: Any) -> None:
    """Into PNG files that have an infotext. What does not fit into the picture is cut off."""
    wanted = shared.opts.data.get("stealth_pnginfo_option", "Alpha")
    if wanted != "Alpha" or not params.filename.endswith(".png") or "parameters" not in (params.pnginfo or {}):
        return
    packed = gzip.compress(bytes(params.pnginfo["parameters"], "utf-8"))
    content = _SIGNATURE + (8 * len(packed)).to_bytes(_LENGTH // 8, "big") + packed
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    params.image.putalpha(255)
    columns = np.full((params.image.width, params.image.height), 255, np.uint8)
    room = columns.reshape(-1)
    room[: len(bits)] = 254 | bits[: len(room)]
    params.image.putalpha(Image.fromarray(columns.T))


def read_info_from_image_stealth(image: Image.Image) -> str | None:
    """The text, or None where there is none or it was cut off."""
    if image.mode != "RGBA":
        return None
    bits = np.asarray(image.getchannel("A")).T.reshape(-1) & 1
    if np.packbits(bits[:_HEAD]).tobytes() != _SIGNATURE:
        return None
    start = _HEAD + _LENGTH
    length = int.from_bytes(np.packbits(bits[_HEAD:start]).tobytes(), "big")
    try:
        return gzip.decompress(np.packbits(bits[start : start + length]).tobytes()).decode("utf-8")
    except (EOFError, OSError, UnicodeDecodeError):
        return None
