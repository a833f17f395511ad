"""What is recorded of a generation: which calls are frames, at which levels, and that nothing else changes."""

from __future__ import annotations

import contextlib
import inspect
import secrets
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from extension_core.trajectory.store import Generation, State
from tests.embedded.conftest import FLAVOUR, Answer, Host

On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]
# Samplers whose last call is not the image: multistep to the end, extrapolated, or ending above noise level 0.
LAST_IS_NOT_THE_IMAGE = ("LMS", "LMS Karras", "IPNDM", "IPNDM_V", "UniPC", "PLMS", "DDIM", "DDIM CFG++", "DPM fast",
                         "DPM adaptive")  # fmt: skip


@dataclass
class Recorded:
    answer: Answer
    generation: Generation
    latents: list[torch.Tensor]

    @property
    def frames(self) -> list[Any]:
        return [frame.info for frame in self.generation.recorder.frames()]

    def values(self, number: int, kind: Any = "guided") -> torch.Tensor:
        frame = self.generation.recorder.frame(number)
        assert frame is not None
        return frame.latents(kind)


class Ours:
    """Requests with the extension's hooks in the recorder extension's."""

    def __init__(self, host: Host, on: On, adapter: Any) -> None:
        self.host, self.on, self.adapter = host, on, adapter
        self.args: dict[str, Any] = {}
        self.latents: list[torch.Tensor] = []
        on("before_process")(lambda p, *_: adapter.before(p, self._given()))
        on("process")(self._process)
        on("process_batch")(lambda p, *_a, **_k: adapter.before_batch(p))
        on("postprocess_image_after_composite")(lambda p, *_a, **_k: adapter.image_finished(p))
        on("process_before_every_sampling")(lambda p, *_a, **_k: adapter.before_sampling(p))
        on("postprocess")(lambda p, processed, *_: adapter.after(p, processed))

    def _process(self, p: Any, *_: Any) -> None:
        sample = p.sample

        def kept(*args: Any, **kwargs: Any) -> Any:
            samples = sample(*args, **kwargs)
            if isinstance(samples, torch.Tensor):  # the hires pass decodes by itself
                self.latents.append(samples.detach().clone())
            return samples

        p.sample = kept
        self.adapter.begin(p, self._given())

    def _given(self) -> list[Any]:
        return [self.args] if self.args else []

    def run(self, call: Callable[..., Answer], *image: Any, dt: Any = None, dd: Any = None, **request: Any) -> Recorded:
        identifier = secrets.token_urlsafe(24)
        self.args = {"enabled": False, **(dd or {}), "dt": {"id": identifier, **(dt or {})}}
        self.latents.clear()
        answer = call(*image, **request)
        return Recorded(answer, self.found(identifier), list(self.latents))

    def txt2img(self, **request: Any) -> Recorded:
        return self.run(self.host.txt2img, **request)

    def plain(self, **request: Any) -> Answer:
        self.args = {}
        return self.host.txt2img(**request)

    def found(self, identifier: str) -> Generation:
        from extension_core.hosts.common.preview.recorded import STORE

        generation = STORE.find(identifier, "")
        assert generation is not None
        return generation


@pytest.fixture
def ours(host: Host, on: On) -> Ours:
    from extension_core.hosts import choose
    from extension_core.hosts.common.preview import decoders

    chosen: Any = choose.choose()
    decoders.DECODERS.use(chosen.host.decoding)
    made = Ours(host, on, chosen)
    made.plain(steps=1)
    return made


