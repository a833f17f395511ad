"""Other people's extensions beside a hybrid, on a host that has them: the host's own images, to the bit.

Which of them there are is asked of the host; a host without any skips everything here. Each model alone must be what
that model is on the host alone, the hybrid what the host's Refiner makes, all of it with the extension at work; and
nothing of it may be left for the next request.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import TITLE, Pair, Reply, WebUI, png_base64
from tests.e2e.refiner import refined
from tests.e2e.test_equalities import settings
from tests.e2e.test_passes import HIRES, from_picture, picture

# Forge has a ControlNet of its own, which test_forge tries.
pytestmark = pytest.mark.a1111

CONTROLNET = "controlnet"
CFG = 5


@dataclass(frozen=True)
class Neighbour:
    """An extension at work.

    Attributes:
        title: how its title begins, in lower case, as the host lists it.
        values: of its arguments, by their place; the rest are the defaults that the host tells of.
        request: what else is to be sent.
        off: values with which it does nothing; None if it does nothing where it is not sent.
        by_refiner: whether it goes together with the host's own Refiner, which reads file and prompt at the switch.
        own_reading: whether it asks the text encoder by itself, always the host's and with the prompt's own LoRAs.
        by_parts: whether it makes AND of a prompt, for which hosts need the unconditional half at CFG 1 too.
        own_calls: whether it calls the layers by itself to change LoRAs, so that ours are refused.
    """

    title: str
    values: dict[int, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    off: dict[int, Any] | None = None
    by_refiner: bool = True
    own_reading: bool = False
    by_parts: bool = False
    own_calls: bool = False


REGIONS = {"prompt": "a red cat BREAK a blue dog"}
NEIGHBOURS: dict[str, Neighbour] = {
    "Regional Prompter, attention": Neighbour("regional prompter", {0: True, 11: "Attention"}, REGIONS),
    "Regional Prompter, latent": Neighbour(
        "regional prompter", {0: True, 11: "Latent"}, REGIONS, by_parts=True, own_calls=True
    ),
    "Regional Prompter, a LoRA in one region": Neighbour(
        "regional prompter",
        {0: True, 11: "Latent"},
        {"prompt": "a red cat BREAK a blue dog <lora:{lora}:1>"},
        by_parts=True,
        own_calls=True,
    ),
    "Dynamic Prompts": Neighbour(
        "dynamic prompts", {0: True}, {"prompt": "a {red|blue|green} {cat|dog|bird}"}, off={0: False}
    ),
    "CADS": Neighbour("cads", {0: True, 1: 0.3, 2: 0.9}),
    "Dynamic Thresholding": Neighbour("dynamic thresholding", {0: True, 1: 3.0, 2: 95.0}, {"cfg_scale": CFG}),
    "NegPiP": Neighbour("negpip", {0: True}, {"prompt": "a red cat, (blue:-1.3)"}, own_reading=True),
    "LoRA Block Weight": Neighbour(
        "lora block weight",
        {1: True},
        {"prompt": "a red cat <lora:{lora}:0.8:lbw=1,0,0,0,0,0,0,1,1,0,0,0,1,1,1,0,0>"},
        off={1: False},
    ),
    "ControlNet": Neighbour(CONTROLNET),
    "ControlNet, prompt first": Neighbour(CONTROLNET, {0: {"control_mode": "My prompt is more important"}}),
    # The Refiner's reading of the prompt has none of the marks by which this tells cond from uncond.
    "ControlNet first": Neighbour(CONTROLNET, {0: {"control_mode": "ControlNet is more important"}}, by_refiner=False),
}


class AtWork:
    """What is to be sent for an extension to be at work, and the same request without it."""

    def __init__(self, pair: Pair, chosen: Neighbour, script: dict[str, Any]) -> None:
        self._pair, self._chosen, self._name = pair, chosen, script["name"]
        self._defaults = [argument["value"] for argument in script["args"]]

    def __call__(self, **changed: Any) -> dict[str, Any]:
        """Args: changed: parts of ControlNet's first unit."""
        values = self._values(self._chosen.values)
        if self._chosen.title == CONTROLNET:
            values = [{**unit(self._pair), **self._chosen.values.get(0, {}), **changed}]
        return {**self._request(), "scripts": {self._name: values}}

    def off(self) -> dict[str, Any]:
        """The extension does nothing."""
        off = self._chosen.off
        return {**self._request(), "scripts": {} if off is None else {self._name: self._values(off)}}

    def _values(self, chosen: dict[int, Any]) -> list[Any]:
        return [chosen.get(place, value) for place, value in enumerate(self._defaults)]

    def _request(self) -> dict[str, Any]:
        request = {"width": 128, "height": 128, **self._chosen.request}
        if "prompt" in request:
            request["prompt"] = request["prompt"].replace("{lora}", str(self._pair.lora))
        return request


