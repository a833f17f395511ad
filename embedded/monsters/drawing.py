"""Draws a monster from its attributes: scene, shadow, arms, horns, feet, body, spots, eyes, mouth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .attributes import Attributes
from .backgrounds import VARIANTS, background
from .shapes import (
    UNITS,
    Canvas,
    Colour,
    Shape,
    arc,
    both,
    capsule,
    circle,
    ellipse,
    fluffy_ellipse,
    half_disc,
    rounded_box,
    spike,
)

PALETTE: tuple[Colour, ...] = (
    (226, 58, 52),
    (250, 204, 50),
    (66, 178, 84),
    (62, 126, 232),
    (136, 78, 196),
    (250, 142, 190),
)
"""Body colours in the order of ATTRIBUTES["colour"]."""
OUTLINE = 2.2
INK: Colour = (34, 26, 40)
BONE: Colour = (250, 232, 186)
WHITE: Colour = (255, 255, 255)
POSITIONS = (45.0, 64.0, 83.0)


@dataclass(frozen=True)
class _Build:
    """Where the body is and how far it reaches; eye and mouth heights are relative to the centre."""

    shape: Shape
    cx: float
    cy: float
    rx: float
    ry: float
    eye_y: float
    mouth_y: float


def _build(body: int, cx: float, cy: float, scale: float) -> _Build:
    rx, ry, down, eye_y, mouth_y = (
        (35.0, 35.0, 0.0, -10.0, 14.0),
        (26.0, 43.0, -5.0, -18.0, 10.0),
        (34.0, 33.0, 2.0, -10.0, 14.0),
        (38.0, 37.0, 0.0, -9.0, 14.0),
    )[body]
    rx, ry, cy = rx * scale, ry * scale, cy + down * scale
    shape = (
        ellipse(cx, cy, rx, ry),
        rounded_box(cx, cy, rx, ry, rx),
        rounded_box(cx, cy, rx, ry, 10.0),
        fluffy_ellipse(cx, cy, rx, ry, 13, 0.13),
    )[body]
    return _Build(shape, cx, cy, rx, ry, cy + eye_y * scale, cy + mouth_y * scale)


def _ramp(colour: Colour, size: int, top: float, bottom: float) -> np.ndarray:
    """Light from above: [size, 3], brighter at the body's top and darker at its bottom (units of 1/128)."""
    y = (np.arange(size) + 0.5) / size * UNITS
    share = np.clip((y - top) / (bottom - top), 0.0, 1.0)[:, None]
    base = np.asarray(colour, np.float32)
    return (base + (255 - base) * 0.22 * (1 - share) ** 2) * (1.0 - 0.24 * share**2)


def _dark(colour: Colour, factor: float = 0.34) -> Colour:
    r, g, b = (channel * factor for channel in colour)
    return r, g, b


def _outlined(canvas: Canvas, shape: Shape, colour: Colour | np.ndarray, line: Colour) -> None:
    canvas.paint(shape, line, grow=OUTLINE)
    canvas.paint(shape, colour)


def _limbs(canvas: Canvas, build: _Build, ink: np.ndarray, line: Colour, arms: int) -> None:
    side, shoulder = build.rx * 0.9, build.cy + 6
    for direction, raised in ((-1, arms == 1), (1, arms >= 1)):
        hand_y = shoulder - 20 if raised else shoulder + 17
        x = build.cx + direction * side
        _outlined(canvas, capsule(x, shoulder, x + direction * 8, hand_y, 4.6), ink, line)
    for direction in (-1, 1):
        foot = ellipse(build.cx + direction * build.rx * 0.48, build.cy + build.ry, 10.5, 6.0)
        _outlined(canvas, foot, ink, line)


def _horns(canvas: Canvas, build: _Build, count: int, line: Colour) -> None:
    top = build.cy - build.ry
    if count == 1:
        _outlined(canvas, spike(build.cx, top + 5, 0.0, 27.0, 8.5), BONE, line)
    elif count == 2:
        for direction in (-1, 1):
            x = build.cx + direction * build.rx * 0.56
            _outlined(canvas, spike(x, top + 12, direction * 0.35, 29.0, 7.5), BONE, line)


