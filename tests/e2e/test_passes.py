"""img2img, inpainting and hires: which pass runs on which model, against the host's own results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.e2e.client import Pair, Reply, WebUI, png_base64
from tests.e2e.refiner import refined
from tests.e2e.test_equalities import ALIKE, REFINER_CANNOT, settings
from tests.matrices import marked_but

IMG2IMG = "/sdapi/v1/img2img"
SAMPLERS = ("Euler", "DPM++ 2M", "Heun", "DDIM", "PLMS", "UniPC", "LCM")
HIRES = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.8, "steps": 8}


@pytest.fixture(autouse=True, scope="module")
def _seeded(webui: WebUI, pair: Pair) -> None:
    """The host's VAE encoder draws from torch's global generator, which every ordinary image leaves in one state."""
    webui.generate(pair.base).must_work()


def picture() -> np.ndarray:
    """[64, 64, 3] uint8, a smooth colour ramp with a disc."""
    y, x = np.mgrid[0:64, 0:64]
    disc = ((x - 30) ** 2 + (y - 34) ** 2 < 300) * 120
    return np.stack([x * 3, y * 3, 40 + disc], -1).astype(np.uint8)


def from_picture(strength: float, **more: Any) -> dict[str, Any]:
    return {"path": IMG2IMG, "init_images": [png_base64(picture())], "denoising_strength": strength, **more}


def mask() -> str:
    half = np.zeros((64, 64), np.uint8)
    half[:, 32:] = 255
    return png_base64(half)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_img2img_equals_the_host(webui: WebUI, pair: Pair, sampler: str) -> None:
    request = from_picture(0.9, sampler_name=sampler, steps=8)
    off = webui.generate(pair.base, **request)
    base = webui.generate(pair.base, settings(pair, mode="base"), **request)
    distilled = webui.generate(pair.base, settings(pair, mode="distilled"), **request)
    hybrid = webui.generate(pair.base, settings(pair, switch_step=4), **request)
    assert base.same_as(off)
    assert not hybrid.same_as(off)
    if sampler not in REFINER_CANNOT[webui.flavour]:
        assert hybrid.same_as(refined(webui, hybrid, pair.base, pair.distilled, **request))
    assert distilled.same_as(webui.generate(pair.distilled, **request))


def test_img2img_below_the_boundary_runs_distilled_only_and_says_so(webui: WebUI, pair: Pair) -> None:
    request = from_picture(0.3, steps=8)
    hybrid = webui.generate(pair.base, settings(pair, switch_step=2), **request)
    assert hybrid.same_as(webui.generate(pair.base, settings(pair, mode="distilled"), **request))
    assert "the base would never run" in hybrid.infotext
    assert 'DD U-Net calls: "base 0, distilled' in hybrid.infotext


@pytest.mark.parametrize("fill", [0, 1, 2, 3])
def test_inpainting_equals_the_host(webui: WebUI, pair: Pair, fill: int) -> None:
    """Forge draws from the global generator at every call, so each request begins after an ordinary image."""
    request = from_picture(0.9, steps=8, mask=mask(), inpainting_fill=fill, inpaint_full_res=False, mask_blur=2)
    webui.generate(pair.base).must_work()
    hybrid = webui.generate(pair.base, settings(pair, switch_step=4), **request)
    webui.generate(pair.base).must_work()
    assert hybrid.same_as(refined(webui, hybrid, pair.base, pair.distilled, **request))


def test_a_hires_pass_takes_the_first_ones_scheduler_where_it_has_none(webui: WebUI, pair: Pair) -> None:
    """The host settles it after the plan was made."""
    request = {**HIRES, "sampler_name": "DPM++ 2M", "scheduler": "Karras"}
    both = webui.generate(pair.base, settings(pair, mode="distilled", passes="both"), **request)
    assert both.same_as(webui.generate(pair.distilled, **request))
    named = webui.generate(pair.base, settings(pair, mode="distilled"), **request, hr_scheduler="Exponential")
    assert named.same_as(webui.generate(pair.distilled, **request, hr_scheduler="Exponential"))


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_hires_modes_equal_the_host(webui: WebUI, pair: Pair, upscaler: str) -> None:
    """All on the base is the base's hires, all on the distilled model is that model's."""
    request = {**HIRES, "hr_upscaler": upscaler}
    off = webui.generate(pair.base, **request)
    everything = webui.generate(pair.base, settings(pair, mode="base", passes="both"), **request)
    distilled = webui.generate(pair.base, settings(pair, mode="distilled"), **request)
    assert everything.same_as(off)
    native = webui.generate(pair.distilled, **request)
    assert distilled.same_as(native)


def test_hires_passes_choose_where_the_base_runs(webui: WebUI, pair: Pair) -> None:
    made: dict[str, Reply] = {
        passes: webui.generate(pair.base, settings(pair, switch_step=4, passes=passes), **HIRES).must_work()
        for passes in ("first", "hires", "both")
    }
    first, hires = made["first"].infotext, made["hires"].infotext
    assert "first pass: base 999" in first
    assert "hires pass: distilled" in first
    assert "first pass: distilled 999" in hires
    assert "hires pass: base" in hires
    assert not made["first"].same_as(made["hires"])
    assert not made["first"].same_as(made["both"])


def test_a_family_sets_steps_and_sampler(webui: WebUI, pair: Pair) -> None:
    reply = webui.generate(pair.base, {"distilled_model": pair.distilled, "family": "dmd2"}, steps=20, cfg_scale=7)
    assert "Steps: 4, Sampler: LCM" in reply.must_work().infotext
    assert "base 999 -> 759, distilled 759 -> 499 -> 259 -> 0, CFG 1/1, 4 U-Net calls" in reply.infotext
    assert 'DD U-Net calls: "base 1, distilled 3"' in reply.infotext


@pytest.mark.parametrize("base_sampler", ["Euler", "DPM++ 2M", "Heun", "DDIM", "DPM++ SDE", "DPM fast"])
@pytest.mark.parametrize("family", marked_but(["dmd2"], ["dmd2", "lightning", "hyper"], pytest.mark.once))
def test_base_sampler_of_its_own(webui: WebUI, pair: Pair, base_sampler: str, family: str) -> None:
    """Another sampler for the base's part, finer steps included; the call counts are those of the plan."""
    chosen = {"distilled_model": pair.distilled, "family": family, "base_sampler": base_sampler, "base_steps": 4}
    reply = webui.generate(pair.base, {**chosen, "switch_step": 2}).must_work()
    if base_sampler != "DPM fast":
        assert f"base by {base_sampler}" in reply.infotext or base_sampler in ("Euler", "DDIM")
    base, distilled = calls(reply)
    planned = int(reply.infotext.split(" U-Net calls")[0].rsplit(" ", 1)[1])
    assert base + distilled == planned
    assert np.std(reply.images[0]) > 1