@pytest.fixture(params=NEIGHBOURS)
def neighbour(webui: WebUI, pair: Pair, request: pytest.FixtureRequest) -> AtWork:
    """One of those that the host has."""
    return at_work(webui, pair, NEIGHBOURS[request.param])


@pytest.fixture
def kind(neighbour: Any, request: pytest.FixtureRequest) -> Neighbour:
    return NEIGHBOURS[request.node.callspec.params["neighbour"]]


def at_work(webui: WebUI, pair: Pair, chosen: Neighbour) -> AtWork:
    known = [script for script in webui.get("/sdapi/v1/script-info") if not script["is_img2img"]]
    found = next((script for script in known if script["name"].startswith(chosen.title)), None)
    if found is None:
        pytest.skip(f"the host has no '{chosen.title}'")
    if chosen.title == CONTROLNET and not pair.controlnet:
        pytest.skip("the host has no NAME_controlnet; see docs/testing.md")
    return AtWork(pair, chosen, found)


def unit(pair: Pair) -> dict[str, Any]:
    image = png_base64(picture())
    return {"enabled": True, "module": "none", "model": pair.controlnet, "image": image, "weight": 1.0}


def test_each_model_alone_is_the_hosts_own(webui: WebUI, pair: Pair, neighbour: AtWork) -> None:
    sent = neighbour()
    plain = neighbour.off()
    native = webui.generate(pair.base, **sent)
    assert webui.generate(pair.base, settings(pair, mode="base"), **sent).same_as(native)
    distilled = webui.generate(pair.base, settings(pair, mode="distilled"), **sent)
    assert distilled.same_as(webui.generate(pair.distilled, **sent))
    assert not distilled.same_as(webui.generate(pair.base, settings(pair, mode="distilled"), **plain))


def test_the_hybrid_is_the_hosts_refiners(webui: WebUI, pair: Pair, neighbour: AtWork, kind: Neighbour) -> None:
    """And nothing of the extension is left for the next request, nor of the hybrid."""
    sent = neighbour()
    plain = neighbour.off()
    before = [webui.generate(pair.base, **plain), webui.generate(pair.base, settings(pair), **plain)]
    fingerprint = webui.fingerprint()
    hybrid = webui.generate(pair.base, settings(pair), **sent)
    assert "base 1, distilled 3" in hybrid.must_work().infotext
    assert not hybrid.same_as(before[1])
    assert webui.generate(pair.base, settings(pair), **sent).same_as(hybrid)
    assert webui.generate(pair.base, settings(pair), **plain).same_as(before[1])
    assert webui.generate(pair.base, **plain).same_as(before[0])
    assert kind.own_calls or webui.fingerprint() == fingerprint  # merged anew on the host alone, and rounded so
    if kind.by_refiner and refiner_keeps_the_model(webui, pair):
        assert hybrid.same_as(refined(webui, hybrid, pair.base, pair.distilled, **sent))


def refiner_keeps_the_model(webui: WebUI, pair: Pair) -> bool:
    """Where files have a yaml each the Refiner makes another model, and what extensions hung on the first is gone.

    Source: sd_models.reload_model_weights, 1.10.1.
    """
    configs = {Path(model["filename"]).stem: model["config"] for model in webui.get("/sdapi/v1/sd-models")}
    return configs[pair.base] == configs[pair.distilled]


# What is sent, the settings of the hybrid, and the host's options with which it does the same by itself.
OTHER_HYBRIDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "as it is": ({}, {}, {}),
    "CFG 1": ({"cfg_scale": 1}, {"base_cfg": 1, "distilled_cfg": 1}, {"skip_early_cond": 1.0}),
    "hires": (
        {**HIRES, "width": 64, "height": 64},
        {"passes": "both", "switch_step": 4},
        {"hires_fix_refiner_pass": "both passes"},
    ),
}


