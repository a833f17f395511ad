"""The Forge flavour: what a request does with the model, hook by hook and step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from tests.embedded.conftest import Host

pytestmark = pytest.mark.forge
On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]
HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.6}
SAME = {"hr_additional_modules": ["Use same choices"]}


@pytest.fixture
def engine(host: Host) -> Any:
    """The model, which the first picture loads."""
    from modules import shared

    host.txt2img(steps=1)
    host.recorder.events.clear()
    return shared.sd_model


@pytest.fixture
def rows(engine: Any) -> Iterator[list[int]]:
    """Rows of each call of the U-Net."""
    seen: list[int] = []
    unet = engine.forge_objects_original.unet.model.diffusion_model
    handle = unet.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[0]))
    yield seen
    handle.remove()


def test_cfg_1_leaves_the_unconditional_half_out_by_itself(host: Host, rows: list[int]) -> None:
    host.txt2img(cfg_scale=1)
    assert rows == [1] * 4
    assert all(args[0].text_uncond is None for args in host.seen("cfg_denoiser"))
    rows.clear()
    host.txt2img(cfg_scale=2)
    assert rows == [2] * 4


def test_a_patch_may_need_the_unconditional_half(host: Host, on: On, rows: list[int]) -> None:
    @on("process_before_every_sampling")
    def patch(p: Any, *_: Any) -> None:
        unet = p.sd_model.forge_objects.unet.clone()
        unet.set_model_sampler_post_cfg_function(lambda args: args["denoised"], disable_cfg1_optimization=True)
        p.sd_model.forge_objects.unet = unet
        p.uc = p.c  # CFG 1 has not read the negative prompt

    host.txt2img(cfg_scale=1.0)
    assert rows == [1] * 4
    rows.clear()

    @on("cfg_denoiser")
    def give(params: Any) -> None:
        params.text_uncond = params.text_cond

    host.txt2img(cfg_scale=1.0)
    assert rows == [2] * 4


def test_what_a_request_patches_is_gone_with_it(host: Host, on: On, engine: Any) -> None:
    plain = host.txt2img()

    @on("process_before_every_sampling")
    def patch(p: Any, *_: Any) -> None:
        unet = p.sd_model.forge_objects.unet.clone()
        unet.set_model_output_block_patch(lambda h, skip, options: (h * 1.5, skip))
        p.sd_model.forge_objects.unet = unet

    patched = host.txt2img()
    host.recorder.actions.clear()
    assert not patched.equals(plain)
    assert host.txt2img().equals(plain)


def test_patches_from_process_are_lost_before_sampling(host: Host, on: On, engine: Any) -> None:
    """`forge_objects` is copied afresh for each batch and before each sampling."""
    plain = host.txt2img()

    def patch(p: Any, *_: Any) -> None:
        unet = p.sd_model.forge_objects.unet.clone()
        unet.set_model_output_block_patch(lambda h, skip, options: (h * 1.5, skip))
        p.sd_model.forge_objects.unet = unet

    for hook in ("process", "before_process_batch", "process_batch"):
        on(hook)(patch)
        assert host.txt2img().equals(plain), hook


def test_the_unet_is_looked_up_at_every_step(host: Host, on: On, engine: Any) -> None:
    plain, seen = host.txt2img(), []

    @on("cfg_denoiser")
    def exchange(params: Any) -> None:
        if params.denoiser.step == 2:
            unet = engine.forge_objects.unet.clone()
            unet.set_model_unet_function_wrapper(
                lambda apply, args: seen.append(args) or apply(args["input"], args["timestep"], **args["c"])
            )
            engine.forge_objects.unet = unet

    assert host.txt2img().equals(plain)
    assert len(seen) == 2
    assert seen[0]["cond_or_uncond"] == [1, 0]


def test_a_conditioning_modifier_changes_model_and_cfg(host: Host, on: On, rows: list[int]) -> None:
    scales = []

    def modifier(model: Any, x: Any, t: Any, uncond: Any, cond: Any, scale: float, options: Any, seed: int) -> Any:
        scales.append(scale)
        return model, x, t, uncond, cond, 1.0, options, seed

    @on("process_before_every_sampling")
    def patch(p: Any, *_: Any) -> None:
        unet = p.sd_model.forge_objects.unet.clone()
        unet.add_conditioning_modifier(modifier)
        p.sd_model.forge_objects.unet = unet

    host.txt2img(cfg_scale=5)
    assert scales == [5.0] * 4
    assert rows == [1] * 4


def test_the_hires_pass_calls_its_hook_twice_and_resets_between(host: Host, on: On, engine: Any) -> None:
    calls: list[tuple[bool, bool]] = []

    @on("process_before_every_sampling")
    def patch(p: Any, *_: Any) -> None:
        unet = p.sd_model.forge_objects.unet
        calls.append((p.is_hr_pass, "marked" in unet.model_options))
        p.sd_model.forge_objects.unet = marked = unet.clone()
        marked.model_options["marked"] = True

    assert host.txt2img(**HIRES, **SAME).status == 200
    # The first call of the hires pass still finds what the first pass was patched with.
    assert calls == [(False, False), (True, True), (True, False)]


def test_the_hires_pass_has_a_cfg_of_its_own_which_is_1_over_the_api(host: Host, rows: list[int]) -> None:
    assert host.txt2img(**HIRES, **SAME, cfg_scale=5).status == 200
    assert rows == [2] * 4 + [1] * 4
    rows.clear()
    assert host.txt2img(**HIRES, **SAME, cfg_scale=1, hr_cfg=3).status == 200
    assert rows == [1] * 4 + [2] * 4


def test_hires_over_the_api_needs_its_modules(host: Host, engine: Any) -> None:
    assert host.txt2img(**HIRES).status == 500


def test_the_refiner_rebuilds_everything_and_loses_patches(host: Host, on: On, engine: Any) -> None:
    patched: list[torch.Tensor] = []

    def count(h: torch.Tensor, skip: torch.Tensor, options: Any) -> Any:
        patched.append(h)
        return h, skip

    @on("process_before_every_sampling")
    def patch(p: Any, *_: Any) -> None:
        unet = p.sd_model.forge_objects.unet.clone()
        unet.set_model_output_block_patch(count)
        p.sd_model.forge_objects.unet = unet

    refined = host.txt2img(refiner_checkpoint="second", refiner_switch_at=0.5)
    blocks = len(engine.forge_objects.unet.model.diffusion_model.output_blocks)
    assert len(patched) == 2 * blocks
    assert len(host.seen("model_loaded")) == 1
    host.recorder.actions.clear()
    assert host.txt2img(refiner_checkpoint="second", refiner_switch_at=0.5).equals(refined)
    assert len(host.seen("model_loaded")) == 3, "the base is loaded again for each request, and the refiner in it"


def test_zero_terminal_snr_is_put_on_for_sampling_alone(host: Host, on: On, engine: Any) -> None:
    predictor = engine.forge_objects.unet.model.predictor
    before, within = predictor.sigmas.clone(), []
    on("cfg_denoiser")(lambda params: within.append(predictor.sigmas[-1].item()))
    assert host.txt2img(override_settings={"sd_noise_schedule": "Zero Terminal SNR"}).status == 200
    assert min(within) > 4000
    assert torch.equal(predictor.sigmas, before)


def test_another_checkpoint_over_the_settings_comes_with_the_next_picture(host: Host, engine: Any) -> None:
    first = host.txt2img()
    assert host.post("options", sd_model_checkpoint="second").status == 200
    assert not host.seen("model_loaded")
    second = host.txt2img()
    assert len(host.seen("model_loaded")) == 1
    assert not second.equals(first)
    assert host.post("options", sd_model_checkpoint="no such file").status == 500


def test_the_stored_type_of_the_unet_is_chosen_in_the_settings(host: Host, engine: Any) -> None:
    from modules import shared

    plain = host.txt2img()
    low = {"forge_unet_storage_dtype": "float8-e4m3fn"}
    host.post("options", **low)
    from modules_forge import main_entry

    main_entry.refresh_model_loading_parameters()
    packed = host.txt2img()
    assert shared.sd_model.forge_objects.unet.model.storage_dtype == torch.float8_e4m3fn
    assert "Diffusion in Low Bits: float8-e4m3fn" in packed.infotext
    assert not packed.equals(plain)
