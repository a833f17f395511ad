"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# A slow machine is no failure; pytest's own time limit catches what hangs.
settings.register_profile("project", parent=settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _floats_as_ieee_says() -> Iterator[None]:
    """Undo the trainer's flush-to-zero, a setting of the whole processor under which hypothesis refuses to work."""
    yield
    torch.set_flush_denormal(False)
