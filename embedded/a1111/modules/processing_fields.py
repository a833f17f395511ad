"""Fields of a request that this host has and the other flavour has not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(repr=False)
class RequestFields:
    """None."""


@dataclass(repr=False)
class HiresFields:
    """None."""
