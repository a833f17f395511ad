"""What all of our routes share: where they lie, their headers, and answers that nothing can keep from being sent."""

from __future__ import annotations

import json
import math
from typing import Any

from fastapi import Response

PREFIX = "/diversity-distillation/v1"

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Content-Encoding": "identity",  # A1111's compression would work on JPEGs (initialize_util.py, 1.10.1)
}


def bytes_answer(body: bytes, status: int, **headers: str) -> Response:
    """A body of any kind."""
    return Response(body, status, {**_HEADERS, **headers})


def json_answer(content: Any, status: int = 200, **headers: str) -> Response:
    """JSON; what UTF-8 has no bytes for, such as half of a pair, becomes a question mark."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")
    return bytes_answer(body, status, **{"Content-Type": "application/json; charset=utf-8", **headers})


def finite(number: float) -> float | None:
    """A noise level as frames tell it; None for what JSON cannot hold."""
    return round(number, 5) if math.isfinite(number) else None
