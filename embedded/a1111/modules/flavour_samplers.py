"""Samplers of this host beyond what both flavours have: before those of timesteps, and at the end."""

from __future__ import annotations

from typing import Any

further_k_samplers: list[tuple[str, Any, list[str], dict[str, Any]]] = []
last_samplers: list[tuple[str, Any, list[str], dict[str, Any]]] = []