def test_frames_of_a_plain_generation(ours: Ours) -> None:
    plain = ours.plain()
    recorded = ours.txt2img()
    assert recorded.answer.equals(plain)
    assert recorded.generation.state is State.DONE
    assert [frame.tag.position.step for frame in recorded.frames] == [0, 1, 2, 3]
    assert {frame.tag.position.steps for frame in recorded.frames} == {4}
    sigmas = [frame.tag.position.sigma for frame in recorded.frames]
    assert sigmas == sorted(sigmas, reverse=True)
    assert sigmas[0] == pytest.approx(14.6146, rel=1e-3)
    assert recorded.frames[0].tag.position.timestep == pytest.approx(999, abs=0.5)
    assert [(frame.tag.cfg, frame.tag.phase, frame.tag.model) for frame in recorded.frames] == [(5.0, "", "base")] * 4
    assert [frame.kinds for frame in recorded.frames] == [("guided", "cond", "uncond")] * 4
    assert torch.equal(recorded.values(3), recorded.latents[0])


@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_guidance_is_between_the_two_predictions(ours: Ours, cfg: float) -> None:
    recorded = ours.txt2img(cfg_scale=cfg)
    for info in recorded.frames:
        guided, cond = (recorded.values(info.number, kind) for kind in ("guided", "cond"))
        if "uncond" in info.kinds:
            uncond = recorded.values(info.number, "uncond")
            assert torch.allclose(guided, uncond + cfg * (cond - uncond), rtol=1e-4, atol=1e-5)
        else:
            assert torch.allclose(guided, cond, rtol=1e-4, atol=1e-5)
        assert ("uncond" in info.kinds) == (cfg != 1.0 or FLAVOUR == "a1111")


def levels(recorded: Recorded) -> list[float]:
    return [frame.tag.position.sigma for frame in recorded.frames]


def test_every_sampler_shows_one_frame_a_step(ours: Ours) -> None:
    """In order of noise, the last one the image wherever the sampler ends with a prediction; nothing changes."""
    from modules import sd_samplers

    for sampler in sd_samplers.all_samplers:
        name, steps = sampler.name, 6
        plain = ours.plain(sampler_name=name, steps=steps)
        recorded = ours.txt2img(sampler_name=name, steps=steps)
        assert recorded.answer.equals(plain), name
        assert not recorded.generation.update().missing, name
        if name not in ("Restart", "DPM adaptive"):
            assert levels(recorded) == sorted(levels(recorded), reverse=True), name
        if name == "DPM fast":
            assert len(recorded.frames) == steps // 3 + 1, name
        elif name == "DPM adaptive":
            assert len(recorded.frames) >= 3, name
            assert len(set(levels(recorded))) == len(recorded.frames), name
        elif name == "Restart":
            assert len(recorded.frames) >= steps, name
        else:
            made = steps + 1 if name == "UniPC" else steps  # the host gives it one timestep more than it asks for
            assert len(recorded.frames) == made, (name, levels(recorded))
            assert len(set(levels(recorded))) == made, name
        last = recorded.values(recorded.frames[-1].number)
        if name not in LAST_IS_NOT_THE_IMAGE:
            assert torch.allclose(last, recorded.latents[0], rtol=1e-5, atol=1e-6), name
        else:
            assert torch.isfinite(last).all(), name


def test_a_mask_is_in_the_frames(ours: Ours) -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3))
    mask = np.zeros((64, 64, 3))
    mask[:, 32:] = 255
    from tests.embedded.conftest import png_base64

    for sampler in ("Euler", "Euler a", "DDIM"):
        request = {"mask": png_base64(mask), "inpainting_fill": 1, "mask_blur": 0, "sampler_name": sampler}
        recorded = ours.run(ours.host.img2img, image, **request)
        assert recorded.answer.status == 200
        assert {frame.tag.section.title for frame in recorded.frames} == {"img2img"}
        first, last = (recorded.values(recorded.frames[at].number) for at in (0, -1))
        assert torch.allclose(first[..., :4], last[..., :4], rtol=1e-3, atol=1e-3), sampler
        assert not torch.allclose(first[..., 4:], last[..., 4:], rtol=1e-3, atol=1e-3), sampler


