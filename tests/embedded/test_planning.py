"""A plan is made without a sampler, of the schedule in force, and nothing of the host or of the request is touched."""

from __future__ import annotations

import copy
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from extension_core.options.hybrid import Options
from extension_core.sampling.calls import Stochastic, call_levels
from tests.embedded.conftest import FLAVOUR, Host
from tests.embedded.previews import load_model
from tests.embedded.test_api_routes import the_host

SAMPLERS = ("Euler", "DPM++ 2M", "DPM++ 2M SDE", "DPM++ 3M SDE", "LCM", "DDIM", "PLMS", "UniPC", "DPM fast")


def plan_of(**settings: Any) -> Any:
    from extension_core.hosts.common.plan.client_request import request_of
    from extension_core.hosts.common.plan.settle import settle

    options = Options.from_mapping({"mode": "base", **settings.pop("options", {})})
    given = {"steps": 8, "sampler_name": "Euler", "scheduler": "Automatic", **settings}
    request = request_of(given, is_img2img=given.pop("img2img", False))
    return settle(the_host(), request, options).plan


def cases() -> list[dict[str, Any]]:
    from modules import sd_schedulers

    labels = [scheduler.label for scheduler in sd_schedulers.schedulers]
    found: list[dict[str, Any]] = [{"sampler_name": name, "scheduler": label} for name in SAMPLERS for label in labels]
    found += [{"sampler_name": name, "enable_hr": True, "denoising_strength": 0.5} for name in SAMPLERS]
    return found + [{"sampler_name": name, "img2img": True, "denoising_strength": 0.5} for name in SAMPLERS]


def state_of_host() -> dict[str, Any]:
    """What a plan could touch: the registries, the settings, what hangs on the model, its tensors of the schedule."""
    from modules import sd_samplers, sd_samplers_kdiffusion, sd_schedulers, shared

    model = shared.sd_model
    predictor = model.forge_objects.unet.model.predictor if FLAVOUR == "forge" else model
    return {
        "settings": dict(shared.opts.data),
        "samplers": (sd_samplers.create_sampler, list(sd_samplers.all_samplers), dict(sd_samplers.all_samplers_map)),
        "classes": dict(vars(sd_samplers_kdiffusion.KDiffusionSampler)),
        "schedulers": dict(sd_schedulers.schedulers_map),
        "model": {name: id(value) for name, value in vars(model).items()},
        "buffers": {name: (id(value), value.cpu().numpy().tobytes()) for name, value in predictor.named_buffers()},
    }


class Made(Exception):
    """A sampler was made."""


