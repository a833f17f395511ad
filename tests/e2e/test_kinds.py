"""Bases of other kinds: each as the host makes it by itself, or refused by name before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_api import PREFIX
from tests.e2e.test_equalities import settings
from tests.e2e.test_inpainting import inpainting, made
from tests.e2e.test_passes import HIRES, from_picture

__all__ = ["inpainting"]
pytestmark = pytest.mark.a1111
EDITED = from_picture(0.9, steps=8)


@pytest.fixture(scope="module")
def editing(webui: WebUI, pair: Pair) -> Pair:
    """InstructPix2Pix (8 channels, three rows an image)."""
    names = {Path(model["filename"]).stem for model in webui.get("/sdapi/v1/sd-models")}
    if "yaml_edit_base" not in names:
        pytest.skip("the host has no pair of InstructPix2Pix models yaml_edit_base and yaml_edit_distilled")
    webui.generate(pair.base).must_work()
    return Pair("yaml_edit_base", "yaml_edit_distilled", None, None)


def refused(webui: WebUI, base: str, chosen: dict[str, Any], **request: Any) -> str:
    """The sentence of the generation, which the plan gives too."""
    reply = webui.generate(base, chosen, **request)
    planned = {"args": [chosen], "request": {"enable_hr": True} if "enable_hr" in request else {}}
    status, told = webui.call(f"{PREFIX}/plan", planned)
    assert reply.status == status == 422, (reply.body, told)
    assert reply.sentence == told["detail"]
    return reply.sentence


@pytest.mark.parametrize("image_cfg", [1.0, 1.5])
@pytest.mark.parametrize("cfg", [1, 3])
def test_instruct_pix2pix(webui: WebUI, editing: Pair, pair: Pair, cfg: int, image_cfg: float) -> None:
    """At every CFG all of its rows are computed."""

    def after_an_ordinary_image(model: str, chosen: dict[str, Any] | None = None, **request: Any) -> Any:
        webui.generate(pair.base).must_work()  # its own would want a picture
        return webui.generate(model, chosen, image_cfg_scale=image_cfg, **EDITED, **request)

    ours = {"base_cfg": cfg, "distilled_cfg": cfg}
    base = after_an_ordinary_image(editing.base, settings(editing, mode="base", **ours))
    assert base.same_as(after_an_ordinary_image(editing.base, cfg_scale=cfg))
    distilled = after_an_ordinary_image(editing.base, settings(editing, mode="distilled", **ours))
    assert distilled.same_as(after_an_ordinary_image(editing.distilled, cfg_scale=cfg))
    hybrid = after_an_ordinary_image(editing.base, settings(editing, switch_step=4, **ours))
    assert not hybrid.same_as(base)
    assert not hybrid.same_as(distilled)


def test_instruct_pix2pix_wants_a_picture(webui: WebUI, editing: Pair, pair: Pair) -> None:
    webui.generate(editing.base, **EDITED).must_work()
    assert webui.generate(editing.base).status == 500
    assert "use img2img" in refused(webui, editing.base, settings(editing))
    sentence = webui.generate(editing.base, {"distilled_model": pair.distilled}, **EDITED).sentence
    assert "an InstructPix2Pix model (8 input channels)" in sentence


def test_hires_of_latents_with_an_inpainting_model(webui: WebUI, inpainting: Pair) -> None:
    """The host gives the second pass a picture of the first one's size, and fails."""
    made(webui, inpainting.base).must_work()
    assert webui.generate(inpainting.base, **HIRES).status == 500
    sentence = refused(webui, inpainting.base, {"mode": "base"}, **HIRES)
    assert "cannot enlarge latents" in sentence
    webui.generate(inpainting.base, {"mode": "base"}, **{**HIRES, "hr_upscaler": "Lanczos"}).must_work()