def test_sections_of_batches_and_the_hires_pass(ours: Ours) -> None:
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7}
    hires |= {"hr_additional_modules": ["Use same choices"], "hr_cfg": 5} if FLAVOUR == "forge" else {}
    recorded = ours.txt2img(n_iter=2, batch_size=2, **hires)
    titles = list(dict.fromkeys(frame.tag.section.title for frame in recorded.frames))
    assert titles == [f"{name}, batch {batch} of 2" for batch in (1, 2) for name in ("first pass", "hires pass")]
    assert {frame.images for frame in recorded.frames} == {2}
    steps = [frame.tag.position.step for frame in recorded.frames]
    assert steps.count(0) == 4
    shapes = [tuple(recorded.values(frame.number).shape) for frame in recorded.frames]
    assert set(shapes) == {(2, 4, 8, 8), (2, 4, 16, 16)}
    last = recorded.values(recorded.frames[-1].number)
    assert torch.equal(decoded(last), torch.from_numpy(recorded.answer.images[2]))


def test_long_runs_can_be_thinned(ours: Ours) -> None:
    kept = [frame.tag.position.step for frame in ours.txt2img(steps=20, dt={"every": 6}).frames]
    assert kept == [0, 6, 12, 18, 19]
    at = ours.txt2img(steps=20, dt={"timesteps": [800, 400]})
    assert [round(frame.tag.position.timestep) for frame in at.frames] == [999, 789, 368, 0]


@pytest.mark.parametrize("base_sampler", ["same", "DDIM"])
def test_two_models(ours: Ours, base_sampler: str) -> None:
    dd = {"enabled": True, "distilled_model": "second", "family": "lcm", "switch_step": 2, "base_cfg": 4}
    dd |= {"base_sampler": base_sampler, "base_steps": 3}
    recorded = ours.txt2img(dd=dd)
    assert recorded.answer.status == 200, recorded.answer.body
    tags = [frame.tag for frame in recorded.frames]
    made = [("base", "base", 4.0)] * 3 + [("distilled", "second", 1.0)] * 2
    assert [(tag.phase, tag.model, tag.cfg) for tag in tags] == made
    assert [frame.switched for frame in recorded.frames] == [False, False, False, True, False]
    assert levels(recorded) == sorted(levels(recorded), reverse=True)
    assert [tag.position.step for tag in tags] == [0, 1, 2, 3, 4]
    assert {tag.position.steps for tag in tags} == {5}
    assert torch.equal(recorded.values(4), recorded.latents[0])


def test_a_refusal_is_a_strip_that_says_why(ours: Ours) -> None:
    recorded = ours.txt2img(dd={"enabled": True, "distilled_model": "nowhere"})
    assert recorded.answer.status == 422
    assert recorded.generation.state is State.FAILED
    assert "nowhere" in recorded.generation.update().missing


def test_an_error_while_sampling(ours: Ours) -> None:
    from modules import sd_samplers_kdiffusion

    original = sd_samplers_kdiffusion.KDiffusionSampler.callback_state
    calls = []

    def broken(self: Any, state: Any) -> Any:
        calls.append(state["i"])
        if len(calls) == 3:
            raise RuntimeError("made up")
        return original(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sd_samplers_kdiffusion.KDiffusionSampler, "callback_state", broken)
        recorded = ours.txt2img()
    assert recorded.answer.status == 500
    assert recorded.generation.state is State.FAILED
    assert recorded.generation.update().missing == "The generation failed: made up."
    assert len(recorded.frames) == 3


def test_an_interrupted_generation_keeps_what_it_has(ours: Ours, on: On) -> None:
    from modules import shared

    seen = []

    @on("cfg_after_cfg")
    def interrupt(_params: Any) -> None:
        seen.append(1)
        if len(seen) == 2:
            shared.state.interrupted = True

    recorded = ours.txt2img()
    assert recorded.answer.status == 200
    assert recorded.generation.state is State.INTERRUPTED
    assert len(recorded.frames) == 2
    assert recorded.generation.update().missing == "Interrupted."