@pytest.fixture
def no_sampler(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no thread but the generation's can make one."""
    load_model(host)
    from modules import sd_samplers, sd_samplers_common

    def refused(*_args: Any, **_kwargs: Any) -> None:
        raise Made

    monkeypatch.setattr(sd_samplers, "create_sampler", refused)
    monkeypatch.setattr(sd_samplers_common.Sampler, "__init__", refused)
    for data in sd_samplers.all_samplers:
        monkeypatch.setitem(sd_samplers.all_samplers_map, data.name, data._replace(constructor=refused))


def test_thousands_of_plans_make_no_sampler_and_change_nothing(no_sampler: None) -> None:
    before, asked = state_of_host(), cases()
    times = 1000 // len(asked) + 1
    with ThreadPoolExecutor(4) as threads:
        lines = list(threads.map(lambda case: plan_of(**case).describe(), asked * times))
    assert len(lines) >= 1000
    assert lines == lines[: len(asked)] * times
    assert state_of_host() == before


def test_plans_beside_a_generation_change_neither(host: Host) -> None:
    """Zero terminal SNR too: plans are of the settings in force then, whatever the host has put on its model."""
    load_model(host)
    asked = [{"sampler_name": name} for name in SAMPLERS]
    for override in ({}, {"sd_noise_schedule": "Zero Terminal SNR"}):
        request = {"steps": 12, "n_iter": 3, "override_settings": override}
        quiet = host.txt2img(**request)
        host.recorder.actions["cfg_denoiser"] = lambda _params, lines=(lines := []): lines.append(
            [plan_of(**case).describe() for case in asked]
        )
        busy, stop, others = [], threading.Event(), []

        def plan_until_done(others: list[str] = others, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                others.append(plan_of(sampler_name="LCM").describe())

        worker = threading.Thread(target=plan_until_done)
        worker.start()
        try:
            busy.append(host.txt2img(**request))
        finally:
            stop.set()
            worker.join()
            host.recorder.actions.clear()
        assert busy[0].equals(quiet)
        assert busy[0].info["infotexts"] == quiet.info["infotexts"]
        assert len(lines) == 36
        assert all(line == lines[0] for line in lines)
        assert others


def test_a_plan_writes_nothing_to_the_request(host: Host) -> None:
    from extension_core.hosts.common.plan.client_request import request_of
    from extension_core.hosts.common.plan.settle import settle

    load_model(host)
    settings = {"steps": 8, "sampler_name": "Euler", "scheduler": "Karras", "enable_hr": True, "hr_scheduler": "Simple"}
    request = request_of(settings, is_img2img=False)
    before = copy.deepcopy(vars(request))
    settle(the_host(), request, Options.from_mapping({"mode": "base"}))
    assert vars(request) == before


@pytest.mark.parametrize(
    "setting", [{}, {"sd_noise_schedule": "Zero Terminal SNR"}, {"use_downcasted_alpha_bar": True}]
)
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_levels_are_those_of_the_real_sampler(host: Host, setting: dict[str, Any], name: str) -> None:
    """Of one that the host makes and runs, to the last bit, in txt2img and img2img with both ways to count steps."""
    load_model(host)
    from modules import sd_samplers_common, shared

    ran: list[Any] = []
    launch = sd_samplers_common.Sampler.launch_sampling

    def launching(self: Any, steps: int, func: Any) -> Any:
        original = self.func

        def spied(model: Any, x: Any, **kwargs: Any) -> Any:
            ran.append((kwargs, self))
            return original(model, x, **kwargs)

        spied.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
        self.func = spied
        return launch(self, steps, func)

    sd_samplers_common.Sampler.launch_sampling = launching  # type: ignore[method-assign]
    try:
        for fields in ({}, {"exact": False}, {"exact": True}):
            options = {**setting, "img2img_fix_steps": fields.get("exact", False)}
            ran.clear()
            if fields:
                answer = host.img2img(np.zeros((64, 64, 3)), steps=8, sampler_name=name, override_settings=options)
            else:
                answer = host.txt2img(steps=8, sampler_name=name, override_settings=options)
            assert answer.status == 200, answer.body
            shared.opts.data.update(options)
            kwargs, _ = ran[0]
            given = {"denoising_strength": 0.6, "img2img": True} if fields else {}
            (part,) = plan_of(sampler_name=name, **given).passes
            if "sigmas" in kwargs:
                assert part.run == tuple(kwargs["sigmas"].tolist()), fields
            elif name in ("DDIM", "PLMS"):
                assert part.run == tuple(float(t) for t in reversed(kwargs["timesteps"].tolist())), fields
    finally:
        sd_samplers_common.Sampler.launch_sampling = launch  # type: ignore[method-assign]


class Recorded:
    """A denoiser that notes the levels of its calls; predicts nothing."""

    def __init__(self, alphas: torch.Tensor) -> None:
        self.levels: list[float] = []
        self.last_noise_uncond = torch.zeros(1, 4, 2, 2)
        self.inner_model = SimpleNamespace(
            inner_model=SimpleNamespace(alphas_cumprod=alphas), predictor=None, sigma_min=0.03, sigma_max=14.6
        )

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
        self.levels.append(float(sigma.max()))
        return x * 0.5


HOW = {
    "as set": ({}, Stochastic()),
    "less eta": ({"eta": 0.3}, Stochastic(eta=0.3)),
    "no eta": ({"eta": 0.0}, Stochastic(eta=0.0)),
    "churn": ({"s_churn": 3.0, "s_tmin": 0.1, "s_tmax": 8.0}, Stochastic(churn=3.0, lowest=0.1, highest=8.0)),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 19, 30])
def test_samplers_call_at_the_levels_that_are_known_of_them(
    host: Host, monkeypatch: pytest.MonkeyPatch, how: str, steps: int
) -> None:
    """Every sampler of the host, its own function over the host's own levels, from the top and to a level above 0."""
    load_model(host)
    import k_diffusion.sampling
    from modules import sd_samplers, sd_samplers_kdiffusion, shared

    monkeypatch.setattr(k_diffusion.sampling, "torch", torch)  # not the one that draws from the last request's seeds

    alphas = the_host().noise().alphas_cumprod
    told = 0
    for data in sd_samplers.all_samplers:
        sampler = data.constructor(shared.sd_model)
        parameters = inspect.signature(sampler.func).parameters
        given, wanted = HOW[how]
        # As `Sampler.initialize` hands them on: what makes noise on the way to the samplers of the host's table alone.
        taken = ["eta", *sd_samplers_kdiffusion.sampler_extra_params.get(sampler.func.__name__, [])]
        arguments = {name: value for name, value in given.items() if name in parameters and name in taken}
        for levels in levels_of(data.name, steps):
            expected = call_levels(data.name, levels, wanted)
            if expected is None or (data.name == "UniPC" and steps < shared.opts.uni_pc_order):
                continue
            if steps == 1 and ("M SDE" in data.name or data.name == "DPM fast"):
                continue  # k-diffusion's own functions fail at a single step
            model = Recorded(alphas)
            run(sampler, model, levels, arguments, parameters)
            assert len(model.levels) == len(expected), (data.name, levels)
            if data.name != "DPM fast":
                assert sorted(model.levels) == pytest.approx(sorted(expected), rel=1e-4, abs=0.01), (data.name, levels)
            told += 1
    assert told >= (20 if steps > 1 else 12)


def levels_of(name: str, steps: int) -> list[tuple[float, ...]]:
    from extension_core.hosts.common.plan.levels import Reading, host_levels, sampler_unit, unipc_levels

    p = SimpleNamespace(scheduler="Automatic", is_hr_pass=False, sampler_noise_scheduler_override=None)
    noise = the_host().noise()
    if name == "UniPC":
        return [unipc_levels(noise, steps, None)]
    levels = host_levels(noise, Reading(p), name, steps)
    return [levels, levels[:-1]] if steps > 1 and sampler_unit(name) == "sigma" else [levels]


def run(sampler: Any, model: Recorded, levels: tuple[float, ...], arguments: dict[str, Any], parameters: Any) -> None:
    x = torch.ones(1, 4, 2, 2)
    ours = {"extra_args": {}, "callback": lambda _state: None, "disable": True, **arguments}
    if "sigmas" in parameters:
        ours["sigmas"] = torch.tensor(levels)
    elif "timesteps" in parameters:
        ours["timesteps"] = torch.tensor([round(t) for t in reversed(levels)])
        if "is_img2img" in parameters:
            ours["timesteps"] = ours["timesteps"][: len(levels) - 1]
    else:
        ours |= {"sigma_max": levels[0], "sigma_min": next(x for x in reversed(levels) if x > 0), "n": len(levels) - 1}
        ours = {name: value for name, value in ours.items() if name in parameters}
    if "noise_sampler" in parameters:
        ours["noise_sampler"] = lambda *_levels: torch.zeros_like(x)
    sampler.func(model, x, **ours)


def test_a_question_that_a_change_of_checkpoint_came_into_is_asked_again(host: Host) -> None:
    """Whether it failed by that or not; what fails without one is its asker's."""
    load_model(host)
    from modules import sd_models

    from extension_core.hosts.common.files.loaded_checkpoint import of_one_checkpoint

    model, seen = sd_models.model_data.sd_model, []

    def ask() -> str:
        seen.append(sd_models.model_data.sd_model)
        if len(seen) == 1:
            sd_models.model_data.sd_model = None
        if len(seen) == 2:
            sd_models.model_data.sd_model = model
            return "before it was there"
        return sd_models.model_data.sd_model.sd_checkpoint_info.name

    try:
        assert of_one_checkpoint(ask) == model.sd_checkpoint_info.name
    finally:
        sd_models.model_data.sd_model = model
    assert seen == [model, None, model]

    asked = []

    def fail() -> None:
        asked.append(True)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        of_one_checkpoint(fail)
    assert len(asked) == 1
