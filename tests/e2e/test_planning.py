"""What is planned is what runs: over the noise schedule in force, with no step to make, and beside other extensions."""

from __future__ import annotations

import re
import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from extension_core.sampling.schedule import NoiseSchedule
from tests.e2e.client import NEUTRAL, Pair, Reply, WebUI
from tests.e2e.test_passes import calls, from_picture
from tests.matrices import marked_but

PLAN = "/diversity-distillation/v1/plan"
TWO = ("dmd2", "custom")  # by a grid of its own and by the host's schedule; the others go the first one's way
FAMILIES = ("dmd2", "lightning", "turbo", "lcm", "hyper", "pcm", "tcd", "custom")
SCHEDULES: dict[str, dict[str, Any]] = {
    "default": {},
    "zero terminal SNR": {"sd_noise_schedule": "Zero Terminal SNR"},
    "half precision": {"use_downcasted_alpha_bar": True},
}


@pytest.fixture(scope="module", autouse=True)
def _neutral(webui: WebUI, pair: Pair) -> None:
    """What no request overrides is the host's own in all of these."""
    webui.call("/sdapi/v1/options", {name: NEUTRAL[name] for name in ("sd_noise_schedule", "img2img_fix_steps")})
    webui.generate(pair.base).must_work()


def plan(webui: WebUI, asked: dict[str, Any], img2img: bool = False, **request: Any) -> dict[str, Any]:
    body = {"args": [asked], "request": {"steps": 4, "width": 64, "height": 64, **request}, "img2img": img2img}
    status, told = webui.call(PLAN, body)
    assert status == 200, told
    return told


def alphas(kind: str) -> np.ndarray:
    """Stable Diffusion's cumulative alphas as the setting changes them (Lin et al. 2023 for the second)."""
    plain = (1.0 / (NoiseSchedule.stable_diffusion().sigmas ** 2 + 1.0)).astype(np.float32)
    if kind == "half precision":
        return plain.astype(np.float16).astype(np.float32)
    if kind == "default":
        return plain
    root = np.sqrt(plain)
    rescaled = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    return np.maximum(rescaled**2, 4.8973451890853435e-08)


def switch_sigma(reply: Reply) -> float:
    found = re.search(r"DD switch: sigma ([\d.]+)", reply.infotext)
    assert found, reply.infotext
    return float(found[1])


class TestNoiseSchedule:
    @pytest.mark.parametrize("family", ["dmd2", "lightning", "hyper", "custom"])
    def test_equal_requests_are_equal_in_any_order(self, webui: WebUI, pair: Pair, family: str) -> None:
        asked = {"distilled_model": pair.distilled, "family": family, "switch_step": 1}
        kinds = [kind for kind in SCHEDULES if webui.flavour == "a1111" or kind != "half precision"]
        first: dict[str, Reply] = {}
        for kind in (*kinds, *kinds, *reversed(kinds)):
            reply = webui.generate(pair.base, asked, options=SCHEDULES[kind]).must_work()
            known = first.setdefault(kind, reply)
            assert reply.same_as(known), kind
            assert reply.infotext == known.infotext, kind
        assert not first["default"].same_as(first["zero terminal SNR"])

    @pytest.mark.parametrize("kind", SCHEDULES)
    def test_the_switch_is_right_the_first_time(self, webui: WebUI, pair: Pair, kind: str) -> None:
        if webui.flavour == "forge" and kind == "half precision":
            pytest.skip("Forge has that setting and does not heed it")
        other = "default" if kind != "default" else "zero terminal SNR"
        asked = {"distilled_model": pair.distilled, "family": "lightning"}
        webui.generate(pair.base, asked, options=SCHEDULES[other]).must_work()
        reply = webui.generate(pair.base, asked, options=SCHEDULES[kind]).must_work()
        wanted = NoiseSchedule.from_alphas_cumprod(alphas(kind)).sigma(749)
        assert switch_sigma(reply) == pytest.approx(wanted, rel=2e-4)

    @pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "DDIM", "LCM"])
    def test_all_on_one_model_equals_the_host(self, webui: WebUI, pair: Pair, sampler: str) -> None:
        for kind in ("zero terminal SNR", "default", "zero terminal SNR"):
            fields = {"sampler_name": sampler, "options": SCHEDULES[kind]}
            asked = {"distilled_model": pair.distilled, "family": "custom", "mode": "base", "base_cfg": 5}
            assert webui.generate(pair.base, asked, **fields).same_as(webui.generate(pair.base, **fields)), kind

    @pytest.mark.parametrize("sampler", ["Euler", "LCM", "DDIM"])
    def test_img2img_is_as_on_the_host(self, webui: WebUI, pair: Pair, sampler: str) -> None:
        """Its sampler is made before the schedule comes into force; hosts alone go on with what it has kept."""
        for kind in ("zero terminal SNR", "default", "zero terminal SNR"):
            picture = from_picture(0.8, sampler_name=sampler, steps=6, options=SCHEDULES[kind])
            for family in ("dmd2", "lightning", "custom"):
                asked = {"distilled_model": pair.distilled, "family": family}
                webui.generate(pair.base, options={} if kind != "default" else SCHEDULES["zero terminal SNR"])
                webui.generate(pair.base, asked, **picture).must_work()

    @pytest.mark.parametrize("failing", ["refused", "in a call"])
    def test_a_request_that_fails_leaves_the_hosts_levels(self, webui: WebUI, pair: Pair, failing: str) -> None:
        zero = SCHEDULES["zero terminal SNR"]
        plain, rescaled = (webui.generate(pair.base, options=kind).must_work() for kind in ({}, zero))
        asked = {"distilled_model": pair.distilled if failing == "in a call" else "not there", "family": "custom"}
        faults = {"call": 2, "kind": "error"} if failing == "in a call" else None
        assert webui.generate(pair.base, asked, options=zero, faults=faults).status in (422, 500)
        assert webui.generate(pair.base).same_as(plain)
        assert webui.generate(pair.base, options=zero).same_as(rescaled)


