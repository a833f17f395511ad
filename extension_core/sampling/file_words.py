"""A model file's name, or another short text that names one, as words: `hyperSDXL8Steps` is hyper, sdxl, 8, steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Runs of capitals, of small letters, of digits, of other writing; a capital that begins a word is not the end of a run.
_RUNS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W0-9_A-Za-z]+")
_STATED = ("lightning", "turbo", "hyper", "flash", "lcm", "tcd", "pcm", "dmd")
_HAS_STATED = re.compile("|".join(_STATED))
# What makers write together with a family's name and with nothing between.
_GLUED = re.compile(
    rf"(?P<before>[a-z]*(?:sdxl|xl|sd)|ill?|illustrious|pony|n?sfw|[a-z]+(?=lcm)|)(?P<word>{'|'.join(_STATED)})"
    r"(?P<after>sdxl|xl|sd|lora|unet|vae|like|step|steps|v|)"
)
_STEP_WORDS = re.compile(r"steps?(?:lora|unet|cfg)?")
_COUNTER_DIGITS = 3
_DIGITS = 2
_MOST_STEPS = 16  # of all files that are published for a number of steps


@dataclass(frozen=True)
class Word:
    """A run of letters or of digits.

    Attributes:
        text: in small letters.
        start, end: where it stands.
    """

    text: str
    start: int
    end: int

    @property
    def is_number(self) -> bool:
        """Whether it is digits."""
        return self.text.isdecimal()

    def touches(self, next_word: Word) -> bool:
        """Whether nothing stands between this and the next one."""
        return self.end == next_word.start


def words_of(text: str) -> list[Word]:
    """The words of a name, in order."""
    words: list[Word] = []
    for found in _RUNS.finditer(text.replace("LoRA", "Lora")):
        for part in _parts(found.group().lower(), words[-1].text if words else ""):
            start = words[-1].end if words and words[-1].end > found.start() else found.start()
            words.append(Word(part, start, start + len(part)))
    return words


def _parts(run: str, before: str) -> list[str]:
    """A run as it is, or taken apart where a family's name is glued to something: `xlturbo`, DMD2's 4 steps as 24."""
    if before == "dmd" and len(run) == len("24") and run.startswith("2") and run.isdecimal():
        return [run[0], run[1]]
    glued = _GLUED.fullmatch(run) if _HAS_STATED.search(run) else None
    return [run] if glued is None else [part for part in glued.groups() if part]


def step_count(words: Sequence[Word]) -> int | None:
    """How many steps a name says that its file is for; None if it does not.

    A trainer's counter (`-step00002500`) is none, nor is the version before it (`v2-step00002500`), nor a range written
    as one number (`46Step` for 4 to 6).
    """
    for at in range(len(words) - 1):
        number, word = words[at], words[at + 1]
        if not (number.is_number and len(number.text) <= _DIGITS and _STEP_WORDS.fullmatch(word.text)):
            continue
        if not 0 < int(number.text) <= _MOST_STEPS:
            continue
        before = words[at - 1] if at else None
        is_version = before is not None and before.text in ("v", "ver") and before.touches(number)
        if not is_version and not _is_counter(number, word, words[at + 2 :]):
            return int(number.text)
    return None


def _is_counter(number: Word, word: Word, after: Sequence[Word]) -> bool:
    if not after or not after[0].is_number:
        return False
    counts_on = len(after[0].text) >= _COUNTER_DIGITS and not number.touches(word)
    return word.touches(after[0]) or counts_on
