"""How large a request's images are while they are made."""

from __future__ import annotations

from typing import Any


def largest_pass(p: Any) -> tuple[int, int]:
    """Width and height of a request's largest pass in pixels.

    By the host's own rule (modules/processing.py `calculate_target_resolution`, 1.10.1), which it applies in `p.init`;
    the page's plan is shown without.
    """
    if not getattr(p, "enable_hr", False):
        return p.width, p.height
    width, height = p.hr_resize_x, p.hr_resize_y
    if not width and not height:
        width, height = int(p.width * p.hr_scale), int(p.height * p.hr_scale)
    width, height = width or height * p.width // p.height, height or width * p.height // p.width
    return max(p.width, width), max(p.height, height)
