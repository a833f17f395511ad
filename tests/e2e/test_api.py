"""Our routes beside the host's API: the schema of the arguments, what may be chosen, and plans that run nothing."""

from __future__ import annotations

import json
import secrets
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from extension_core.options.positions import POSITIONS
from extension_core.options.schema import arguments_schema
from tests.e2e.client import TITLE, Pair, Reply, WebUI, png_base64
from tests.waiting import PATIENCE

PREFIX = "/diversity-distillation/v1"
REQUEST = {"steps": 4, "width": 64, "height": 64, "sampler_name": "Euler", "scheduler": "Automatic"}
# What loads a model or calls one, on whichever host has it.
WORK = {
    "a1111": (
        "modules.sd_models.load_model",
        "modules.sd_models.reload_model_weights",
        "modules.sd_samplers_cfg_denoiser.CFGDenoiser.forward",
        "extension_core.hosts.a1111.model.second_model",
    ),
    "forge": (
        "modules.sd_models.forge_model_reload",
        "modules.sd_samplers_cfg_denoiser.CFGDenoiser.forward",
        "extension_core.hosts.forge.model.load_model",
    ),
}


def send(webui: WebUI, body: bytes, path: str = "/plan") -> tuple[int, Any]:
    """POST bytes as they are."""
    request = urllib.request.Request(webui.url + PREFIX + path, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def plan(webui: WebUI, asked: dict[str, Any], **request: Any) -> tuple[int, Any]:
    return webui.call(f"{PREFIX}/plan", {"args": [asked], "request": {**REQUEST, **request}})


@pytest.fixture
def loaded(webui: WebUI, pair: Pair) -> Pair:
    """The pair, its base loaded."""
    webui.generate(pair.base).must_work()
    return pair


class TestSchema:
    def test_it_is_the_arguments_own(self, webui: WebUI) -> None:
        assert webui.get(f"{PREFIX}/schema") == arguments_schema()

    def test_what_it_calls_valid_makes_an_image(self, webui: WebUI, pair: Pair) -> None:
        schema = webui.get(f"{PREFIX}/schema")
        given = {key: entry["default"] for key, entry in schema["properties"].items()}
        given["distilled_model"] = pair.distilled
        Draft202012Validator(schema).validate(given)
        assert webui.generate(pair.base, given).same_as(webui.generate(pair.base, {"distilled_model": pair.distilled}))

    def test_the_hosts_openapi_document_tells_of_every_route(self, webui: WebUI) -> None:
        document = webui.get("/openapi.json")
        ours = {path: item for path, item in document["paths"].items() if path.startswith("/diversity-distillation/")}
        assert all(path.startswith(PREFIX) for path in ours)
        assert "$ref" not in json.dumps(ours), "ours are whole without the host's components"
        assert {path.removeprefix(PREFIX) for path in ours} >= {"/schema", "/models", "/plan", "/dt/{identifier}"}
        told = [operation for item in ours.values() for operation in item.values()]
        assert len({operation["operationId"] for operation in told}) == len(told)
        for operation in told:
            assert operation["tags"] == [TITLE]
            assert operation["summary"]
            assert operation["description"]
            assert {"401"} < set(operation["responses"])
        security = document.get("components", {}).get("securitySchemes", {})
        validate({**document, "paths": ours, "components": {"securitySchemes": security}})


class TestModels:
    def test_everything_that_may_be_chosen(self, webui: WebUI, loaded: Pair) -> None:
        models = webui.get(f"{PREFIX}/models")
        files = {model["file"]: model for model in models}
        assert f"{loaded.distilled}.safetensors" in files
        assert {"checkpoint"} <= {model["kind"] for model in models} <= {"checkpoint", "unet", "lora"}
        if loaded.lora:
            assert files[f"{loaded.lora}.safetensors"]["kind"] == "lora"
        for model in models:
            assert "/" not in model["file"]
            assert "\\" not in model["file"]
            assert model["why"]
        assert len({model["name"] for model in models}) == len(models)

    def test_each_name_finds_its_file(self, webui: WebUI, loaded: Pair) -> None:
        """The plan may refuse it beside this base, but knows it."""
        for model in webui.get(f"{PREFIX}/models"):
            status, told = plan(webui, {"distilled_model": model["name"]})
            assert status in (200, 422)
            if status == 200:
                assert (told["family"], told["why"]) == (model["family"], model["why"])
            else:
                assert "is not among" not in told["detail"]
                assert "may be" not in told["detail"]

    def test_families_and_files_that_cannot_be_read(self, webui: WebUI, loaded: Pair) -> None:
        known = {Path(m["filename"]).stem: Path(m["filename"]) for m in webui.get("/sdapi/v1/sd-models")}
        good = known[loaded.distilled]
        lightning, bad = good.with_name("ddapi_lightning_2step.safetensors"), good.with_name("ddapi_bad.safetensors")
        try:
            lightning.hardlink_to(good)
            bad.write_bytes(b"this is no model at all")
            webui.call("/sdapi/v1/refresh-checkpoints", {})
            files = {model["file"]: model for model in webui.get(f"{PREFIX}/models")}
            assert (files[lightning.name]["family"], files[lightning.name]["steps"]) == ("lightning", 2)
            assert "says SDXL-Lightning" in files[lightning.name]["why"]
            assert files[bad.name]["family"] is None
            assert "cannot be read" in files[bad.name]["why"]
            assert str(good.parent) not in json.dumps(files)
            bad.unlink()
            bad.hardlink_to(good)
            again = {model["file"]: model for model in webui.get(f"{PREFIX}/models")}
            assert again[bad.name]["family"] == "custom"
        finally:
            lightning.unlink(missing_ok=True)
            bad.unlink(missing_ok=True)
            webui.call("/sdapi/v1/refresh-checkpoints", {})


# Settings, fields of the request, path.
PLANS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dmd2": ({"family": "dmd2"}, {}),
    "the host's schedule": ({"family": "custom", "switch_step": 5}, {"steps": 20, "scheduler": "Karras"}),
    "finer base": ({"family": "lightning", "base_steps": 3, "base_cfg": 5}, {}),
    "another sampler": ({"family": "dmd2", "base_sampler": "DDIM"}, {}),
    "timesteps": ({"family": "hyper"}, {}),
    "skip first": ({"family": "lcm", "mode": "skip_first"}, {}),
    "base alone": ({"family": "custom", "mode": "base"}, {"steps": 6, "sampler_name": "Heun"}),
    "hires": ({"family": "dmd2", "passes": "both"}, {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.7}),
}
HIRES = {"hr_upscaler": "Latent"}


