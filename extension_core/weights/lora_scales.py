"""Rank and alpha as trainers state them beside a LoRA's tensors: what each layer's change is multiplied by.

Kohya's trainers, OneTrainer and LyCORIS keep an `alpha` tensor for each layer, and a file without one means its rank:
the metadata's `ss_network_alpha` is read by nobody (sd-scripts' networks/lora.py, ComfyUI, the hosts). peft states both
in `adapter_config.json`, diffusers (0.34) the same in the header under `lora_adapter_metadata`, each key with the name
of its component before it: `unet.r`, `text_encoder.lora_alpha`. There, a layer may have a rank and an alpha of its own:
the first pattern that its path ends with, or matches as a regular expression, counts (peft/utils/other.py, 0.18).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from extension_core.errors import DiversityError
from extension_core.weights.lora_names import FIRST_TEXT, SECOND_TEXT, UNET
from extension_core.weights.reader import Header

_LONGEST_PATTERN, _MOST_REPEATS = 300, 3
_PLAIN = re.compile(r"[\w.]+")
_REPEATS = re.compile(r"[*+{]")
_REPEATED_GROUP = re.compile(r"[)\]][*+{]")


@dataclass(frozen=True)
class Stated:
    """What one component's configuration says.

    Attributes:
        rank, alpha: of layers that no pattern names.
        ranks, alphas: by pattern, in the order of the file.
        by_root: whether a change is divided by the rank's square root (rank-stabilised LoRA).
    """

    rank: float
    alpha: float
    ranks: Mapping[str, float]
    alphas: Mapping[str, float]
    by_root: bool

    def rank_of(self, path: str) -> float:
        """The rank of a layer, by its path in the trainer's words."""
        return _first(self.ranks, path, self.rank)

    def scale(self, path: str) -> float:
        """What that layer's change is multiplied by."""
        rank = self.rank_of(path)
        return _first(self.alphas, path, self.alpha) / (rank**0.5 if self.by_root else rank)


def _first(patterns: Mapping[str, float], path: str, otherwise: float) -> float:
    return next((value for pattern, value in patterns.items() if _names(pattern, path)), otherwise)


def _names(pattern: str, path: str) -> bool:
    if _PLAIN.fullmatch(pattern):
        return path == pattern or path.endswith(f".{pattern}")
    return re.match(rf"(?:.*\.)?(?:{pattern})$", path) is not None


def stated_in(header: Header) -> dict[str, Stated]:
    """What is stated of each component that is; {} if a file states nothing.

    Raises:
        DiversityError: it is stated in a form that cannot be read.
    """
    config = _config(header)
    try:
        found = {component: _stated(_of(config, component)) for component in (UNET, FIRST_TEXT, SECOND_TEXT)}
    except (TypeError, ValueError, OverflowError, AttributeError, re.error) as error:
        raise _unreadable(header) from error
    return {component: stated for component, stated in found.items() if stated is not None}


def _of(config: Mapping[str, Any], component: str) -> dict[str, Any]:
    """One component's part; a configuration without prefixes, as peft's own, is about everything in its file."""
    own = {key.removeprefix(f"{component}."): value for key, value in config.items() if key.startswith(f"{component}.")}
    return own or {key: value for key, value in config.items() if "." not in key}


def _stated(config: Mapping[str, Any]) -> Stated | None:
    # peft's LoHa and LoKr say `alpha`.
    rank, alpha = config.get("r"), config.get("lora_alpha", config.get("alpha"))
    if rank is None or alpha is None:
        return None
    if not float(rank) > 0:
        raise ValueError("a rank of nothing")
    ranks, alphas = (dict(_patterns(config.get(f"{what}_pattern") or {})) for what in ("rank", "alpha"))
    stated = Stated(float(rank), float(alpha), ranks, alphas, bool(config.get("use_rslora")))
    if config.get("peft_type") == "LOKR" and "peft_version" not in config:
        _check_lokr(stated)
    return stated


def _check_lokr(stated: Stated) -> None:
    """Older versions of peft trained a LoKr without its scale (0.13), newer ones with it (0.18), and say so."""
    if any(stated.scale(path) != 1 for path in ("", *stated.ranks, *stated.alphas)):
        raise ValueError("a scale that counts in some versions")


def _patterns(found: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """A pattern that could take forever to be tried is not tried."""
    for pattern, value in found.items():
        if not _PLAIN.fullmatch(pattern):
            endless = len(_REPEATS.findall(pattern)) > _MOST_REPEATS or _REPEATED_GROUP.search(pattern)
            if len(pattern) > _LONGEST_PATTERN or endless:
                raise ValueError("a pattern of many repeats")
            re.compile(pattern)
        yield pattern, float(value)


def _config(header: Header) -> dict[str, Any]:
    text = header.metadata.get("lora_adapter_metadata", "{}")
    try:
        if header.path.stem == "adapter_model":
            with suppress(FileNotFoundError):
                text = header.path.with_name("adapter_config.json").read_text(encoding="utf-8")
        parsed = json.loads(text)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise _unreadable(header) from error
    if not isinstance(parsed, dict):
        raise _unreadable(header)
    return cast("dict[str, Any]", parsed)


def _unreadable(header: Header) -> DiversityError:
    where = "adapter_config.json beside it" if header.path.stem == "adapter_model" else "its header"
    return DiversityError(
        f"The LoRA '{header.path.name}' states rank and alpha in {where} in a form that cannot be read, so its "
        "strength is not known; download it again or convert it to kohya's format."
    )