def test_recording_that_breaks_costs_no_image(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    from extension_core.hosts.common.preview import recording

    plain = ours.plain()

    def broken(*_: Any) -> Any:
        raise RuntimeError("made up")

    monkeypatch.setattr(recording, "Tag", broken)
    recorded = ours.txt2img()
    assert recorded.answer.equals(plain)
    assert recorded.generation.update().missing == "Recording ended: made up."


def test_a_sampler_put_in_our_place_is_told(ours: Ours, on: On) -> None:
    @on("process_before_every_sampling")
    def replaced(p: Any, *_: Any, **__: Any) -> None:
        ours.adapter.before_sampling(p)
        wrapped = p.sampler.model_wrap_cfg
        del wrapped.forward

    recorded = ours.txt2img()
    assert recorded.answer.status == 200
    assert "another extension" in recorded.generation.update().missing


def stopping_at(ours: Ours, on: On, step: int, number: int | None, **request: Any) -> Recorded:
    """Somebody asks while the step with this index, counted over all passes, is computed."""
    from extension_core.hosts.common.preview import recorded as kept

    calls = []

    @on("cfg_after_cfg")
    def ask(_params: Any) -> None:
        if len(calls) == step:
            identifier = ours.args["dt"]["id"]
            generation = kept.STORE.find(identifier, "")
            assert generation is not None
            kept.about(generation).stop.ask(number)
        calls.append(1)

    recorded = ours.txt2img(**request)
    assert recorded.answer.status == 200, recorded.answer.body
    assert recorded.generation.state is State.DONE
    del ours.host.recorder.actions["cfg_after_cfg"]
    return recorded


@pytest.mark.parametrize("sampler", ["Euler", "LCM", "DDIM", "Heun", "DPM++ 2M"])
def test_stop_here_keeps_the_newest_frame(ours: Ours, on: On, sampler: str) -> None:
    recorded = stopping_at(ours, on, 2, None, sampler_name=sampler, steps=6)
    newest = recorded.frames[-1]
    assert len(recorded.frames) < 6
    assert len(recorded.answer.images) == 1
    assert f'DD stopped at: "first pass step {newest.tag.position.step + 1} of 6' in recorded.answer.infotext
    exact = recorded.values(newest.number)
    assert torch.equal(decoded(exact), torch.from_numpy(recorded.answer.images[0]))


def decoded(latents: torch.Tensor) -> torch.Tensor:
    """As the host makes pictures of what it sampled: [h, w, 3] uint8 of the first."""
    from modules import devices, processing, shared

    with torch.no_grad():
        x = processing.decode_latent_batch(shared.sd_model, latents.float(), target_device=devices.cpu)[0].float()
    x = torch.clamp((x + 1.0) / 2.0, min=0.0, max=1.0)
    return torch.from_numpy((255.0 * x.permute(1, 2, 0).numpy()).astype(np.uint8))


def test_stop_here_with_an_earlier_frame(ours: Ours, on: On) -> None:
    recorded = stopping_at(ours, on, 4, 1, steps=8)
    assert torch.equal(decoded(recorded.values(1)), torch.from_numpy(recorded.answer.images[0]))
    assert "step 2 of 8" in recorded.answer.infotext


def test_stop_here_while_the_base_has_its_turn_tells_no_switch(ours: Ours, on: On) -> None:
    dd = {**HYBRID, "family": "custom", "switch_step": 5}
    early = stopping_at(ours, on, 2, None, steps=8, dd=dd).answer.infotext
    assert "DD switch: sigma" not in early
    assert "DD ended: stopped before the switch" in early
    assert 'DD U-Net calls: "base 3, distilled 0"' in early
    late = stopping_at(ours, on, 6, None, steps=8, dd=dd).answer.infotext
    assert "DD switch: sigma" in late
    assert "DD ended" not in late
    back = stopping_at(ours, on, 6, 1, steps=8, dd=dd).answer.infotext
    assert "step 2 of 8" in back
    assert "DD ended: stopped before the switch" in back, "the image is one of the base's frames"
    assert 'DD U-Net calls: "base 5, distilled 2"' in back


def test_stop_here_leaves_out_the_hires_pass_and_the_other_batches(ours: Ours, on: On) -> None:
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7, "n_iter": 3}
    hires |= {"hr_additional_modules": ["Use same choices"], "hr_cfg": 5} if FLAVOUR == "forge" else {}
    recorded = stopping_at(ours, on, 1, None, **hires)
    assert [image.shape for image in recorded.answer.images] == [(64, 64, 3)]
    in_hires = stopping_at(ours, on, 5, None, **hires)
    assert [image.shape for image in in_hires.answer.images] == [(128, 128, 3)]
    assert "hires pass step" in in_hires.answer.infotext
    back = stopping_at(ours, on, 5, 2, **hires)
    assert [image.shape for image in back.answer.images] == [(64, 64, 3)]
    assert "first pass step 3" in back.answer.infotext
    assert len(ours.plain(n_iter=2).images) == 2, "the next request is not stopped"


