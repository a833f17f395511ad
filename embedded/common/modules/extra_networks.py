"""`<name:arg:...>` in prompts: taken out, and handed to whatever is registered under that name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from modules import errors


class ExtraNetworkParams:
    """The arguments of one mention, split at ":"; those of the form key=value also by name."""

    def __init__(self, items: Sequence[Any] | None = None) -> None:
        self.items = list(items or [])
        self.positional: list[Any] = []
        self.named: dict[str, str] = {}
        for item in self.items:
            if isinstance(item, str) and item.count("=") == 1:
                key, value = item.split("=")
                self.named[key] = value
            else:
                self.positional.append(item)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExtraNetworkParams) and self.items == other.items

    __hash__ = None  # type: ignore[assignment]


class ExtraNetwork:
    """A kind of network. `activate` is called in every run, with an empty list where the prompt does not mention it,
    and each call overrides the one before.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def activate(self, p: Any, params_list: list[ExtraNetworkParams]) -> None:
        raise NotImplementedError

    def deactivate(self, p: Any) -> None:
        raise NotImplementedError


ExtraNetworkData = dict[str, list[ExtraNetworkParams]]
extra_network_registry: dict[str, ExtraNetwork] = {}
extra_network_aliases: dict[str, ExtraNetwork] = {}


def initialize() -> None:
    extra_network_registry.clear()
    extra_network_aliases.clear()


def register_extra_network(extra_network: ExtraNetwork) -> None:
    extra_network_registry[extra_network.name] = extra_network


def register_extra_network_alias(extra_network: ExtraNetwork, alias: str) -> None:
    extra_network_aliases[alias] = extra_network


def register_default_extra_networks() -> None:
    """Hypernetworks are not part of this host."""


def lookup_extra_networks(extra_network_data: ExtraNetworkData) -> dict[ExtraNetwork, list[ExtraNetworkParams]]:
    found: dict[ExtraNetwork, list[ExtraNetworkParams]] = {}
    for name, args in list(extra_network_data.items()):
        network = extra_network_registry.get(name) or extra_network_aliases.get(name)
        if network is not None:
            found.setdefault(network, []).extend(args)
    return found


def activate(p: Any, extra_network_data: ExtraNetworkData) -> None:
    """Activates the networks mentioned, then all others with nothing. `activate(p, {})` therefore drops those of the
    prompt.
    """
    wanted = lookup_extra_networks(extra_network_data)
    activated = []
    for network, args in [*wanted.items(), *((n, []) for n in extra_network_registry.values() if n not in wanted)]:
        try:
            network.activate(p, args)
            activated.append(network)
        except Exception as e:
            errors.display(e, f"activating extra network {network.name} with arguments {args}")
    for network in wanted:
        if network not in activated:  # the host gives one that failed a second chance, with nothing
            try:
                network.activate(p, [])
            except Exception as e:
                errors.display(e, f"activating extra network {network.name}")
    if p.scripts is not None:
        batch = {name: getattr(p, name) for name in ("prompts", "seeds", "subseeds")}
        batch |= {"batch_number": p.iteration, "extra_network_data": extra_network_data}
        p.scripts.after_extra_networks_activate(p, **batch)


def deactivate(p: Any, extra_network_data: ExtraNetworkData) -> None:
    mentioned = lookup_extra_networks(extra_network_data)
    for network in [*mentioned, *(n for n in extra_network_registry.values() if n not in mentioned)]:
        try:
            network.deactivate(p)
        except Exception as e:
            errors.display(e, f"deactivating extra network {network.name}")


re_extra_net = re.compile(r"<(\w+):([^>]+)>")


def parse_prompt(prompt: str) -> tuple[str, ExtraNetworkData]:
    found: ExtraNetworkData = defaultdict(list)

    def take(match: re.Match[str]) -> str:
        found[match.group(1)].append(ExtraNetworkParams(items=match.group(2).split(":")))
        return ""

    return re_extra_net.sub(take, prompt), found


def parse_prompts(prompts: Sequence[str]) -> tuple[list[str], ExtraNetworkData]:
    """The prompts without mentions; the networks are those of the first prompt of the batch alone."""
    parsed = [parse_prompt(prompt) for prompt in prompts]
    return [text for text, _ in parsed], parsed[0][1]
