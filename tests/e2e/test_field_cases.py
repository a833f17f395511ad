"""Public reports about the hosts and their extensions, tried with this product: docs/field-cases.md tells of each.

The oracle is the host: its own Refiner for a hybrid image, its own image of the one model where only one runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.e2e.client import NEUTRAL, TITLE, Pair, Reply, WebUI
from tests.e2e.flavour import REAL_HOSTS_ALONE
from tests.e2e.refiner import refined
from tests.e2e.test_equalities import settings
from tests.e2e.test_passes import calls, from_picture, mask
from tests.matrices import marked_but

HIRES: dict[str, Any] = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7}


def made(webui: WebUI, pair: Pair, model: str, ours: dict[str, Any] | None = None, **request: Any) -> Reply:
    """img2img draws from torch's global generator, so after an ordinary image, which leaves that in one state."""
    if "init_images" in request:
        webui.generate(pair.base).must_work()
    return webui.generate(model, ours, **request)


@contextmanager
def as_before(webui: WebUI, options: dict[str, Any] | None) -> Iterator[None]:
    """The host does not take back an overridden setting that was never saved (1.10.1)."""
    known = webui.get("/sdapi/v1/options") if options else {}
    try:
        yield
    finally:
        if options:
            webui.call("/sdapi/v1/options", {name: known[name] for name in options})


# Settings of ours, and the request.
AS_THE_REFINER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{
        f"prompt editing, {sampler}": (
            {"switch_step": 3},
            {"sampler_name": sampler, "prompt": "a [dog:cat:0.5] on a table", "steps": 6},
        )
        for sampler in ("DPM++ SDE", "DPM++ 2S a", "Heun", "DPM2 a")
    },
    "a Lightning merge by DPM++ SDE": ({}, {"sampler_name": "DPM++ SDE", "scheduler": "Karras"}),
    "seed resize": ({}, {"seed_resize_from_h": 128, "seed_resize_from_w": 96}),
    "variation seeds in batches": ({}, {"subseed": 77, "subseed_strength": 0.35, "n_iter": 2, "batch_size": 2}),
    "one LoRA twice": ({}, {"prompt": "a cat <lora:{lora}:0.4> <lora:{lora}:0.4>"}),
    "named LoRA weights": ({}, {"prompt": "a cat <lora:{lora}:te=0.5:unet=1>"}),
    "a size of no multiple of 64": ({}, {"width": 100, "height": 70}),
    "no ancestral noise": ({}, {"sampler_name": "Euler a", "eta": 0}),
    "NVidia's noise": ({}, {"sampler_name": "Euler a", "options": {"randn_source": "NV"}}),
    "CFG++": ({"switch_step": 2}, {"sampler_name": "DDIM CFG++"}),
    "noise multiplier in img2img": (
        {"switch_step": 2},
        {**from_picture(0.9), "steps": 8, "options": {"sgm_noise_multiplier": True}},
    ),
    "only masked": (
        {"switch_step": 4},
        {**from_picture(0.9), "steps": 8, "mask": mask(), "inpaint_full_res": True, "inpainting_fill": 1},
    ),
    "inverted soft mask": (
        {"switch_step": 4},
        {**from_picture(0.9), "steps": 8, "mask": mask(), "inpainting_mask_invert": 1, "mask_round": False,
         "mask_blur": 6, "inpainting_fill": 1, "inpaint_full_res": False},
    ),
    "AND with a negative weight": ({}, {"prompt": "a cat AND a dog :-0.5"}),
    "emphasis without a norm": ({}, {"prompt": "a (red:1.8) cat [blue]", "options": {"emphasis": "No norm"}}),
}  # fmt: skip


# Of the above.
REAL_HOSTS_CASES = (
    *("NVidia's noise", "CFG++", "seed resize", "only masked", "variation seeds in batches", "emphasis without a norm"),
)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=REAL_HOSTS_ALONE) if case in REAL_HOSTS_CASES else case for case in AS_THE_REFINER],
)
def test_as_the_refiner(webui: WebUI, pair: Pair, case: str) -> None:
    ours, request = AS_THE_REFINER[case]
    if "prompt" in request:
        request = {**request, "prompt": request["prompt"].format(lora=pair.lora)}
    with as_before(webui, request.get("options")):
        base = made(webui, pair, pair.base, **request)
        hybrid = made(webui, pair, pair.base, settings(pair, **ours), **request)
        if "init_images" in request:
            webui.generate(pair.base).must_work()
        assert hybrid.same_as(refined(webui, hybrid, pair.base, pair.distilled, **request))
        assert not hybrid.same_as(base), "the distilled model took no part"