def test_stop_here_in_a_later_batch_keeps_the_earlier_ones(ours: Ours, on: On) -> None:
    recorded = stopping_at(ours, on, 5, None, n_iter=3)
    first, second = recorded.answer.images
    assert np.array_equal(first, ours.plain().images[0])
    assert not np.array_equal(second, ours.plain(seed=2).images[0])


HYBRID = {"enabled": True, "distilled_model": "second", "family": "lcm", "switch_step": 1}


def group_of(recorded: Recorded) -> list[Generation]:
    from extension_core.hosts.common.preview import recorded as kept

    group = kept.about(recorded.generation).group
    assert group
    found = [entry.generation for entry in kept.STORE._entries.values()]
    return [generation for generation in found if kept.about(generation).group == group]


def test_compare_makes_the_same_seeds_by_each_model_alone(ours: Ours) -> None:
    from extension_core.hosts.common.preview.recorded import about

    request = {"seed": -1, "batch_size": 2, "sampler_name": "Euler a"}
    compared = ours.txt2img(dd=HYBRID, dt={"compare": True}, **request)
    assert compared.answer.status == 200, compared.answer.body
    assert [about(generation).role for generation in group_of(compared)] == ["base", "distilled", "hybrid"]
    assert len(compared.answer.images) == 6
    seed = compared.answer.info["all_seeds"][0]
    alone = ours.txt2img(dd=HYBRID, **{**request, "seed": seed})
    assert all(np.array_equal(a, b) for a, b in zip(compared.answer.images[:2], alone.answer.images, strict=True))
    base = ours.plain(**{**request, "seed": seed, "steps": 20})
    assert all(np.array_equal(a, b) for a, b in zip(compared.answer.images[2:4], base.images, strict=True))
    distilled = ours.txt2img(dd={**HYBRID, "mode": "distilled"}, **{**request, "seed": seed})
    assert all(np.array_equal(a, b) for a, b in zip(compared.answer.images[4:], distilled.answer.images, strict=True))
    phases = [{frame.info.tag.phase for frame in x.recorder.frames()} for x in group_of(compared)]
    assert phases == [{"base"}, {"distilled"}, {"base", "distilled"}]
    texts = compared.answer.info["infotexts"]
    assert ["DD mode: distilled" in text for text in texts] == [False] * 4 + [True] * 2
    assert ["DD plan" in text for text in texts] == [True, True, False, False, True, True]


def test_compare_that_is_interrupted_keeps_what_was_made(ours: Ours, on: On) -> None:
    from modules import shared

    calls = []

    @on("cfg_after_cfg")
    def interrupt(_params: Any) -> None:
        calls.append(1)
        if len(calls) == 22:
            shared.state.interrupted = True

    compared = ours.txt2img(dd=HYBRID, dt={"compare": True})
    assert compared.answer.status == 200, compared.answer.body
    del ours.host.recorder.actions["cfg_after_cfg"]
    assert [x.state for x in group_of(compared)] == [State.DONE, State.INTERRUPTED, State.INTERRUPTED]
    assert np.array_equal(compared.answer.images[-2], ours.plain(steps=20).images[0])


