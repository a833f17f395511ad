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
        raise HTTPException(status_code=500, detail="Requests not allowed")
    if encoding.startswith("data:image/"):
        encoding = encoding.split(";")[1].split(",")[1]
    try:
        return images.read(io.BytesIO(base64.b64decode(encoding)))
    except Exception as e:
        raise HTTPException(status_code=500, detail="Invalid encoded image") from e


def encode_pil_to_base64(image: Any) -> Any:
    if isinstance(image, str):
        return image
    if opts.samples_format.lower() == "png":
        return base64.b64encode(images.to_bytes(image))
    if opts.samples_format.lower() not in ("jpg", "jpeg", "webp"):
        raise HTTPException(status_code=500, detail="Invalid image format")
    with io.BytesIO() as out:
        kind = "WEBP" if opts.samples_format.lower() == "webp" else "JPEG"
        image.convert("RGB").save(out, format=kind, quality=opts.jpeg_quality)
        return base64.b64encode(out.getvalue())