def test_every_schedule_type(webui: WebUI, pair: Pair) -> None:
    """SGM Uniform and Uniform among them, of which artefacts are told."""
    wrong = []
    for scheduler in (each["label"] for each in webui.get("/sdapi/v1/schedulers")):
        request = {"sampler_name": "DPM++ 2M", "scheduler": scheduler, "steps": 6}
        hybrid = webui.generate(pair.base, settings(pair, switch_step=2), **request)
        if not hybrid.same_as(refined(webui, hybrid, pair.base, pair.distilled, **request)):
            wrong.append(scheduler)
    assert not wrong


# One model alone: the request, and what the two modes are compared with.
AS_THE_MODEL: dict[str, dict[str, Any]] = {
    **{f"DDIM, {steps} steps of img2img": {**from_picture(0.75), "sampler_name": "DDIM", "steps": steps}
       for steps in (1, 2, 3, 7, 11, 30)},
    **{f"LCM, {steps} steps": {"sampler_name": "LCM", "steps": steps} for steps in (1, 2, 4, 8)},
    **{f"CFG {cfg}": {"cfg_scale": cfg} for cfg in (0, 0.5, 0.999)},
    **{f"{sampler} in the hires pass": {**HIRES, "hr_sampler_name": sampler}
       for sampler in ("DPM++ 2M", "DDIM", "Euler a", "LCM", "UniPC")},
    "strength 0": from_picture(0),
    "hires prompts": {**HIRES, "hr_prompt": "a dog", "hr_negative_prompt": "good"},
    "prompt editing in the hires pass": {**HIRES, "prompt": "a [dog:cat:0.5] [table:chair:1.5]"},
    "prompt editing by steps in the hires pass": {**HIRES, "prompt": "[a dog:a cat:6]"},
}  # fmt: skip


# Those that every run takes.
OF_EACH_KIND = (
    *("DDIM, 2 steps of img2img", "DDIM, 7 steps of img2img", "LCM, 1 steps", "LCM, 8 steps", "CFG 0", "CFG 0.999"),
    *("DDIM in the hires pass", "LCM in the hires pass", "strength 0", "prompt editing by steps in the hires pass"),
)


@pytest.mark.parametrize("case", marked_but(OF_EACH_KIND, AS_THE_MODEL, pytest.mark.slow))
def test_as_the_model_alone(webui: WebUI, pair: Pair, case: str) -> None:
    request = AS_THE_MODEL[case]
    cfg = request.get("cfg_scale", 5)
    ours = settings(pair, passes="both", base_cfg=cfg, distilled_cfg=cfg)
    for mode, model in (("base", pair.base), ("distilled", pair.distilled)):
        alone = made(webui, pair, pair.base, {**ours, "mode": mode}, **request)
        assert alone.same_as(made(webui, pair, model, **request)), mode
    hybrid = made(webui, pair, pair.base, ours, **request).must_work()
    assert sum(calls(hybrid)) == planned_calls(hybrid)


def planned_calls(reply: Reply) -> int:
    """What the plan in the infotext comes to, over both passes."""
    plan = reply.infotext.split('DD plan: "')[1].split('"')[0]
    return sum(int(part.rsplit(" ", 1)[1]) for part in plan.split(" U-Net calls")[:-1])


def test_too_little_strength_for_a_sampler_is_the_hosts_own_error(webui: WebUI, pair: Pair) -> None:
    """For a run of one step the sampler of the package k-diffusion fails; the one that Forge has instead does not."""
    request = {**from_picture(0.04), "sampler_name": "DPM++ 2M SDE", "steps": 20}
    host = webui.generate(pair.distilled, **request)
    ours = webui.generate(pair.base, settings(pair), **request)
    assert ours.status == host.status
    if host.status == 200:
        assert webui.flavour == "forge"
        assert ours.same_as(host)
    else:
        assert host.status == 500
        assert ours.body == host.body