class TestNoSteps:
    @pytest.mark.parametrize("family", marked_but(TWO, FAMILIES, pytest.mark.once))
    @pytest.mark.parametrize("mode", ["hybrid", "base", "distilled"])
    def test_img2img_leaves_the_image_as_the_host_does(self, webui: WebUI, pair: Pair, family: str, mode: str) -> None:
        request = from_picture(0, options={"img2img_fix_steps": True})
        webui.generate(pair.base).must_work()
        alone = webui.generate(pair.base, **request).must_work()
        webui.generate(pair.base).must_work()
        reply = webui.generate(
            pair.base, {"distilled_model": pair.distilled, "family": family, "mode": mode}, **request
        ).must_work()
        assert reply.same_as(alone)
        assert calls(reply) == (0, 0)
        assert 'DD plan: "no step, the image stays as it is, 0 U-Net calls"' in reply.infotext

    @pytest.mark.parametrize("family", marked_but(TWO, FAMILIES, pytest.mark.once))
    def test_hires_at_strength_0(self, webui: WebUI, pair: Pair, family: str) -> None:
        request = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0}
        asked = {"distilled_model": pair.distilled, "family": family}
        reply = webui.generate(pair.base, asked, **request).must_work()
        assert calls(reply) == calls(webui.generate(pair.base, asked).must_work())
        assert "hires pass: no step" in reply.infotext
        told = plan(webui, asked, enable_hr=True, denoising_strength=0)
        assert told["passes"][1]["calls"] == {"base": 0, "distilled": 0}
        assert told["line"] in reply.infotext

    @pytest.mark.parametrize("sampler", ["DPM++ SDE", "DPM fast", "PLMS", "UniPC", "Heun"])
    def test_samplers_that_the_host_fails_at(self, webui: WebUI, pair: Pair, sampler: str) -> None:
        asked = {"distilled_model": pair.distilled, "family": "custom"}
        request = from_picture(0, options={"img2img_fix_steps": True}, sampler_name=sampler)
        assert calls(webui.generate(pair.base, asked, **request).must_work()) == (0, 0)

    @pytest.mark.parametrize("strength", marked_but([0.05, 1], [0.01, 0.05, 0.1, 0.3, 1], pytest.mark.slow))
    @pytest.mark.parametrize("exact", [False, True])
    @pytest.mark.parametrize("family", marked_but(TWO, FAMILIES, pytest.mark.once))
    def test_low_strengths(self, webui: WebUI, pair: Pair, family: str, exact: bool, strength: float) -> None:
        """What ran is what was planned, or this were refused; no level of a family's grid comes twice."""
        asked = {"distilled_model": pair.distilled, "family": family, "switch_step": 2, "passes": "both"}
        webui.call("/sdapi/v1/options", {"img2img_fix_steps": exact})
        try:
            told = plan(webui, asked, True, denoising_strength=strength)
        finally:
            webui.call("/sdapi/v1/options", {"img2img_fix_steps": False})
        reply = webui.generate(pair.base, asked, **from_picture(strength, options={"img2img_fix_steps": exact}))
        assert told["line"] in reply.must_work().infotext
        (only,) = told["passes"]
        assert calls(reply) == (only["calls"]["base"], only["calls"]["distilled"])
        if family != "custom":
            base, distilled = (only[phase]["timestep"] for phase in ("base", "distilled"))
            levels = [*base, *distilled[1 if base else 0 :]]
            assert all(a > b for a, b in pairwise(levels)), levels

    def test_lcm_makes_the_steps_that_its_grid_has(self, webui: WebUI, pair: Pair) -> None:
        asked = {"distilled_model": pair.distilled, "family": "dmd2", "mode": "distilled"}
        reply = webui.generate(pair.base, asked, **from_picture(0.05, options={"img2img_fix_steps": True}))
        assert 'DD plan: "distilled 59 -> 39 -> 19 -> 0, CFG 1, 3 U-Net calls"' in reply.must_work().infotext
        assert "makes 3 of 4 steps" in reply.infotext


