"""Changing what the host made of the prompt's networks, for a while and whenever it makes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from extension_core.hosts.webui import choices
from extension_core.hosts.webui.attributes import set_until_closed


class Change(Protocol):
    """Something that is done to the networks that are active."""

    def put(self) -> None:
        """Make the change."""
        ...

    def take_back(self) -> None:
        """Undo it."""
        ...


@contextmanager
def changed(change: Change) -> Iterator[None]:
    """While networks are used: the change is made, also to those that the host activates meanwhile (hires prompts)."""
    networks = choices.networks()
    if networks is None:
        yield
        return
    activate = networks.extra_network_lora.activate

    def activate_and_change(*args: Any, **kwargs: Any) -> None:
        change.take_back()
        try:
            activate(*args, **kwargs)
        finally:
            change.put()

    with ExitStack() as stack:
        stack.callback(change.take_back)
        change.put()
        set_until_closed(stack, networks.extra_network_lora, "activate", activate_and_change)
        yield
