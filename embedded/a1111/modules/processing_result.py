"""What a request of this host has beyond what both have (nothing), and what a generation returns."""

from __future__ import annotations

from dataclasses import dataclass

from modules.processed import Processed

__all__ = ["HiresFields", "Processed", "RequestFields"]


@dataclass(repr=False)
class RequestFields: ...


@dataclass(repr=False)
class HiresFields: ...