@pytest.mark.parametrize("case", OTHER_HYBRIDS)
def test_other_hybrids(webui: WebUI, pair: Pair, neighbour: AtWork, kind: Neighbour, case: str) -> None:
    """The Refiner's image; and of one model with itself that model's own, which tells of a Refiner that cannot."""
    more, chosen, options = OTHER_HYBRIDS[case]
    options = {} if kind.by_parts and case == "CFG 1" else options
    sent = {**neighbour(), **more}
    itself = webui.generate(pair.base, settings(pair, distilled_model=pair.base, **chosen), **sent)
    assert itself.same_as(webui.generate(pair.base, **sent, options=options))
    hybrid = webui.generate(pair.base, settings(pair, **chosen), **sent)
    assert not hybrid.same_as(itself)
    if kind.by_refiner and refiner_keeps_the_model(webui, pair):
        assert hybrid.same_as(refined(webui, hybrid, pair.base, pair.distilled, **sent, options=options))


def test_cfg_1(webui: WebUI, pair: Pair, neighbour: AtWork, kind: Neighbour) -> None:
    """Where the unconditional half is left out: the host's own image without it."""
    sent = {**neighbour(), "cfg_scale": 1}
    chosen = settings(pair, base_cfg=1, distilled_cfg=1)
    native = sent if kind.by_parts else {**sent, "options": {"skip_early_cond": 1.0}}
    for mode, model in (("base", pair.base), ("distilled", pair.distilled)):
        assert webui.generate(pair.base, {**chosen, "mode": mode}, **sent).same_as(webui.generate(model, **native))
    assert not webui.generate(pair.base, chosen, **sent).same_as(webui.generate(pair.base, settings(pair), **sent))


def test_several_batches_and_images(webui: WebUI, pair: Pair, neighbour: AtWork) -> None:
    sent = {**neighbour(), "n_iter": 2, "batch_size": 2}
    distilled = webui.generate(pair.base, settings(pair, mode="distilled"), **sent)
    assert distilled.same_as(webui.generate(pair.distilled, **sent))
    hybrid = webui.generate(pair.base, settings(pair), **sent)
    assert len(hybrid.must_work().images) >= 4
    assert webui.generate(pair.base, settings(pair), **sent).same_as(hybrid)


@pytest.mark.parametrize("kind_of_pass", ["img2img", "hires"])
def test_other_passes(webui: WebUI, pair: Pair, neighbour: AtWork, kind_of_pass: str) -> None:
    sent = neighbour()
    more = from_picture(0.9, steps=8) if kind_of_pass == "img2img" else {**HIRES, "width": 64, "height": 64}
    for mode, model in (("base", pair.base), ("distilled", pair.distilled)):
        webui.generate(pair.base).must_work()
        ours = webui.generate(pair.base, settings(pair, mode=mode, passes="both"), **{**sent, **more})
        webui.generate(pair.base).must_work()
        assert ours.same_as(webui.generate(model, **{**sent, **more})), mode


def test_another_text_encoder(webui: WebUI, pair: Pair, neighbour: AtWork, kind: Neighbour) -> None:
    """The distilled phase reads the prompt with its own; what an extension does with a reading, it does with that."""
    if pair.other_text_encoder is None:
        pytest.skip("the host has no NAME_distilled_otherte")
    sent = neighbour()
    chosen = {"distilled_model": pair.other_text_encoder, "mode": "distilled"}
    ours = webui.generate(pair.base, settings(pair, **chosen), **sent)
    if not kind.own_reading:
        assert ours.same_as(webui.generate(pair.other_text_encoder, **sent))
    assert webui.generate(pair.base, settings(pair, **chosen), **sent).same_as(ours)