def test_the_negative_prompt_at_cfg_1(webui: WebUI, pair: Pair) -> None:
    """It changes nothing where both models run at CFG 1, and something where the base has a CFG."""
    ours = {"distilled_model": pair.distilled, "family": "dmd2"}
    one, other = (webui.generate(pair.base, ours, negative_prompt=text) for text in ("bad", "a green table"))
    assert one.same_as(other)
    ours["base_cfg"] = 5
    one, other = (webui.generate(pair.base, ours, negative_prompt=text) for text in ("bad", "a green table"))
    assert not one.same_as(other)


@pytest.mark.parametrize(("family", "sampler"), [("lightning", "Euler"), ("turbo", "Euler a")])
def test_the_familys_levels_are_the_hosts_sgm_uniform(webui: WebUI, pair: Pair, family: str, sampler: str) -> None:
    """Within what timesteps rounded down, 749 for 749.25, are worth."""
    ours = {"distilled_model": pair.distilled, "family": family, "mode": "distilled"}
    by_family = webui.generate(pair.base, ours, steps=4)
    by_schedule = webui.generate(pair.distilled, sampler_name=sampler, scheduler="SGM Uniform", steps=4, cfg_scale=1)
    by_default = webui.generate(pair.distilled, sampler_name=sampler, steps=4, cfg_scale=1)
    assert by_family.distance(by_schedule) < 0.2
    assert by_family.distance(by_default) > 2


@pytest.mark.parametrize("sampler", ["Euler a", "LCM"])
def test_images_of_a_batch_are_those_of_their_seeds(webui: WebUI, pair: Pair, sampler: str) -> None:
    """To one level of 256, as matrices of other sizes round otherwise."""
    ours = settings(pair, switch_step=2)
    many = webui.generate(pair.base, ours, sampler_name=sampler, batch_size=3, n_iter=2).must_work()
    for index, image in enumerate(many.images[-6:]):
        one = webui.generate(pair.base, ours, sampler_name=sampler, seed=1 + index).must_work()
        assert np.abs(one.images[0].astype(int) - image).max() <= 1, index


def test_prompt_editing_in_every_batch_of_img2img(webui: WebUI, pair: Pair) -> None:
    request = {**from_picture(0.9), "prompt": "([a bear:0.2]:1.4), a [red:green:0.5] cat", "steps": 8}
    ours = settings(pair, switch_step=3)
    many = made(webui, pair, pair.base, ours, n_iter=3, **request).must_work()
    for index, image in enumerate(many.images[-3:]):
        one = made(webui, pair, pair.base, ours, seed=1 + index, **request).must_work()
        assert np.array_equal(one.images[0], image), index


def test_the_switch_stays_at_its_level_whatever_the_strength(webui: WebUI, pair: Pair) -> None:
    ours = {"distilled_model": pair.distilled, "family": "custom", "switch_step": 2}
    replies = [made(webui, pair, pair.base, ours, steps=8, **from_picture(strength)) for strength in (0.9, 1)]
    replies.append(webui.generate(pair.base, ours, steps=8))
    assert len({re.findall(r"DD switch: sigma [\d.]+ timestep 714", each.infotext)[0] for each in replies}) == 1


def test_the_infotext_names_both_models(webui: WebUI, pair: Pair) -> None:
    """The host's own fields are the base's, whichever model ran last, and they load it again."""
    reply = webui.generate(pair.base, {"distilled_model": pair.distilled, "family": "dmd2"}).must_work()
    assert f", Model: {pair.base}, " in reply.infotext
    assert f", DD distilled model: {pair.distilled}, " in reply.infotext
    assert reply.info["sd_model_name"] == pair.base
    again = {"infotext": reply.infotext, "styles": [], "override_settings": {**NEUTRAL}}
    assert webui.read(*webui.call("/sdapi/v1/txt2img", again)).same_as(reply)


def test_the_scripts_title_in_any_case(webui: WebUI, pair: Pair) -> None:
    ours = {"distilled_model": pair.distilled, "family": "dmd2"}
    replies = [webui.generate(pair.base, scripts={title: [ours]}) for title in (TITLE, TITLE.lower(), TITLE.upper())]
    assert replies[0].same_as(replies[1])
    assert replies[0].same_as(replies[2])
    refused = webui.generate(pair.base, scripts={"DiversityDistillation": [ours]})
    assert (refused.status, refused.sentence) == (422, "Script 'DiversityDistillation' not found")


