"""What the infotext tells of a request: entries that count for its processing object alone.

Scripts share the dict of these entries among copies of a request, and other extensions take it over for requests of
their own, so a value is told by what runs and not by the dict that it lies in. It is text, as clients read it in the
API's `info`, and a function, which both hosts call for each image (`create_infotext`, modules/processing.py, 1.10.1).
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modules import sd_samplers_common, shared

from extension_core.options.fields import INFOTEXT_PREFIX

SWITCH = f"{INFOTEXT_PREFIX} switch"
ENDED = f"{INFOTEXT_PREFIX} ended"
REFUSED = f"{INFOTEXT_PREFIX} refused"
# The hosts' own entries by the settings they tell of, which are the user's again when an image's infotext is written.
_HOST_ENTRIES = {"Steps": "steps", "Sampler": "sampler_name", "Schedule type": "scheduler", "CFG scale": "cfg_scale"}


class Entry(str):
    """An entry's value for one processing object; what another would tell of itself is not known here."""

    def __new__(cls, text: str, p: Any, otherwise: Callable[[Any], Any] = lambda _p: None) -> Entry:
        """Args:
        text: "" leaves the entry out.
        otherwise: the entry's value for another processing object.
        """
        entry = super().__new__(cls, text)
        entry._of, entry._otherwise = weakref.ref(p), otherwise
        return entry

    _of: weakref.ref[Any]
    _otherwise: Callable[[Any], Any]

    def __call__(self, p: Any = None, **_: Any) -> Any:
        return str(self) or None if self._of() is p else self._otherwise(p)

    def __copy__(self) -> Entry:
        return self

    def __deepcopy__(self, _memo: Any) -> Entry:
        return self

    def __reduce__(self) -> Any:
        return str, (str(self),)


def tell(p: Any, entries: Mapping[str, str]) -> None:
    """Put entries of ours into a request's infotext."""
    p.extra_generation_params.update({key: Entry(value, p) for key, value in entries.items()})


def take_back(p: Any, keys: Iterable[str]) -> None:
    """Take entries of ours out of it, where they are."""
    for key in keys:
        p.extra_generation_params.pop(key, None)


def tell_settings(p: Any, ours: Mapping[str, Any]) -> None:
    """Let the hosts' own entries tell the settings that run; called while the request has them."""
    for key, name in _HOST_ENTRIES.items():
        if name in ours:
            p.extra_generation_params[key] = Entry(str(ours[name]), p, operator.attrgetter(name))
    if "sampler_name" in ours and shared.opts.eta_noise_seed_delta:
        p.extra_generation_params["ENSD"] = Entry(str(_seed_delta(p) or ""), p, _seed_delta)


def _seed_delta(p: Any) -> int | None:
    """As the hosts tell it of a request's sampler."""
    return shared.opts.eta_noise_seed_delta if sd_samplers_common.is_sampler_using_eta_noise_seed_delta(p) else None


def ended_before_the_switch(p: Any, how: str) -> None:
    """The image is of a run that ended while the base still had its turn.

    Args:
        how: "interrupted", "skipped" or "stopped".
    """
    if p.extra_generation_params.pop(SWITCH, None) is not None:
        tell(p, {ENDED: f"{how} before the switch"})


def forget(p: Any) -> None:
    """Drop what was told of an earlier processing, or of the request that this one is a copy of."""
    entries = p.extra_generation_params
    if any(_is_ours(key, value) for key, value in entries.items()):
        p.extra_generation_params = {key: value for key, value in entries.items() if not _is_ours(key, value)}


def _is_ours(key: str, value: Any) -> bool:
    return isinstance(value, Entry) or key.startswith(f"{INFOTEXT_PREFIX} ")
