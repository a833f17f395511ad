"""Five scenes behind the monsters, each in a few fixed variants, painted once and kept."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .shapes import UNITS, Canvas, Colour, below, capsule, circle, ellipse, spike

VARIANTS = 4
HORIZON = 86.0


def _sky(size: int, top: Colour, bottom: Colour) -> Canvas:
    share = np.clip((np.arange(size) + 0.5) / size * UNITS / HORIZON, 0.0, 1.0).astype(np.float32)[:, None]
    rows = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share
    return Canvas(np.repeat(rows[:, None, :], size, axis=1))


def _hill(canvas: Canvas, height: float, swing: float, phase: float, colour: Colour) -> None:
    canvas.paint(below(lambda x: height + swing * np.sin(x * (2 * np.pi / UNITS) + phase)), colour)


def _night(size: int, rng: np.random.Generator, shift: float) -> Canvas:
    canvas = _sky(size, (16, 18, 56), (54, 48, 112))
    for x, y in ((12, 40), (30, 10), (52, 24), (72, 8), (88, 44), (118, 58), (6, 68)):
        canvas.paint(circle(x + shift, y + float(rng.uniform(-3, 3)), 1.7), (255, 250, 205))
    canvas.paint(circle(106 + shift, 21, 12), (255, 240, 170))
    canvas.paint(circle(111 + shift, 18, 10), (27, 27, 70))
    _hill(canvas, HORIZON + 2, 4, shift * 0.3, (38, 50, 84))
    _hill(canvas, 100, 2, 2 + shift * 0.3, (30, 40, 66))
    return canvas


def _meadow(size: int, rng: np.random.Generator, shift: float) -> Canvas:
    canvas = _sky(size, (104, 190, 244), (206, 238, 252))
    for x, y, r in ((16, 22, 9), (27, 19, 11), (38, 23, 8), (96, 14, 7), (106, 12, 9), (115, 15, 7)):
        canvas.paint(ellipse(x + shift, y, r * 1.2, r * 0.75), (255, 255, 255))
    _hill(canvas, HORIZON - 6, 5, shift * 0.3, (140, 208, 104))
    _hill(canvas, HORIZON + 6, 4, 2.4 + shift * 0.3, (164, 222, 110))
    inks: tuple[Colour, ...] = ((255, 255, 255), (255, 214, 70), (255, 130, 160))
    for index, x in enumerate((9, 29, 49, 69, 89, 109, 121)):
        canvas.paint(circle(x + shift, 117 + float(rng.uniform(-5, 5)), 2.6), inks[index % 3])
    return canvas


def _sunset(size: int, rng: np.random.Generator, shift: float) -> Canvas:
    canvas = _sky(size, (236, 96, 100), (255, 206, 122))
    canvas.paint(circle(64 + 4 * shift, HORIZON - 8, 25), (255, 236, 150))
    for x, y, w in ((22, 26, 16), (100, 38, 18), (64, 14, 12)):
        canvas.paint(ellipse(x + shift, y + float(rng.uniform(-2, 2)), w, 3.6), (255, 170, 130))
    _hill(canvas, HORIZON + 1, 4, 1 + shift * 0.3, (158, 82, 88))
    _hill(canvas, 101, 3, 4 + shift * 0.3, (122, 60, 76))
    return canvas


def _sea(size: int, rng: np.random.Generator, shift: float) -> Canvas:
    canvas = _sky(size, (126, 214, 238), (222, 248, 244))
    canvas.paint(circle(20 - shift, 20, 11), (255, 230, 96))
    canvas.paint(below(lambda x: np.full_like(x, 66.0)), (34, 150, 190))
    for x, y in ((14, 74), (46, 80), (80, 73), (114, 79)):
        canvas.paint(capsule(x - 8 + shift, y, x + 8 + shift, y, 1.5), (168, 230, 238))
    _hill(canvas, 93, 2.5, float(rng.uniform(-0.4, 0.4)), (240, 250, 244))
    _hill(canvas, 97, 2.5, 0.3 + shift * 0.1, (240, 214, 150))
    return canvas


def _snow(size: int, rng: np.random.Generator, shift: float) -> Canvas:
    canvas = _sky(size, (146, 164, 194), (206, 218, 234))
    for x, tall in ((14.0, 40.0), (112.0, 46.0)):
        for tier in range(3):
            canvas.paint(spike(x + shift, 92 - tier * tall * 0.26, 0.0, tall * 0.5, 13 - 3 * tier), (52, 104, 100))
    _hill(canvas, HORIZON + 2, 3, shift * 0.3, (232, 240, 250))
    _hill(canvas, 102, 2, 2 + shift * 0.3, (250, 252, 255))
    for x, y in ((6, 12), (30, 30), (44, 8), (62, 22), (80, 10), (96, 30), (120, 16), (34, 56), (92, 58)):
        canvas.paint(circle(x + shift, y + float(rng.uniform(-3, 3)), 2.0), (255, 255, 255))
    return canvas


_SCENES = (_night, _meadow, _sunset, _sea, _snow)


@lru_cache(maxsize=64)
def background(index: int, variant: int, size: int) -> np.ndarray:
    """float32 [size, size, 3] in 0..255 of scene `index`; treat as read-only. Variants differ by small shifts."""
    rng = np.random.default_rng(1000 * index + variant)
    shift = (variant - (VARIANTS - 1) / 2) * 1.5
    picture = _SCENES[index](size, rng, shift).picture
    picture.setflags(write=False)
    return picture
