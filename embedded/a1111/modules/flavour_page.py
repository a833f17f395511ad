"""What this host's page has otherwise than the other's."""

from __future__ import annotations

from typing import Any


def hires_components() -> list[tuple[str, Any, Any]]:
    """(field of the request, component, what a paste reads its value by) beyond those of both."""
    return []


def top_of_page() -> None:
    """Builds what is above the tabs."""
    from modules import ui

    ui.checkpoint_list("setting_sd_model_checkpoint")
