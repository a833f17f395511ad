"""What samplers hand to the denoiser, what it computes, and when the native Refiner switches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.embedded.conftest import Host

pytestmark = pytest.mark.a1111
On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]


def _params(host: Host) -> list[Any]:
    return [args[0] for args in host.seen("cfg_denoiser")]


def test_the_unconditional_half_is_computed_at_cfg_1(host: Host) -> None:
    host.txt2img(cfg_scale=1)
    assert [args[0].x.shape[0] for args in host.seen("cfg_denoised")] == [2] * 4
    assert all(params.text_uncond is not None for params in _params(host))


def _unet_rows(host: Host, **request: Any) -> list[int]:
    from modules import shared

    rows: list[int] = []
    unet = shared.sd_model.model.diffusion_model
    handle = unet.register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[0]))
    try:
        assert host.txt2img(**request).status == 200
    finally:
        handle.remove()
    return rows


def test_two_settings_leave_it_out_and_say_so(host: Host) -> None:
    host.txt2img(steps=1)
    host.post("options", skip_early_cond=0.25)
    assert _unet_rows(host) == [1, 1, 2, 2]
    assert "Skip Early CFG: 0.25" in host.txt2img().infotext
    host.post("options", skip_early_cond=0.0)
    assert _unet_rows(host, s_min_uncond=100) == [2, 1, 2, 1]
    host.post("options", s_min_uncond_all=True)
    assert _unet_rows(host, s_min_uncond=100) == [1] * 4


def test_prompts_of_different_length_take_two_calls(host: Host) -> None:
    assert _unet_rows(host, negative_prompt="word " * 100) == [1, 1] * 4
    padded = {"pad_cond_uncond": True}
    assert _unet_rows(host, negative_prompt="word " * 100, override_settings=padded) == [2] * 4


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [
        ("Euler", 4),
        ("Heun", 7),
        ("DPM++ SDE", 7),
        ("DPM2", 7),
        ("DPM++ 2S a", 7),
        ("DPM++ 2M", 4),
        ("PLMS", 4),
        ("DDIM", 3),
        ("LCM", 4),
        ("UniPC", 4),
    ],
)
def test_calls_of_the_denoiser(host: Host, sampler: str, calls: int) -> None:
    """Second-order samplers call twice a step but the last; DDIM leaves the lowest timestep out."""
    host.txt2img(sampler_name=sampler)
    assert len(_params(host)) == calls
    assert _params(host)[-1].denoiser.step == calls


SWITCH_CALLS = [
    *[("Euler a", 5), ("DDIM", 5), ("UniPC", 5), ("DPM++ 2M", 6), ("PLMS", 6), ("Heun", 9)],
    *[("DPM++ SDE", 11), ("DPM2 a", 11), ("DPM++ 2S a", 11)],
]


@pytest.mark.parametrize(("sampler", "call"), SWITCH_CALLS)
def test_the_refiner_at_a_quarter_of_20_steps(host: Host, on: On, sampler: str, call: int) -> None:
    """As seen on the real host: the call, counted from 0, before which the second checkpoint is loaded."""
    from modules import shared

    switched: list[int] = []

    @on("cfg_denoiser")
    def look(params: Any) -> None:
        if shared.sd_model.sd_checkpoint_info.name_for_extra == "second":
            switched.append(params.denoiser.step)

    host.txt2img(sampler_name=sampler, steps=20, refiner_checkpoint="second", refiner_switch_at=0.25)
    assert switched[0] == call


def test_the_refiner_by_lcm_switches_before_the_base_has_run(host: Host) -> None:
    distilled = host.txt2img(sampler_name="LCM", override_settings={"sd_model_checkpoint": "second"})
    assert host.txt2img(sampler_name="LCM", refiner_checkpoint="second", refiner_switch_at=0.9).equals(distilled)


def test_after_the_refiner_the_base_is_back(host: Host) -> None:
    base = host.txt2img()
    refined = host.txt2img(refiner_checkpoint="second", refiner_switch_at=0.5)
    assert not refined.equals(base)
    assert "Refiner: second" in refined.infotext
    assert host.txt2img().equals(base)


def test_the_refiner_computes_conditioning_anew(host: Host) -> None:
    """With another text encoder, all steps on the second checkpoint equal that checkpoint by itself."""
    native = host.txt2img(override_settings={"sd_model_checkpoint": "other"})
    assert host.txt2img(refiner_checkpoint="other", refiner_switch_at=0.0).equals(native)


def test_interrupt_keeps_the_last_latent_and_ends_the_request(host: Host, on: On) -> None:
    from modules import shared

    @on("cfg_after_cfg")
    def stop(params: Any) -> None:
        if params.sampling_step == 1:
            shared.state.interrupt()

    answer = host.txt2img(steps=10, n_iter=3)
    assert answer.status == 200
    assert len(answer.images) == 1
    assert host.names().count("cfg_after_cfg") < 10


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M SDE", "LCM", "DDIM", "UniPC"])
def test_an_image_is_the_same_alone_and_in_a_batch(host: Host, sampler: str) -> None:
    both = host.txt2img(sampler_name=sampler, batch_size=2, do_not_save_grid=True)
    second = host.txt2img(sampler_name=sampler, seed=2)
    pictures = both.images[-2:]
    assert abs(pictures[1].astype(int) - second.images[0].astype(int)).max() <= 1