def calls(reply: Reply) -> tuple[int, int]:
    text = reply.infotext.split('DD U-Net calls: "base ')[1].split('"')[0]
    base, distilled = text.split(", distilled ")
    return int(base), int(distilled)


def test_one_base_step_by_ddim_is_one_by_euler(webui: WebUI, pair: Pair) -> None:
    """DDIM with eta 0 and Euler are one method in two scales, so the way between the scales must be exact."""
    chosen = {"distilled_model": pair.distilled, "family": "lightning"}
    euler = webui.generate(pair.base, chosen)
    ddim = webui.generate(pair.base, {**chosen, "base_sampler": "DDIM"})
    assert euler.must_work().distance(ddim.must_work()) < 1.0


def test_finer_base_steps_keep_prompt_editing_in_place(webui: WebUI, pair: Pair) -> None:
    """Where a prompt that stays the same is read anew matters to no step, however many the base takes.

    Both prompts have two readings: a host makes them in one batch, which some text encoders round otherwise than one.
    """
    chosen = {**settings(pair), "switch_step": 2, "mode": "hybrid", "base_steps": 6}
    early, late = (webui.generate(pair.base, chosen, prompt=f"a [cat:cat:{when}]") for when in (0.25, 0.5))
    assert early.must_work().same_as(late.must_work())
    other = webui.generate(pair.base, chosen, prompt="a [dog:cat:0.5]").must_work()
    assert not other.same_as(late)


def test_skip_first_takes_fewer_calls(webui: WebUI, pair: Pair) -> None:
    chosen = {"distilled_model": pair.distilled, "family": "dmd2", "mode": "skip_first"}
    reply = webui.generate(pair.base, chosen).must_work()
    assert calls(reply) == (0, 3)


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DDIM", "PLMS", "UniPC", "DPM++ 2M", "DPM fast"])
def test_skip_first_on_the_hosts_schedule(webui: WebUI, pair: Pair, sampler: str) -> None:
    chosen = {"distilled_model": pair.distilled, **ALIKE, "mode": "skip_first", "switch_step": 2}
    reply = webui.generate(pair.base, chosen, sampler_name=sampler, steps=8).must_work()
    whole = webui.generate(pair.base, {**chosen, "mode": "distilled"}, sampler_name=sampler, steps=8).must_work()
    assert calls(reply)[1] == calls(whole)[1] - 2
    assert np.std(reply.images[0]) > 1