class TestCalls:
    @pytest.mark.parametrize("options", [{}, {"s_churn": 20.0}, {"eta_ancestral": 0.4}])
    def test_every_sampler_makes_the_calls_of_its_plan(self, webui: WebUI, pair: Pair, options: dict[str, Any]) -> None:
        """By model and level, or these were refused; the infotext's plan counts them."""
        asked = {"distilled_model": pair.distilled, "family": "custom", "switch_step": 4}
        for sampler in webui.samplers():
            if options and sampler == "DPM adaptive":
                continue  # makes as many as it likes, whatever is set
            reply = webui.generate(pair.base, asked, sampler_name=sampler, steps=8, options=options)
            text = reply.must_work().infotext
            counted = re.search(r"(\d+) U-Net calls\"", text)
            assert sum(calls(reply)) == int(counted[1]) if counted else "as many U-Net calls as" in text, sampler


class TestNeighbour:
    """Another extension that replaces `create_sampler` and hooks the sampler that it makes."""

    @pytest.mark.parametrize("where", ["inner", "denoiser"])
    @pytest.mark.parametrize("family", ["dmd2", "lightning", "hyper"])
    def test_it_acts_in_both_phases_of_every_batch(self, webui: WebUI, pair: Pair, where: str, family: str) -> None:
        if webui.flavour == "forge" and where == "inner":
            pytest.skip("Forge's denoiser never calls its inner model")
        asked = {"distilled_model": pair.distilled, "family": family, "switch_step": 2, "base_steps": 3}
        request = {"n_iter": 3, "scripts": {"DD tiles": [where]}}
        reply = webui.generate(pair.base, asked, **request).must_work()
        single = [webui.generate(pair.base, asked, **{**request, "n_iter": 1, "seed": 1 + i}) for i in range(3)]
        images = reply.images[-3:]
        assert all(np.array_equal(image, one.must_work().images[0]) for image, one in zip(images, single, strict=True))
        assert f"DD tiles: {sum(calls(single[0]))}," in single[0].infotext
        assert not single[0].same_as(webui.generate(pair.base, asked))

    def test_a_plan_meanwhile_changes_nothing(self, webui: WebUI, pair: Pair) -> None:
        asked = {"distilled_model": pair.distilled, "family": "custom", "switch_step": 2}
        where = "denoiser" if webui.flavour == "forge" else "inner"
        request = {"n_iter": 3, "steps": 20, "scripts": {"DD tiles": [where]}}
        quiet = webui.generate(pair.base, asked, **request).must_work()
        replies: list[Reply] = []
        running = threading.Thread(target=lambda: replies.append(webui.generate(pair.base, asked, **request)))
        running.start()
        lines = set()
        while running.is_alive():
            for sampler in ("Euler", "DDIM", "LCM", "UniPC", "DPM++ 2M"):
                lines.add(plan(webui, asked, steps=20, sampler_name=sampler)["line"])
        running.join()
        assert replies[0].same_as(quiet)
        assert len(lines) == 5

    @pytest.mark.parametrize("where", ["inner", "denoiser"])
    def test_it_acts_in_a_base_sampler_of_the_same_kind(self, webui: WebUI, pair: Pair, where: str) -> None:
        if webui.flavour == "forge" and where == "inner":
            pytest.skip("Forge's denoiser never calls its inner model")
        asked = {"distilled_model": pair.distilled, "family": "lightning", "base_sampler": "Heun", "base_steps": 2}
        reply = webui.generate(pair.base, asked, scripts={"DD tiles": [where]}).must_work()
        assert calls(reply) == (3, 4)  # Heun's second call of its last step lies on the boundary
        assert "DD tiles: 7," in reply.infotext

    @pytest.mark.parametrize(("family", "base_sampler"), [("dmd2", "DDIM"), ("hyper", "Euler"), ("lightning", "DDIM")])
    def test_it_would_be_lost_in_a_base_sampler_of_another(
        self, webui: WebUI, pair: Pair, family: str, base_sampler: str
    ) -> None:
        asked = {"distilled_model": pair.distilled, "family": family, "base_sampler": base_sampler}
        where = "denoiser" if webui.flavour == "forge" else "inner"
        reply = webui.generate(pair.base, asked, scripts={"DD tiles": [where]})
        assert reply.status == 422, reply.body
        assert f"the base's steps by {base_sampler} would be made without that" in reply.sentence
        assert "dd_tiles" in reply.sentence
        webui.generate(pair.base, asked).must_work()

    def test_one_that_bypasses_the_routing_is_found_out(self, webui: WebUI, pair: Pair) -> None:
        """A fresh denoiser in the sampler's place: the image would be the base's."""
        asked = {"distilled_model": pair.distilled, "family": "dmd2"}
        before = webui.fingerprint()
        reply = webui.generate(pair.base, asked, faults={"replace": True})
        assert reply.status == 422, reply.body
        assert "not what Diversity Distillation planned: base 1, distilled 3 U-Net calls" in reply.sentence
        assert "switch that extension off" in reply.sentence
        assert webui.fingerprint() == before
        webui.generate(pair.base, asked).must_work()
