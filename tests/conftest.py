"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from tests.e2e.flavour import flavour_under_test

# A slow machine is no failure; pytest's own time limit catches what hangs.
settings.register_profile("project", parent=settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _floats_as_ieee_says() -> Iterator[None]:
    """Undo the trainer's flush-to-zero, a setting of the whole processor under which hypothesis refuses to work."""
    yield
    torch.set_flush_denormal(False)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What one host alone has is tested there alone; the host is asked which it is only where that matters."""
    marked = [item for item in items if any(map(item.get_closest_marker, ("a1111", "forge")))]
    elsewhere = [item for item in marked if item.get_closest_marker(flavour_under_test()) is None]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]
