"""Contact sheets and animations, read back from their files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from extension_core.measures.lettering import fitting_line, line_of_text
from extension_core.trajectory.animation import animated_webp
from extension_core.trajectory.frames import Section, Tag
from extension_core.trajectory.sheet import (
    INK,
    LEAST_CELL,
    MUTED,
    PAPER,
    PHASE_COLOURS,
    Strip,
    contact_sheet,
    header_lines,
)
from tests.unit.trajectory import hybrid, recorded, tag

pytestmark = pytest.mark.once

HIRES = Section("hires pass")


def strip(tags: list[Tag], images: int = 2, height: int = 128, width: int = 128) -> Strip:
    """Each picture is of one colour, which tells its step and image."""
    pictures = np.zeros((len(tags), images, height, width, 3), np.uint8)
    for step in range(len(tags)):
        for image in range(images):
            pictures[step, image] = ((10 + 5 * step) % 256, (60 + 40 * image) % 256, 200)
    return Strip([frame.info for frame in recorded(tags, images).frames()], pictures)


def boxes(sheet: Image.Image, step: int, image: int) -> list[tuple[int, int, int, int]]:
    """Where a picture's colour is on the sheet, from top to bottom: left, top, right, bottom."""
    red, green, blue = np.moveaxis(np.asarray(sheet), 2, 0)
    found = (red == 10 + 5 * step) & (green == 60 + 40 * image) & (blue == 200)
    rows = np.flatnonzero(found.any(1))
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(rows) else []
    columns = [np.flatnonzero(found[run].any(0)) for run in runs]
    return [(int(c[0]), int(r[0]), int(c[-1]) + 1, int(r[-1]) + 1) for r, c in zip(runs, columns, strict=True)]


def has(region: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((region == colour).all(2).sum())


def test_rows_are_images_and_columns_are_steps() -> None:
    sheet = contact_sheet([strip(hybrid(4))])
    places = {(step, image): boxes(sheet, step, image) for step in range(4) for image in range(2)}
    assert all(len(found) == 1 for found in places.values())
    for (step, image), [(left, top, right, bottom)] in places.items():
        assert (right - left, bottom - top) == (128, 128)
        assert left == places[step, 0][0][0]
        assert top == places[0, image][0][1]
        assert step == 0 or left > places[step - 1, image][0][2]
        assert image == 0 or top > places[step, 0][0][3]


def test_models_differ_by_colour_letter_and_bar() -> None:
    sheet = contact_sheet([strip(hybrid(4, 2))])
    pixels = np.asarray(sheet)
    for step, phase in enumerate(("base", "base", "distilled", "distilled")):
        [(left, top, right, _)] = boxes(sheet, step, 0)
        bar = pixels[top - 15 : top - 8, left:right]
        mine, other = PHASE_COLOURS[phase], PHASE_COLOURS["base" if phase == "distilled" else "distilled"]
        assert has(bar[:1], mine) == 128, "the bar's edge"
        assert (has(bar[3:4], mine) == 128) == (phase == "distilled"), "filled or hollow"
        assert has(pixels[: top - 20, left:right], other) == 0
    assert [header_lines(frame)[0] for frame in strip(hybrid(4, 2)).frames] == [
        "B step 1/4",
        "B step 2/4",
        "D step 3/4 switch",
        "D step 4/4",
    ]
    assert header_lines(strip(hybrid(4)).frames[0])[1:] == ("t 999  CFG 1", "sigma 14.61", "sdxl base 1.0")


def test_a_line_marks_the_switch_from_label_to_last_image() -> None:
    sheet = contact_sheet([strip(hybrid(4, 2))])
    pixels = np.asarray(sheet)
    for step in range(1, 4):
        [(_, _, right, _)] = boxes(sheet, step - 1, 1)
        [(left, _, _, bottom)] = boxes(sheet, step, 1)
        marked = max(has(pixels[:bottom, x : x + 1], INK) for x in range(right, left))
        assert (marked > 300) == (step == 2)


def test_one_model_alone_has_no_letter_and_no_bar() -> None:
    alone = strip([tag(step, 3) for step in range(3)])
    assert header_lines(alone.frames[0])[0] == "step 1/3"
    pixels = np.asarray(contact_sheet([alone]))
    assert has(pixels, PHASE_COLOURS["base"]) == has(pixels, PHASE_COLOURS["distilled"]) == 0


def contrast(first: tuple[int, int, int], second: tuple[int, int, int]) -> float:
    """WCAG 2.1 contrast ratio."""

    def luminance(colour: tuple[int, int, int]) -> float:
        linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_labels_are_large_and_dark_enough_and_fit_their_column() -> None:
    for colour in (*PHASE_COLOURS.values(), INK, MUTED):
        assert contrast(colour, PAPER) >= 4.5
    longest = [tag(149, 150, "distilled")]
    for words in header_lines(strip(longest).frames[0]):
        line = line_of_text(words, 12, INK, PAPER)
        assert line.width <= LEAST_CELL, words
        assert line.height >= 10
    assert line_of_text("step", 22, INK, PAPER).height >= 1.6 * line_of_text("step", 11, INK, PAPER).height


@given(st.text(max_size=60), st.integers(20, 200), st.sampled_from([11, 22]))
@settings(max_examples=60, deadline=None)
def test_any_text_fits_its_width(words: str, width: int, letter: int) -> None:
    line = fitting_line(words, letter, width, INK, PAPER)
    assert line.width <= max(width, fitting_line("..", letter, 1, INK, PAPER).width)
    assert line.height < 3 * letter


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 16), st.integers(1, 2), st.integers(1, 12))
def test_long_runs_wrap_and_show_every_frame(steps: int, images: int, columns: int) -> None:
    sheet = contact_sheet([strip(hybrid(steps), images, 40, 40)], columns=columns)
    assert sheet.width <= 40 + min(columns, steps) * (LEAST_CELL + 8)
    for step in range(steps):
        for image in range(images):
            [(left, _, right, _)] = boxes(sheet, step, image)
            assert right - left == LEAST_CELL, "small frames are enlarged"
            assert left == boxes(sheet, step % columns, 0)[0][0]


