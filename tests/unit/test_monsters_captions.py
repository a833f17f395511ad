"""Captions say what they should and are read back exactly."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.monsters import (
    ATTRIBUTES,
    VOCABULARY,
    Attributes,
    caption,
    from_labels,
    parse_prompt,
    sample_attributes,
    sample_mention,
)

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

monsters = st.builds(Attributes, **{name: st.integers(0, len(labels) - 1) for name, labels in ATTRIBUTES.items()})
mentions = st.frozensets(st.sampled_from(sorted(ATTRIBUTES)))


@given(monsters, mentions, st.integers(0, 2**32 - 1))
def test_a_caption_fixes_exactly_what_it_mentions(monster: Attributes, mention: frozenset[str], seed: int) -> None:
    words = caption(monster, np.random.default_rng(seed), mention)
    assert parse_prompt(words) == {name: getattr(monster, name) for name in mention}


@given(monsters, mentions, st.integers(0, 2**32 - 1))
def test_captions_use_the_vocabulary_alone(monster: Attributes, mention: frozenset[str], seed: int) -> None:
    words = re.findall(r"[a-z]+|,", caption(monster, np.random.default_rng(seed), mention))
    assert set(words) <= set(VOCABULARY)


def test_every_word_of_the_vocabulary_occurs() -> None:
    rng = np.random.default_rng(0)
    said = {word for _ in range(3000) for word in re.findall(r"[a-z]+|,", caption(sample_attributes(rng), rng))}
    assert said == set(VOCABULARY)


def test_ambiguous_captions_are_common() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(len(sample_mention(rng)) for _ in range(4000))
    assert 0.1 < counts[0] / 4000 < 0.18
    assert counts[9] > 0


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        ("a monster", {}),
        ("", {}),
        ("picture of a monster", {}),
        ("A Green MONSTER, smiling", {"colour": "green", "mouth": "smile"}),
        ("a happy monster without horns", {"mouth": "smile", "horns": "none"}),
        ("a big-eyed monster", {"eye_size": "big"}),
        ("two monsters", {}),
        ("a monster with three small eyes and two horns", {"eyes": "three", "eye_size": "small", "horns": "two"}),
        ("a monster in the centre of the snow", {"position": "middle", "background": "snow"}),
        ("a colored, bluish, redder thing", {}),
    ],
)
def test_prompts_people_write(prompt: str, labels: dict[str, str]) -> None:
    assert parse_prompt(prompt) == from_labels(labels)
