"""Signed distance fields and an antialiased canvas. Lengths are in units of 1/128 of the picture's side.

Distances are negative inside; formulas after Inigo Quilez, "2D distance functions". Some are bounds rather than exact
distances, which is enough within the one pixel where antialiasing looks at them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
Field = Callable[[np.ndarray, np.ndarray], np.ndarray]
UNITS = 128.0


@dataclass(frozen=True)
class Shape:
    """A distance field (x, y -> d) and the box (x0, y0, x1, y1) outside which it is positive."""

    field: Field
    box: tuple[float, float, float, float]


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Shape:
    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = (x - cx) / rx, (y - cy) / ry
        reach = np.sqrt(u * u + v * v)
        slope = np.sqrt((u / rx) ** 2 + (v / ry) ** 2) + 1e-6
        return np.where(reach > 0.5, (reach - 1.0) * reach / slope, -min(rx, ry) * 0.5)

    return Shape(field, (cx - rx, cy - ry, cx + rx, cy + ry))


def circle(cx: float, cy: float, r: float) -> Shape:
    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.sqrt((x - cx) ** 2 + (y - cy) ** 2) - r

    return Shape(field, (cx - r, cy - r, cx + r, cy + r))


def fluffy_ellipse(cx: float, cy: float, rx: float, ry: float, tufts: int, depth: float) -> Shape:
    """An ellipse whose radius waves `tufts` times around by the share `depth`."""

    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = (x - cx) / rx, (y - cy) / ry
        wave = np.abs(np.cos(0.5 * tufts * np.arctan2(v, u)))
        return (np.sqrt(u * u + v * v) - 1.0 + depth * (1.0 - wave)) * (0.8 * min(rx, ry))

    return Shape(field, (cx - rx, cy - ry, cx + rx, cy + ry))


def rounded_box(cx: float, cy: float, rx: float, ry: float, corner: float) -> Shape:
    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = np.abs(x - cx) - (rx - corner), np.abs(y - cy) - (ry - corner)
        outside = np.sqrt(np.maximum(u, 0) ** 2 + np.maximum(v, 0) ** 2)
        return outside + np.minimum(np.maximum(u, v), 0) - corner

    return Shape(field, (cx - rx, cy - ry, cx + rx, cy + ry))


def capsule(x0: float, y0: float, x1: float, y1: float, r: float) -> Shape:
    dx, dy = x1 - x0, y1 - y0
    length2 = max(dx * dx + dy * dy, 1e-6)

    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / length2, 0.0, 1.0)
        return np.sqrt((x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2) - r

    return Shape(field, (min(x0, x1) - r, min(y0, y1) - r, max(x0, x1) + r, max(y0, y1) + r))


def spike(bx: float, by: float, lean: float, length: float, half_width: float) -> Shape:
    """A cone standing on (bx, by), pointing up and leaning sideways by `lean` of its length."""
    norm = float(np.hypot(lean, 1.0))
    ux, uy = lean / norm, -1.0 / norm
    slant = length / float(np.hypot(length, half_width))

    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        along = (x - bx) * ux + (y - by) * uy
        across = np.abs((x - bx) * uy - (y - by) * ux)
        return np.maximum((across - half_width * (1.0 - along / length)) * slant, -along)

    reach = length * abs(ux) + half_width
    return Shape(field, (bx - reach, by - length - 1, bx + reach, by + half_width))


def arc(cx: float, cy: float, half_width: float, bend: float, thickness: float) -> Shape:
    """A mouth line: a parabola through (cx, cy) whose ends lie `bend` above it (below, for a negative bend)."""

    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u = np.clip((x - cx) / half_width, -1.0, 1.0)
        curve = cy + bend * (0.5 - u * u)
        slope = 2.0 * bend * u / half_width
        upright = np.abs(y - curve) / np.sqrt(1.0 + slope * slope)
        beyond = np.maximum(np.abs(x - cx) - half_width, 0.0)
        return np.sqrt(upright**2 + beyond**2) - thickness * 0.5

    reach = abs(bend) + thickness
    return Shape(field, (cx - half_width - thickness, cy - reach, cx + half_width + thickness, cy + reach))


def half_disc(cx: float, cy: float, rx: float, ry: float) -> Shape:
    """The lower half of an ellipse, its flat side up at y = cy."""
    whole = ellipse(cx, cy, rx, ry)

    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.maximum(whole.field(x, y), cy - y)

    return Shape(field, (cx - rx, cy, cx + rx, cy + ry))


def both(first: Shape, second: Shape) -> Shape:
    """What lies in both shapes."""

    def field(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.maximum(first.field(x, y), second.field(x, y))

    return Shape(field, first.box)


def below(line: Callable[[np.ndarray], np.ndarray]) -> Shape:
    """Everything under the curve y = line(x)."""
    return Shape(lambda x, y: line(x) - y, (0.0, 0.0, UNITS, UNITS))


class Canvas:
    """A float32 picture [size, size, 3] in 0..255 on which shapes are painted in order."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture = picture
        size = picture.shape[0]
        self.scale = size / UNITS
        self.centres = ((np.arange(size) + 0.5) / self.scale).astype(np.float32)

    def paint(self, shape: Shape, colour: Colour | np.ndarray, grow: float = 0.0, opacity: float = 1.0) -> None:
        """Paint a shape, grown by `grow` units, with one colour or a vertical ramp of colours [size, 3]."""
        size = len(self.centres)
        margin = grow + 1.0 / self.scale
        x0, y0, x1, y1 = shape.box
        left, top = (max(int((v - margin) * self.scale), 0) for v in (x0, y0))
        right, bottom = (min(int((v + margin) * self.scale) + 1, size) for v in (x1, y1))
        if left >= right or top >= bottom:
            return
        x, y = self.centres[None, left:right], self.centres[top:bottom, None]
        distance = (shape.field(x, y) - grow) * self.scale
        alpha = (np.clip(0.5 - distance, 0.0, 1.0) * opacity)[..., None]
        inks = np.asarray(colour, dtype=np.float32)
        if inks.ndim == 2:
            inks = inks[top:bottom, None, :]
        region = self.picture[top:bottom, left:right]
        region += (inks - region) * alpha
