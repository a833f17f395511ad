"""A sheet of rows: every picture is on it, whole, where rows of any length and size put it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from extension_core.measures.rows import Row, sheet_of_rows

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30))


def row(count: int, side: tuple[int, int] = (64, 48), measured: str = "diversity 0.123") -> Row:
    return Row("Base alone", measured, [Image.new("RGB", side, colour) for colour in COLOURS[:count]])


def areas(sheet: Image.Image) -> list[int]:
    """How many pixels have each colour."""
    pixels = np.asarray(sheet)
    return [int((pixels == colour).all(axis=-1).sum()) for colour in COLOURS]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.sampled_from([(64, 48), (16, 16), (40, 100)]))
def test_every_picture_is_there_whole(counts: list[int], side: tuple[int, int]) -> None:
    expected = [side[0] * side[1] * sum(count > place for count in counts) for place in range(4)]
    assert areas(sheet_of_rows([row(count, side) for count in counts])) == expected


def test_wide_rows_are_made_narrower_and_keep_their_shape() -> None:
    sheet = sheet_of_rows([row(4, (400, 200))] * 2, widest=500)
    assert 400 < sheet.width <= 500
    [area] = set(areas(sheet))
    width = (500 - 6) // 4 - 6
    assert area == 2 * width * (width // 2)


def test_more_pictures_than_there_is_room_for_are_drawn_all_the_same() -> None:
    many = Row("Base alone", "diversity 0.123", [Image.new("RGB", (64, 48), COLOURS[0])] * 800)
    sheet = sheet_of_rows([many], widest=1000)
    assert areas(sheet)[0] >= 800
    assert sheet.width <= 2 * 800 + 1


def test_words_make_room_for_themselves() -> None:
    said, unsaid = (sheet_of_rows([row(2, measured=measured)]) for measured in ("diversity 0.123", ""))
    assert said.height > unsaid.height
    assert (np.asarray(said)[-12:] < 120).any()