class TestPlan:
    @pytest.mark.parametrize("case", PLANS)
    def test_what_is_planned_is_what_runs(self, webui: WebUI, loaded: Pair, case: str) -> None:
        asked, fields = PLANS[case]
        asked = {"distilled_model": loaded.distilled, **asked}
        status, told = plan(webui, asked, **fields)
        assert status == 200, told
        more = {**fields, **HIRES} if fields.get("enable_hr") else fields
        infotext = webui.generate(loaded.base, asked, **more).must_work().infotext
        for key, value in told["infotext"].items():
            quoted = json.dumps(value) if any(sign in value for sign in ",:\n") else value
            assert f"{key}: {quoted}" in infotext, key
        assert f"Sampler: {told['sampler']}," in infotext
        assert f"Steps: {told['steps']}," in infotext
        calls = [item["calls"] for item in told["passes"]]
        made = ", ".join(f"{phase} {sum(each[phase] for each in calls)}" for phase in ("base", "distilled"))
        assert f'DD U-Net calls: "{made}"' in infotext

    def test_img2img(self, webui: WebUI, loaded: Pair) -> None:
        image = webui.generate(loaded.base).must_work().images[0]
        asked = {"distilled_model": loaded.distilled, "family": "dmd2", "switch_step": 2}
        body = {"args": [asked], "request": {**REQUEST, "denoising_strength": 0.8}, "img2img": True}
        status, told = webui.call(f"{PREFIX}/plan", body)
        assert status == 200, told
        assert [item["name"] for item in told["passes"]] == ["img2img"]
        reply = webui.generate(
            loaded.base, asked, "/sdapi/v1/img2img", denoising_strength=0.8, init_images=[png_base64(image)]
        )
        assert f'DD plan: "{told["line"]}"' in reply.must_work().infotext

    def test_levels_and_the_switch(self, webui: WebUI, loaded: Pair) -> None:
        status, told = plan(webui, {"distilled_model": loaded.distilled, "family": "dmd2"})
        assert status == 200, told
        assert told["line"] == "base 999 -> 759, distilled 759 -> 499 -> 259 -> 0, CFG 1/1, 4 U-Net calls"
        (only,) = told["passes"]
        assert only["base"]["timestep"] == [999, 759]
        assert only["distilled"]["timestep"] == [759, 499, 259, 0]
        assert only["distilled"]["sigma"][-1] == 0
        assert told["switch"] == {"sigma": only["base"]["sigma"][-1], "timestep": 759}
        assert only["calls"] == {"base": 1, "distilled": 3}
        assert (told["checkpoint"], told["steps"], told["sampler"]) == (loaded.base, 4, "LCM")
        assert told["memory"]["base"]
        _, alone = plan(webui, {"distilled_model": loaded.distilled, "mode": "distilled"})
        assert alone["switch"] is None

    def test_values_by_position_give_the_same(self, webui: WebUI, loaded: Pair) -> None:
        asked = {"distilled_model": loaded.distilled, "family": "dmd2", "switch_step": 2, "base_steps": 4}
        by_name = {"enabled": True, **asked}
        values = [by_name.get(name) for name in POSITIONS[: POSITIONS.index("base_steps") + 1]]
        values[POSITIONS.index("mode")] = "hybrid"
        body = {"args": values, "request": REQUEST}
        assert webui.call(f"{PREFIX}/plan", body) == plan(webui, asked)

    def test_nothing_is_run_or_loaded_or_changed(self, webui: WebUI, loaded: Pair) -> None:
        before = webui.fingerprint()
        # A refused request never comes to what takes the counters away again.
        refused = webui.generate(loaded.base, {"mode": "none"}, faults={"count": list(WORK[webui.flavour])})
        assert refused.status == 422
        counted = webui.get("/dd-faults/counts")
        for name in (loaded.distilled, loaded.other_text_encoder, loaded.lora):
            for more in ({}, {"residency": "8bit"}, {"carry_from": loaded.base}) if name else ():
                plan(webui, {"distilled_model": name, **more}, enable_hr=True)
        assert webui.get("/dd-faults/counts") == counted
        assert sorted(counted) == sorted(WORK[webui.flavour])
        assert webui.fingerprint() == before

    @given(data=st.data())
    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def test_any_settings_are_planned_or_refused(self, webui: WebUI, loaded: Pair, data: st.DataObject) -> None:
        whole = st.integers(0, 40)
        samplers, schedulers = webui.samplers(), [each["label"] for each in webui.get("/sdapi/v1/schedulers")]
        properties = webui.get(f"{PREFIX}/schema")["properties"]
        choices = {key: st.sampled_from(entry["enum"]) for key, entry in properties.items() if "enum" in entry}
        numbers = {"switch_step": whole, "base_steps": st.none() | st.integers(1, 40), "base_cfg": st.floats(0, 30)}
        models = {"distilled_model": st.sampled_from([loaded.distilled, loaded.lora or loaded.base])}
        asked = st.fixed_dictionaries(
            models, optional={**choices, **numbers, "base_sampler": st.sampled_from(samplers)}
        )
        fields = st.fixed_dictionaries(
            {},
            optional={
                "steps": st.integers(1, 1000),
                "sampler_name": st.sampled_from(samplers),
                "scheduler": st.sampled_from(schedulers),
                "denoising_strength": st.floats(0, 1),
                "enable_hr": st.booleans(),
                "hr_second_pass_steps": st.integers(0, 1000),
                "hr_sampler_name": st.sampled_from(samplers),
                "hr_scheduler": st.sampled_from(schedulers),
            },
        )
        request, is_img2img = data.draw(fields), data.draw(st.booleans())
        if is_img2img:
            request = {key: value for key, value in request.items() if not key.startswith(("hr_", "enable_hr"))}
        body = {"args": [data.draw(asked)], "request": request, "img2img": is_img2img}
        status, told = webui.call(f"{PREFIX}/plan", body)
        assert status in (200, 422), told
        assert told["line"] if status == 200 else told["detail"].endswith(".")
        assert "fails at making noise levels" not in str(told), "a failure inside, of the host or of ours"

    def test_more_steps_than_timesteps(self, webui: WebUI, loaded: Pair) -> None:
        """251 steps at strength 0.25 are 1004, of which the host's DDIM makes none."""
        hires = {"enable_hr": True, "denoising_strength": 0.25, "hr_sampler_name": "DDIM"}
        asked = {"distilled_model": loaded.distilled, "passes": "first"}
        status, told = plan(webui, asked, steps=251, **hires)
        assert status == 422
        assert told["detail"].startswith("DDIM makes at most 1000 steps, and this pass asks it for 1004, ")


BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "The body is not JSON"),
    "half a JSON": (b'{"args": [', "The body is not JSON"),
    "no UTF-8": (b"\xff\xfe\x00", "The body is not JSON"),
    "a list": (b"[]", "must be an object with the keys args, request, img2img"),
    "a number of 5,000 digits": (b'{"args": [' + b"9" * 5000 + b"]}", "The body is not JSON"),
    "a thousand brackets": (b'{"args": ' + b"[" * 100_000, "The body is not JSON"),
    "nested lists": (b'{"args": [{"family": ' + b"[" * 900 + b"]" * 900 + b"}]}", ""),
    "an unknown key": (b'{"argz": []}', "did you mean 'args'"),
    "args of no list": (b'{"args": {"mode": "base"}}', "args of the plan is {'mode': 'base'}; it must be a list"),
    "args of text": (b'{"args": "abc"}', "it must be a list"),
    "no args": (b"{}", "not enabled by these args"),
    "switched off": (b'{"args": [{"enabled": false}]}', "not enabled by these args"),
    "too many positions": (json.dumps({"args": [True] * 100}).encode(), "positional arguments but got 100"),
    "request of no dict": (b'{"args": [{}], "request": []}', "request of the plan is []"),
    "a field that is not there": (b'{"args": [{}], "request": {"stps": 4}}', "did you mean 'request.steps'"),
    "no steps": (b'{"args": [{}], "request": {"steps": 0}}', "steps of Diversity Distillation is 0"),
    "endless steps": (b'{"args": [{}], "request": {"steps": 1e999}}', "steps of Diversity Distillation is inf"),
    "NaN": (b'{"args": [{"base_cfg": NaN}]}', "base_cfg of Diversity Distillation is nan"),
    "hardly any strength": (b'{"args": [{}], "request": {"denoising_strength": 1e-9}}', "must be 0, or a number from"),
    "img2img of no flag": (b'{"args": [{}], "img2img": 1}', "img2img of the plan is 1; it must be true or false"),
    "half a pair": (b'{"args": [{"distilled_model": "\\ud800"}]}', "'?' is not among"),
    "a megabyte": (json.dumps({"args": [{"distilled_model": "x" * 900_000}]}).encode(), "is not among"),
    "hires in img2img": (
        b'{"args": [{"mode": "base"}], "request": {"enable_hr": true}, "img2img": true}',
        "request.enable_hr is a field of txt2img alone",
    ),
    "the Refiner": (b'{"args": [{"mode": "base"}], "request": {"refiner_checkpoint": "x"}}', "both switch models"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_plan_is_refused_in_one_sentence(webui: WebUI, loaded: Pair, case: str) -> None:
    body, expected = BAD_BODIES[case]
    status, told = send(webui, body)
    assert status == 422
    assert list(told) == ["detail"]
    assert expected in told["detail"]
    assert "\n" not in told["detail"]


# As clients of several years send them; hosts settle each of them on a sampler and a schedule type that they have.
NAMES: dict[str, dict[str, Any]] = {
    "of old, with the schedule type": {"sampler_name": "DPM++ 2M Karras"},
    "of old, with another schedule type": {"sampler_name": "DPM++ SDE Exponential", "scheduler": "Karras"},
    "k-diffusion's": {"sampler_name": "k_euler_a"},
    "the older field": {"sampler_name": None, "sampler_index": "DDIM"},
    "both fields": {"sampler_name": "Heun", "sampler_index": "DDIM"},
    "the schedule type's other name": {"sampler_name": "Euler", "scheduler": "sgm_uniform"},
    "the sampler's own schedule type": {"sampler_name": "DPM++ 2M", "scheduler": "Karras"},
    "no sampler": {"sampler_name": "Eulr"},
    "no schedule type": {"sampler_name": "Euler", "scheduler": "Karas"},
    "no names": {"sampler_name": "", "scheduler": ""},
}


@pytest.mark.parametrize("case", NAMES)
def test_names_are_settled_as_the_host_settles_them(webui: WebUI, loaded: Pair, case: str) -> None:
    fields = {"steps": 6, **NAMES[case]}
    asked = {"distilled_model": loaded.distilled, "family": "custom", "switch_step": 2}
    request = {key: value for key, value in {**REQUEST, **fields}.items() if key in fields or key != "scheduler"}
    status, told = webui.call(f"{PREFIX}/plan", {"args": [asked], "request": request})
    assert status == 200, told
    text = webui.generate(loaded.base, asked, **fields).must_work().infotext
    assert f", Sampler: {told['sampler']}, " in text
    assert f'DD plan: "{told["line"]}"' in text
    unknown = case in ("k-diffusion's", "no sampler", "no schedule type")
    assert any("is not one of the host's, which takes" in note for note in told["notes"]) == unknown


def test_more_than_a_megabyte_is_too_long(webui: WebUI) -> None:
    status, told = send(webui, b" " * 1_100_000)
    assert (status, list(told)) == (413, ["detail"])


def test_plans_asked_for_at_once_do_not_mix(webui: WebUI, loaded: Pair) -> None:
    asked = [{"distilled_model": loaded.distilled, "family": name} for name in ("dmd2", "lightning", "hyper", "custom")]
    alone = [plan(webui, each) for each in asked]
    together: dict[int, list[Any]] = {}

    def ask(index: int) -> None:
        together[index] = [plan(webui, asked[index]) for _ in range(10)]

    in_threads([lambda index=index: ask(index) for index in range(len(asked))])
    for index, expected in enumerate(alone):
        assert together[index] == [expected] * 10


def in_threads(jobs: list[Any]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_clients_at_once_do_not_mix(webui: WebUI, loaded: Pair) -> None:
    """Each gets what it would get alone, bit for bit, and its own frames under its own id."""
    asked: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"distilled_model": loaded.distilled, "family": "dmd2"}, {"seed": 11}),
        ({"distilled_model": loaded.distilled, "family": "custom", "switch_step": 3}, {"seed": 12, "steps": 8}),
        ({"enabled": False}, {"seed": 13, "steps": 6, "sampler_name": "Heun"}),
    ]

    def generate(index: int) -> tuple[Reply, Any]:
        """The reply, and what is told under the id that was asked for."""
        identifier = secrets.token_urlsafe(24)
        settings, request = asked[index]
        reply = webui.generate(loaded.base, {**settings, "dt": {"id": identifier, "return": True}}, **request)
        return reply, webui.get(f"{PREFIX}/dt/{identifier}")

    alone = [generate(index)[0] for index in range(len(asked))]
    made: list[tuple[int, Reply, Any]] = []

    def repeat(index: int) -> None:
        made.extend((index, *generate(index)) for _ in range(3))

    in_threads([lambda index=index: repeat(index) for index in range(len(asked))])
    assert len(made) == 9
    for index, reply, recorded in made:
        assert reply.same_as(alone[index]), "images and frames"
        told = json.loads(reply.body["info"])["dt"]
        assert told["id"] == recorded["id"]
        assert [frame["sigma"] for frame in recorded["frames"]] == [frame["sigma"] for frame in told["frames"]]