def test_sections_continue_below() -> None:
    sheet = contact_sheet([strip(hybrid(3)), strip(hybrid(3, section=HIRES), height=200, width=160)])
    assert [(right - left, bottom - top) for left, top, right, bottom in boxes(sheet, 0, 0)] == [(128, 128), (160, 200)]
    tall = contact_sheet([strip(hybrid(2), height=128, width=64)])
    [(first, _, edge, _)], [(second, *_)] = boxes(tall, 0, 0), boxes(tall, 1, 0)
    assert edge - first == 64
    assert second - first >= LEAST_CELL, "labels have room beside narrow frames"


@pytest.mark.parametrize(("steps", "images", "batches"), [(4, 30, 1), (50, 8, 1), (4, 1, 60), (50, 1, 1), (4, 2, 2)])
def test_no_sheet_is_a_tower(steps: int, images: int, batches: int) -> None:
    strips = [strip(hybrid(steps, section=Section("first pass", n, batches)), images, 8, 8) for n in range(batches)]
    sheet = contact_sheet(strips)
    assert 0.25 * sheet.width <= sheet.height <= 2.4 * sheet.width
    red, green, blue = np.moveaxis(np.asarray(sheet), 2, 0)
    for step, image in ((0, 0), (steps - 1, images - 1)):
        found = (red == 10 + 5 * step) & (green == (60 + 40 * image) % 256) & (blue == 200)
        assert found.sum() == batches * LEAST_CELL**2


