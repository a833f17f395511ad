"""Words for monsters and back: captions that mention some attributes, and what a prompt fixes."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np

from .attributes import ATTRIBUTES, Attributes

_MOUTH_ADJECTIVES = ("frowning", "bored", "smiling", "grinning")
_BACKGROUNDS = ("at night", "in a meadow", "at sunset", "by the sea", "in the snow")
_POSITIONS = ("on the left", "in the middle", "on the right")
_HORNS = ("no horns", "one horn", "two horns")
_OPENINGS = ("a", "picture of a", "a cartoon")
_MENTIONED_SHARES = (0.14, 0.20, 0.20, 0.15, 0.10, 0.07, 0.05, 0.04, 0.03, 0.02)
"""Share of captions that mention 0, 1, ... 9 attributes: short, ambiguous prompts are common."""

VOCABULARY: tuple[str, ...] = tuple(
    sorted(
        set(
            " ".join(
                (
                    *_MOUTH_ADJECTIVES,
                    *_BACKGROUNDS,
                    *_POSITIONS,
                    *_HORNS,
                    *_OPENINGS,
                    *ATTRIBUTES["body"],
                    *ATTRIBUTES["colour"],
                    *ATTRIBUTES["spots"],
                    *ATTRIBUTES["eyes"],
                    *ATTRIBUTES["eye_size"],
                    "monster with and eye eyes ,",
                )
            ).split()
        )
    )
)
"""Every word (and the comma) that a caption can contain."""


def sample_mention(rng: np.random.Generator) -> frozenset[str]:
    """Which attributes a training caption mentions; the empty set ("a monster") in about one of seven."""
    count = int(rng.choice(len(_MENTIONED_SHARES), p=_MENTIONED_SHARES))
    names = tuple(ATTRIBUTES)
    return frozenset(names[i] for i in rng.permutation(len(names))[:count])


def _eye_words(attributes: Attributes, mention: Collection[str]) -> str:
    words = [attributes.label(name) for name in ("eyes", "eye_size") if name in mention]
    single = "eyes" in mention and attributes.eyes == 0
    return " ".join([*words, "eye" if single else "eyes"]) if words else ""


def caption(attributes: Attributes, rng: np.random.Generator, mention: Collection[str] | None = None) -> str:
    """A lower-case caption that says the attributes in `mention` (drawn at random when None) and no other.

    `rng` also chooses among wordings ("a smiling monster" or "a monster, smiling").
    """
    mention = sample_mention(rng) if mention is None else mention
    opening = _OPENINGS[int(rng.choice(3, p=(0.8, 0.1, 0.1)))]
    mouth = _MOUTH_ADJECTIVES[attributes.mouth] if "mouth" in mention else ""
    mouth_first = bool(rng.integers(2))
    adjectives = [mouth] if mouth_first else []
    adjectives += [attributes.label(name) if name in mention else "" for name in ("spots", "body", "colour")]
    features = [_eye_words(attributes, mention), _HORNS[attributes.horns] if "horns" in mention else ""]
    features = [feature for feature in features if feature]
    words = [opening, *adjectives, "monster"]
    if features:
        words += ["with", " and ".join(features)]
    places = [_POSITIONS[attributes.position] if "position" in mention else ""]
    places.append(_BACKGROUNDS[attributes.background] if "background" in mention else "")
    clauses = [" ".join(word for word in words if word), "" if mouth_first else mouth, *places]
    return ", ".join(clause for clause in clauses if clause)


def parse_prompt(prompt: str) -> dict[str, int]:
    """What a prompt fixes: attribute name -> index; {} for "a monster". Words it does not know are ignored."""
    text = " ".join(re.findall(r"[a-z]+", prompt.lower()))
    found: dict[str, int] = {}

    def look(name: str, patterns: Collection[str]) -> None:
        for index, pattern in enumerate(patterns):
            if re.search(rf"\b(?:{pattern})\b", text):
                found[name] = index

    for name in ("body", "colour", "spots"):
        look(name, ATTRIBUTES[name])
    look("eyes", [rf"{word} (?:(?:small|big) )?eyes?" for word in ATTRIBUTES["eyes"]])
    look("eye_size", [rf"{word} eyes?(?:d)?" for word in ATTRIBUTES["eye_size"]])
    look("mouth", ("frown(?:ing)?|sad", "bored|flat mouth", "smil(?:e|es|ing)|happy", "grin(?:s|ning)?|teeth"))
    look("horns", ("(?:no|without) horns?", "one horn", "two horns"))
    look("position", ("left", "middle|centre|center", "right"))
    look("background", ATTRIBUTES["background"])
    return found
