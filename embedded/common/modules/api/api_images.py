"""Pictures as base64 text."""

from __future__ import annotations

import base64
import io
from typing import Any

from fastapi.exceptions import HTTPException
from PIL import Image

from modules import images
from modules.shared import opts


def decode_base64_to_image(encoding: str) -> Image.Image:
    """HTTPException 500 for what is no picture; addresses are not fetched here."""
    if encoding.startswith(("http://", "https://")):
        raise _refusal("Requests not allowed")
    if encoding.startswith("data:image/"):
        encoding = encoding.split(";")[1].split(",")[1]
    try:
        return images.read(io.BytesIO(base64.b64decode(encoding)))
    except Exception as fault:
        raise _refusal("Invalid encoded image") from fault


def _refusal(reason: str) -> HTTPException:
    return HTTPException(status_code=500, detail=reason)


def encode_pil_to_base64(image: Any) -> Any:
    if isinstance(image, str):
        return image
    kind = opts.samples_format.lower()
    if kind == "png":
        return base64.b64encode(images.to_bytes(image))
    writers = {"jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
    if kind not in writers:
        raise _refusal("Invalid image format")
    out = io.BytesIO()
    image.convert("RGB").save(out, format=writers[kind], quality=opts.jpeg_quality)
    return base64.b64encode(out.getvalue())