def _spots(canvas: Canvas, build: _Build, colour: Colour) -> None:
    ink = _dark(colour, 0.62)
    places = ((-0.78, -0.1, 6.0), (0.8, 0.02, 6.5), (-0.52, 0.74, 6.5), (0.46, 0.78, 6.0), (0.0, -0.84, 5.5))
    for u, v, r in (*places, (-0.5, -0.66, 4.5), (0.55, -0.6, 5.0)):
        spot = circle(build.cx + u * build.rx, build.cy + v * build.ry, r)
        canvas.paint(both(spot, build.shape), ink)


def _eye(canvas: Canvas, x: float, y: float, r: float, gaze: tuple[float, float]) -> None:
    _outlined(canvas, circle(x, y, r), WHITE, INK)
    pupil = r * 0.55
    px, py = x + gaze[0] * r * 0.3, y + gaze[1] * r * 0.3
    canvas.paint(circle(px, py, pupil), INK)
    canvas.paint(circle(px - pupil * 0.35, py - pupil * 0.4, pupil * 0.36), WHITE)


def _eyes(canvas: Canvas, build: _Build, count: int, big: int, gaze: tuple[float, float]) -> None:
    r = ((7.5, 15.0), (6.0, 11.5), (5.0, 8.8))[count][big]
    spread = ((0.0,), (-1.0, 1.0), (-2.0, 0.0, 2.0))[count]
    gap = r + (1.5 if big else 3.5)
    for place in spread:
        lift = 3.0 if count == 2 and place == 0.0 else 0.0
        _eye(canvas, build.cx + place * gap, build.eye_y - lift, r, gaze)


def _mouth(canvas: Canvas, build: _Build, kind: int) -> None:
    x, y = build.cx, build.mouth_y
    if kind == 3:
        jaw = half_disc(x, y - 4, 16.0, 14.0)
        _outlined(canvas, jaw, (140, 30, 48), INK)
        canvas.paint(both(rounded_box(x, y - 4, 15.0, 5.5, 1.0), jaw), WHITE)
        for gap in (-5.0, 5.0):
            canvas.paint(capsule(x + gap, y - 4, x + gap, y + 1, 0.7), INK)
        return
    bend = (-11.0, 0.0, 11.0)[kind]
    canvas.paint(arc(x, y + 1, 13.0, bend, 4.4), INK)


def draw(attributes: Attributes, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """Draw a monster: uint8 [size, size, 3].

    `rng` moves only what attributes leave open: scene variant, arms (down, up, waving), gaze, and a jitter of at
    most 2 units in place and 3 % in size.
    """
    variant, arms = int(rng.integers(VARIANTS)), int(rng.integers(3))
    jx, jy, zoom, gx, gy = (float(v) for v in rng.uniform(-1, 1, 5))
    canvas = Canvas(background(attributes.background, variant, size).copy())
    build = _build(attributes.body, POSITIONS[attributes.position] + 2 * jx, 74 + 1.5 * jy, 1 + 0.03 * zoom)
    colour = PALETTE[attributes.colour]
    line = _dark(colour)
    ink = _ramp(colour, size, build.cy - build.ry, build.cy + build.ry)
    canvas.paint(ellipse(build.cx, build.cy + build.ry + 5, build.rx * 1.05, 5.0), (20, 20, 40), opacity=0.3)
    _limbs(canvas, build, ink, line, arms)
    _horns(canvas, build, attributes.horns, line)
    _outlined(canvas, build.shape, ink, line)
    if attributes.spots:
        _spots(canvas, build, colour)
    _eyes(canvas, build, attributes.eyes, attributes.eye_size, (gx, gy))
    _mouth(canvas, build, attributes.mouth)
    return np.rint(np.clip(canvas.picture, 0, 255)).astype(np.uint8)
