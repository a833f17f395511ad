"""The size that memory is reckoned for is the one that the host comes to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embedded.conftest import Host

SIDES = st.integers(8, 256).map(lambda n: 8 * n)


@pytest.fixture(scope="module")
def processing(session_host: Host) -> Any:
    from modules import processing

    return processing


@given(width=SIDES, height=SIDES, scale=st.floats(1.0, 4.0), to_x=SIDES | st.just(0), to_y=SIDES | st.just(0))
@settings(max_examples=200, deadline=None)
def test_the_largest_pass(processing: Any, width: int, height: int, scale: float, to_x: int, to_y: int) -> None:
    from extension_core.hosts.common.processing.size import largest_pass

    p = processing.StableDiffusionProcessingTxt2Img(
        width=width, height=height, enable_hr=True, hr_scale=scale, hr_resize_x=to_x, hr_resize_y=to_y
    )
    reckoned = largest_pass(p)
    p.calculate_target_resolution()
    sampled = (p.hr_upscale_to_x - 8 * p.truncate_x, p.hr_upscale_to_y - 8 * p.truncate_y)
    for ours, own, first in zip(reckoned, sampled, (width, height), strict=True):
        assert abs(ours - max(own, first)) < 8, (reckoned, sampled)  # what is cut off is counted in latents


def test_one_pass_and_img2img() -> None:
    from extension_core.hosts.common.processing.size import largest_pass

    assert largest_pass(SimpleNamespace(width=512, height=768, enable_hr=False, hr_scale=2.0)) == (512, 768)
    assert largest_pass(SimpleNamespace(width=64, height=72)) == (64, 72)