@pytest.mark.parametrize("name", ["{}", "{}.safetensors", "{} [0123456789]", " {}"])
def test_a_models_name_as_clients_write_it(webui: WebUI, pair: Pair, name: str) -> None:
    ours = {"distilled_model": name.format(pair.distilled), "family": "dmd2"}
    plain = {**ours, "distilled_model": pair.distilled}
    assert webui.generate(pair.base, ours).same_as(webui.generate(pair.base, plain))


@pytest.mark.parametrize("afterwards", [True, False])
def test_another_base_for_one_request(webui: WebUI, pair: Pair, afterwards: bool) -> None:
    """Named in override_settings: it makes the base's steps, and goes or stays as was asked."""
    assert pair.other_text_encoder
    ours = {"distilled_model": pair.distilled, "family": "dmd2"}
    expected = webui.generate(pair.other_text_encoder, ours).must_work()
    webui.call("/sdapi/v1/options", {"sd_model_checkpoint": pair.base})
    request = {"override_settings_restore_afterwards": afterwards}
    assert webui.generate(pair.other_text_encoder, ours, **request).same_as(expected)
    left = webui.get("/sdapi/v1/options")["sd_model_checkpoint"].split(".")[0]
    assert left == (pair.base if afterwards else pair.other_text_encoder)
    webui.call("/sdapi/v1/options", {"sd_model_checkpoint": pair.base})


@pytest.mark.parametrize("off", ["", "None"])
def test_a_refiner_that_is_switched_off_by_name(webui: WebUI, pair: Pair, off: str) -> None:
    """As clients send its fields along, always."""
    ours = {"distilled_model": pair.distilled, "family": "dmd2"}
    reply = webui.generate(pair.base, ours, refiner_checkpoint=off, refiner_switch_at=0.8)
    assert reply.same_as(webui.generate(pair.base, ours))


def test_a_sampler_that_no_host_has(webui: WebUI, pair: Pair) -> None:
    """TCD: the host takes its first one for it, and so does the plan; as the base's sampler it is refused."""
    ours = {"distilled_model": pair.distilled, "family": "custom"}
    body = {"args": [ours], "request": {"steps": 4, "sampler_name": "TCD"}}
    status, told = webui.call("/diversity-distillation/v1/plan", body)
    assert status == 200
    first = webui.samplers()[0]
    assert told["sampler"] == first
    assert f"The sampler 'TCD' is not one of the host's, which takes {first} in its place." in told["notes"]
    assert f", Sampler: {first}," in webui.generate(pair.base, ours, sampler_name="TCD").must_work().infotext
    refused = webui.generate(pair.base, {**ours, "base_sampler": "TCD"})
    assert refused.status == 422
    assert refused.sentence.startswith("The sampler 'TCD' is not one of the host's; it has ")


@pytest.mark.parametrize(("call", "base", "distilled"), [(1, 1, 0), (3, 2, 1)])
def test_interrupted_in_the_first_of_three(webui: WebUI, pair: Pair, call: int, base: int, distilled: int) -> None:
    """One image comes, its infotext counts what was done, and the model is as before."""
    before = webui.generate(pair.base).must_work()
    ours = settings(pair, switch_step=2)
    fault = {"call": call, "kind": "interrupt"}
    reply = webui.generate(pair.base, ours, n_iter=3, faults=fault).must_work()
    assert len(reply.images) == 1
    assert calls(reply) == (base, distilled)
    assert webui.generate(pair.base).same_as(before)


def test_skipped_in_the_first_of_three(webui: WebUI, pair: Pair) -> None:
    """The other two are as without it."""
    ours = settings(pair, switch_step=2)
    whole = webui.generate(pair.base, ours, n_iter=3).must_work()
    reply = webui.generate(pair.base, ours, n_iter=3, faults={"call": 2, "kind": "skip"}).must_work()
    assert [np.array_equal(*both) for both in zip(reply.images, whole.images, strict=True)] == [False, True, True]