def test_weights_of_the_prompts_loras(webui: WebUI, pair: Pair, neighbour: AtWork, kind: Neighbour) -> None:
    """A reading of the prompt is kept for the next request, but not what an extension has marked on it."""
    sent = neighbour()
    if "<lora" in sent.get("prompt", ""):
        pytest.skip("it has a LoRA already")
    prompt = f"{sent.get('prompt', 'a red cat')} <lora:{pair.lora}:1>"
    chosen = settings(pair, base_lora_factor=0.5, distilled_lora_factor=0.5)
    plain = {**neighbour.off(), "prompt": prompt}
    before = webui.generate(pair.base, chosen, **plain)
    sent = {**sent, "prompt": prompt}
    half = {**sent, "prompt": prompt.replace(":1>", ":0.5>")}
    of_base = webui.generate(pair.base, {**chosen, "mode": "base"}, **sent)
    if kind.own_calls:
        assert (of_base.status, "as Regional Prompter does" in of_base.sentence) == (422, True)
        assert webui.generate(pair.base, chosen, **plain).same_as(before)
        return
    if not kind.own_reading:
        assert of_base.same_as(webui.generate(pair.base, **half))
    webui.generate(pair.base, chosen, **sent).must_work()
    assert webui.generate(pair.base, chosen, **plain).same_as(before)


@pytest.fixture
def control(webui: WebUI, pair: Pair) -> AtWork:
    return at_work(webui, pair, NEIGHBOURS["ControlNet"])


def test_control_acts_in_both_phases(webui: WebUI, pair: Pair, control: AtWork) -> None:
    plain = webui.generate(pair.base, settings(pair), **control.off())
    whole = webui.generate(pair.base, settings(pair), **control())
    early = webui.generate(pair.base, settings(pair), **control(guidance_end=0.4))
    late = webui.generate(pair.base, settings(pair), **control(guidance_start=0.6))
    made: list[Reply] = [plain, whole, early, late]
    assert all(not made[a].same_as(made[b]) for a in range(4) for b in range(a))


def test_control_of_weight_0_is_none(webui: WebUI, pair: Pair, control: AtWork) -> None:
    """Within what the extension's own way through the U-Net rounds otherwise."""

    def image(sent: dict[str, Any]) -> Reply:
        """Without the map that the extension sends after it."""
        made = webui.generate(pair.base, settings(pair), **sent).must_work()
        return replace(made, images=made.images[:1])

    plain, nothing, whole = (image(sent) for sent in (control.off(), control(weight=0.0), control()))
    assert nothing.distance(plain) < 0.05
    assert nothing.distance(plain) * 20 < whole.distance(plain)


def test_control_on_one_cfg_each(webui: WebUI, pair: Pair, control: AtWork) -> None:
    """CFG above 1 on the base and 1 on the distilled model, our default: each phase has control."""
    chosen = settings(pair, base_cfg=5, distilled_cfg=1)
    whole = webui.generate(pair.base, chosen, **control())
    late = webui.generate(pair.base, chosen, **control(guidance_start=0.6))
    early = webui.generate(pair.base, chosen, **control(guidance_end=0.4))
    assert not whole.same_as(late)
    assert not whole.same_as(early)
    assert webui.generate(pair.base, chosen, **control()).same_as(whole)


def test_a_queue_makes_the_same_image(webui: WebUI, pair: Pair) -> None:
    """Agent Scheduler keeps requests and sends them to the host's API functions, one after another."""
    if webui.call("/agent-scheduler/v1/queue?limit=1")[0] != 200:
        pytest.skip("the host has no Agent Scheduler")
    request = {"prompt": "a red cat", "seed": 1, "steps": 4, "cfg_scale": 5, "width": 64, "height": 64}
    request |= {"sampler_name": "Euler", "negative_prompt": "bad"}
    request["override_settings"] = {"sd_model_checkpoint": pair.base}
    request["alwayson_scripts"] = {TITLE: {"args": [settings(pair)]}}
    direct = webui.read(*webui.call("/sdapi/v1/txt2img", request)).must_work()
    webui.generate(pair.distilled).must_work()
    status, queued = webui.call("/agent-scheduler/v1/queue/txt2img", request)
    assert status == 200, queued
    task = queued["task_id"]
    while (told := webui.get(f"/agent-scheduler/v1/task/{task}")["data"]["status"]) in ("pending", "running"):
        webui.get("/sdapi/v1/progress?skip_current_image=true")
    assert told == "done"
    results = webui.get(f"/agent-scheduler/v1/task/{task}/results")["data"]
    assert results[0]["infotext"].split("Version:")[0] == direct.infotext.split("Version:")[0]
    body = {"images": [results[0]["image"].rpartition(",")[2]], "info": "{}"}
    assert webui.read(200, body).same_as(direct)