def test_compare_wants_two_models(ours: Ours) -> None:
    refused = ours.txt2img(dt={"compare": True})
    assert refused.answer.status == 422
    assert "tick Diversity Distillation" in str(refused.answer.body)


def test_a_click_on_compare_counts_once(ours: Ours) -> None:
    key = secrets.token_urlsafe(24)
    page = {"page": f"{key} compare {secrets.token_hex(8)}"}
    assert len(ours.txt2img(dd=HYBRID, dt=page).answer.images) == 4, "with the sheet of all three"
    assert len(ours.txt2img(dd=HYBRID, dt=page).answer.images) == 1


def test_a_request_within_a_request_is_shown_beside_it(ours: Ours, on: On) -> None:
    """As ADetailer makes them: another processing object with the same script arguments, before the image is done."""
    from extension_core.hosts.common.preview.recorded import STORE, about

    key, nested = secrets.token_urlsafe(24), []

    @on("postprocess_image")
    def detail(p: Any, *_: Any) -> None:
        if not nested:
            nested.append(True)
            from modules import processing

            ours.args = {**ours.args, "dt": {"page": key}}
            inner = processing.StableDiffusionProcessingTxt2Img(
                prompt="a red cat", width=64, height=64, seed=3, cfg_scale=5,
                do_not_save_samples=True, do_not_save_grid=True,
            )  # fmt: skip
            inner.scripts, inner.script_args = p.scripts, p.script_args
            inner.sampler_name, inner.steps = "Euler", 2  # the host's own script has just put in the page's
            processing.process_images(inner)

    recorded = ours.txt2img(dt={"page": key})
    assert recorded.answer.status == 200, recorded.answer.body
    outer, inner = STORE.under(key, "")
    assert outer is recorded.generation
    assert about(outer).group == about(inner).group != ""
    assert [len(x.recorder.frames()) for x in (outer, inner)] == [4, 2]
    later = ours.txt2img(dt={"page": key})
    assert about(later.generation).group == ""


def test_many_runs_of_one_object_stack_nothing_up(ours: Ours, on: On) -> None:
    """A script that processes one object again and again, as Loopback does."""
    depths: list[int] = []

    @on("cfg_denoiser")
    def look(_params: Any) -> None:
        depths.append(sum("/hosts/common/" in frame.filename for frame in inspect.stack(0)))

    def again(p: Any, _text: str) -> None:
        from modules import processing

        for _ in range(5):
            processing.process_images(p)

    on("run")(again)
    for dd in ({}, HYBRID):
        depths.clear()
        ours.txt2img(dd=dd, script_name="Selectable", script_args=["x"], steps=1)
        assert len(depths) >= 6
        assert len(set(depths)) == 1, dd


def test_a_copy_that_fails_where_nobody_looks_is_ended(ours: Ours, on: On, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a plot's cells may: the plot prints what they raise, and nobody closes them."""
    from modules import processing

    from extension_core.hosts.common.preview.recorded import STORE

    key, states = secrets.token_urlsafe(24), []

    def cells(p: Any, _text: str) -> None:
        ours.args = {**ours.args, "dt": {"page": key}}
        for broken in (True, False, True):
            with monkeypatch.context() as patch:
                if broken:
                    patch.setattr(processing, "decode_latent_batch", lambda *_a, **_k: 1 / 0)
                with contextlib.suppress(ZeroDivisionError):
                    processing.process_images(copy(p))
            states.append([generation.state for generation in STORE.under(key, "")])
        p.close()
        states.append([generation.state for generation in STORE.under(key, "")])

    on("run")(cells)
    on("setup")(lambda p, *_: ours.adapter.setup(p))
    ours.args = {"enabled": False, "dt": {"page": key}}
    assert ours.host.txt2img(script_name="Selectable", script_args=["x"]).status == 200
    running, done, failed = State.RUNNING, State.DONE, State.FAILED
    assert states == [[running], [failed, done], [failed, done, running], [failed, done, failed]]
