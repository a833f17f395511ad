"""A refusal as the page shows it: in the words that stand on its controls. Pure.

Sentences are made where things are refused, and name options as the API does; whoever reads one on the page knows the
labels alone.
"""

from __future__ import annotations

import re

from extension_core.options.hybrid import BY_NAME

# What stands in quotes is the user's: a file may be called by an option's name.
_QUOTED = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"")
_OF_OURS = " of Diversity Distillation"
_NAMES = "|".join(sorted(BY_NAME, key=len, reverse=True))
_WITH_OWNER = re.compile(rf"\b({_NAMES}){_OF_OURS}\b")
_UNDERSCORED = re.compile(rf"(?<![\w.-])({'|'.join(name for name in _NAMES.split('|') if '_' in name)})(?![\w-]|\.\w)")


def page_words(sentence: str) -> str:
    """A sentence without the API's names of options."""
    parts: list[str] = []
    end = 0
    for quoted in _QUOTED.finditer(sentence):
        parts += [_labelled(sentence[end : quoted.start()]), quoted.group()]
        end = quoted.end()
    return "".join((*parts, _labelled(sentence[end:])))


def _labelled(text: str) -> str:
    return _UNDERSCORED.sub(_label, _WITH_OWNER.sub(_label, text))


def _label(found: re.Match[str]) -> str:
    return BY_NAME[found.group(1)].label
