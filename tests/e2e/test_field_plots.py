"""Public reports about the hosts' X/Y/Z plot, tried on hybrid images: each cell is what its settings give alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.plots import Along, plot
from tests.e2e.test_equalities import settings

HIRES = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7}
LORAS = ("a cat XX", "a cat <lora:{lora}:0.5>", "a cat <lora:{lora}:1>")


@pytest.mark.parametrize("hires", [{}, HIRES], ids=["one pass", "hires"])
@pytest.mark.parametrize("backwards", [False, True])
def test_checkpoints(webui: WebUI, pair: Pair, backwards: bool, hires: dict[str, Any]) -> None:
    """Names that begin alike, in either order, as bases of one distilled model."""
    assert pair.other_text_encoder
    bases = [pair.base, pair.distilled, pair.other_text_encoder][:: -1 if backwards else 1]
    ours = settings(pair, distilled_model=pair.other_text_encoder, passes="both")
    drawn = plot(webui, pair.base, Along("Checkpoint name", bases), settings=ours, **hires).must_work()
    for base, cell in zip(bases, drawn.images[1:], strict=True):
        assert np.array_equal(webui.generate(base, ours, **hires).must_work().images[0], cell), base


def test_loras_by_search_and_replace(webui: WebUI, pair: Pair) -> None:
    prompts = [prompt.format(lora=pair.lora) for prompt in LORAS]
    typed = ",".join(prompt.removeprefix("a cat ") for prompt in prompts)
    drawn = plot(webui, pair.base, Along("Prompt S/R", typed), settings=settings(pair), prompt=prompts[0]).must_work()
    for prompt, cell in zip(prompts, drawn.images[1:], strict=True):
        assert np.array_equal(webui.generate(pair.base, settings(pair), prompt=prompt).must_work().images[0], cell)


def test_the_refiner_as_an_axis_is_refused(webui: WebUI, pair: Pair) -> None:
    refused = plot(webui, pair.base, Along("Refiner checkpoint", [pair.distilled]), settings=settings(pair))
    assert refused.status == 422
    assert "both switch models; switch one of them off." in refused.sentence
