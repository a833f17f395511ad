"""`<name:arg:...>` in prompts: taken out, and handed to whatever is registered under that name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from modules import errors

_MENTION = re.compile(r"<(\w+):([^>]+)>")


class ExtraNetworkParams:
    """The arguments of one mention, split at ":"; those of the form key=value by name."""

    def __init__(self, items: Sequence[str] = ()) -> None:
        self.items = list(items)
        named = [item for item in items if item.count("=") == 1]
        self.named = dict(item.split("=") for item in named)
        self.positional = [item for item in items if item not in named]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExtraNetworkParams) and self.items == other.items

    __hash__ = None  # type: ignore[assignment]


class ExtraNetwork:
    """`activate` is called in every run, with an empty list where the prompt does not mention it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def activate(self, p: Any, params_list: list[ExtraNetworkParams]) -> None: ...

    def deactivate(self, p: Any) -> None: ...


ExtraNetworkData = dict[str, list[ExtraNetworkParams]]
extra_network_registry: dict[str, ExtraNetwork] = {}


def initialize() -> None:
    extra_network_registry.clear()


def register_extra_network(extra_network: ExtraNetwork) -> None:
    extra_network_registry[extra_network.name] = extra_network


def _each(what: str, data: ExtraNetworkData, call: Callable[[ExtraNetwork, list[ExtraNetworkParams]], None]) -> None:
    """Calls for every network, those that are mentioned first; what one raises is reported and keeps no other back."""
    for name in sorted(extra_network_registry, key=lambda name: name not in data):
        try:
            call(extra_network_registry[name], data.get(name, []))
        except Exception as fault:
            errors.display(fault, f"{what} extra network {name}")


def activate(p: Any, extra_network_data: ExtraNetworkData) -> None:
    """Those that are not mentioned are activated with nothing: `activate(p, {})` drops those of the prompt."""
    _each("activating", extra_network_data, lambda network, mentions: network.activate(p, mentions))
    told = {"batch_number": p.iteration, "extra_network_data": extra_network_data}
    told |= {"prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}
    p.tell_scripts("after_extra_networks_activate", **told)


def deactivate(p: Any, extra_network_data: ExtraNetworkData) -> None:
    _each("deactivating", extra_network_data, lambda network, _mentions: network.deactivate(p))


def parse_prompt(prompt: str) -> tuple[str, ExtraNetworkData]:
    found: ExtraNetworkData = {}
    for name, arguments in _MENTION.findall(prompt):
        found.setdefault(name, []).append(ExtraNetworkParams(arguments.split(":")))
    return _MENTION.sub("", prompt), found


def parse_prompts(prompts: Sequence[str]) -> tuple[list[str], ExtraNetworkData]:
    """The prompts without mentions; the networks are those of the first prompt of the batch alone."""
    parsed = [parse_prompt(prompt) for prompt in prompts]
    return [text for text, _ in parsed], parsed[0][1]