def test_what_is_missing_stands_above_the_strips() -> None:
    drawn = [strip(hybrid(4))]
    plain, noted = contact_sheet(drawn), contact_sheet(drawn, note="The oldest 5 frames were dropped. " * 4)
    assert noted.width == plain.width
    assert noted.height > plain.height + 2 * 10, "in several lines"
    pixels = np.asarray(noted)
    [(_, top, _, _)] = boxes(noted, 0, 0)
    assert has(pixels[: top - 100], INK) > has(np.asarray(plain)[: boxes(plain, 0, 0)[0][1] - 100], INK)
    assert contact_sheet([strip(hybrid(1))], note="word " * 1000).height < 1000


def test_sheets_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(ValueError, match="give one of each"):
        contact_sheet([])
    with pytest.raises(ValueError, match="give one of each"):
        contact_sheet([strip(hybrid(2))], columns=0)
    with pytest.raises(ValueError, match="2 frames cannot have 1 rows"):
        Strip(strip(hybrid(2)).frames, strip(hybrid(1)).pictures)
    with pytest.raises(ValueError, match="at least one strip"):
        animated_webp([])


def frames_of(content: bytes) -> list[tuple[np.ndarray, int]]:
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.format == "WEBP"
        frames = []
        for index in range(getattr(opened, "n_frames", 1)):
            opened.seek(index)
            opened.load()
            frames.append((np.asarray(opened.convert("RGB")), opened.info["timestamp"]))
        return frames


def test_an_animation_has_a_frame_a_step_and_rests_on_the_last() -> None:
    content = animated_webp([strip(hybrid(5), images=4)], frame_ms=300, last_ms=1500)
    frames = frames_of(content)
    assert [pixels.shape for pixels, _ in frames] == [(260, 260, 3)] * 5
    assert [starts for _, starts in frames] == [0, 300, 600, 900, 1200]
    assert content[content.index(b"ANMF") - 2 : content.index(b"ANMF")] == b"\0\0", "plays for ever"
    last = content.rindex(b"ANMF") + 8 + 12  # after size, position and extent: duration in 3 bytes
    assert int.from_bytes(content[last : last + 3], "little") == 1500
    for step, (pixels, _) in enumerate(frames):
        for image in range(4):
            middle = pixels[64 + 132 * (image // 2), 64 + 132 * (image % 2)].astype(int)
            assert np.abs(middle - (10 + 5 * step, 60 + 40 * image, 200)).max() <= 8


def test_batches_play_together_and_passes_one_after_the_other() -> None:
    second = Section("first pass", 1, 2)
    strips = [strip(hybrid(3)), strip(hybrid(2, section=HIRES), height=256, width=256), strip(hybrid(4, 2, second), 1)]
    frames = frames_of(animated_webp(strips))
    assert len(frames) == 5
    assert frames[0][0].shape == (516, 516, 3), "three images of 256"
    third = [pixels[260 + 128, 128, 0] for pixels, _ in frames]
    assert abs(int(third[4]) - int(third[3])) <= 2, "it waits for the others"


def test_many_large_images_are_made_small_enough() -> None:
    frames = frames_of(animated_webp([strip(hybrid(2), images=9, height=700, width=560)]))
    assert max(frames[0][0].shape) <= 1536
    assert frames[0][0].shape[0] > 1500


def test_long_animations_of_many_images_are_smaller() -> None:
    sizes = []
    for steps in (2, 100):
        content = animated_webp([strip(hybrid(steps), images=4, height=400, width=400)])
        with Image.open(io.BytesIO(content)) as opened:
            assert getattr(opened, "n_frames", 1) == steps
            sizes.append(opened.size)
    assert sizes == [(804, 804), (680, 680)]


def test_exif_is_in_the_file() -> None:
    comment = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"[6:]
    for steps in (1, 3):
        with Image.open(io.BytesIO(animated_webp([strip(hybrid(steps))], exif=comment))) as opened:
            assert comment in opened.info["exif"]


def test_passes_with_more_images_than_the_first() -> None:
    strips = [strip(hybrid(2), 1), strip(hybrid(2, section=HIRES), 2)]
    assert len(frames_of(animated_webp(strips))) == 4


def test_one_step_is_a_picture() -> None:
    assert len(frames_of(animated_webp([strip(hybrid(1), images=1)]))) == 1
