"""Routes, their errors, pictures and infotexts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.embedded.conftest import Host, png_base64

pytestmark = pytest.mark.a1111


def _mask(box: slice = slice(16, 48)) -> np.ndarray:
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[box, box] = 255
    return mask


def test_the_same_request_gives_the_same_bytes(host: Host) -> None:
    assert host.txt2img().equals(host.txt2img())


def test_the_picture_carries_its_infotext(host: Host) -> None:
    answer = host.txt2img()
    info = host.post("png-info", image=answer.body["images"][0]).body
    assert info["info"] == answer.infotext
    assert info["parameters"]["Sampler"] == "Euler"
    assert info["parameters"]["Size-1"] == "64"
    assert answer.infotext.endswith("Version: v1.10.1")


def test_values_with_commas_and_colons_are_quoted(host: Host) -> None:
    from modules import infotext_utils

    assert infotext_utils.quote("a: b, c") == '"a: b, c"'
    assert infotext_utils.quote(0.5) == 0.5
    text = 'a cat\nSteps: 4, Sampler: Euler, Plan: "base 1 -> 2, then: 3", Size: 64x64'
    assert infotext_utils.parse_generation_parameters(text)["Plan"] == "base 1 -> 2, then: 3"


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        ({"refiner_checkpoint": "nix"}, 500, "Could not find checkpoint with name nix"),
        ({"enable_hr": True, "hr_upscaler": "nix"}, 500, "could not find upscaler named nix"),
        ({"enable_hr": True, "hr_upscaler": "Latent"}, 500, "not supported between instances"),
        ({"steps": 0}, 500, "division"),
    ],
)
def test_errors_have_one_shape(host: Host, request_: dict[str, object], status: int, error: str) -> None:
    answer = host.txt2img(**request_)
    assert answer.status == status
    assert set(answer.body) == {"error", "detail", "body", "errors"}
    assert error in answer.body["errors"]


def test_wrong_types_are_refused_before_anything_runs(host: Host) -> None:
    answer = host.txt2img(steps="many")
    assert answer.status == 422
    assert answer.body["detail"][0]["loc"] == ["body", "steps"]
    assert host.names() == []


def test_unknown_samplers_become_the_first_and_old_names_are_taken_apart(host: Host) -> None:
    assert "Sampler: DPM++ 2M, Schedule type: Karras" in host.txt2img(sampler_name="nix").infotext
    assert "Sampler: Euler, Schedule type: Karras" in host.txt2img(sampler_name="Euler Karras", scheduler=None).infotext


def test_img2img_needs_a_picture(host: Host) -> None:
    assert host.post("img2img").body["detail"] == "Init image not found"
    assert host.post("img2img", init_images=["x"]).body["detail"] == "Invalid encoded image"


def test_inpainting_leaves_the_rest_as_it_was(host: Host) -> None:
    start = host.txt2img().images[0]
    answer = host.img2img(start, mask=png_base64(_mask()), mask_blur=0, inpainting_fill=1, inpaint_full_res=False)
    changed = np.abs(answer.images[0].astype(int) - start.astype(int))
    assert changed[:16].max() == 0
    assert changed[16:48, 16:48].mean() > 1
    assert "Mask blur" not in answer.infotext


def test_inpainting_at_full_resolution_works_on_the_masked_box(host: Host) -> None:
    start = host.txt2img().images[0]
    mask = png_base64(_mask(slice(24, 40)))
    answer = host.img2img(start, mask=mask, inpaint_full_res=True, inpaint_full_res_padding=4, mask_blur=0)
    assert "Inpaint area: Only masked" in answer.infotext
    assert np.abs(answer.images[0].astype(int) - start.astype(int))[:16].max() == 0


@pytest.mark.parametrize(("mode", "size"), [(0, (96, 64)), (1, (96, 64)), (2, (96, 64)), (3, (96, 64))])
def test_resize_modes(host: Host, mode: int, size: tuple[int, int]) -> None:
    start = host.txt2img().images[0]
    answer = host.img2img(start, resize_mode=mode, width=size[0], height=size[1])
    assert answer.images[0].shape == (size[1], size[0], 3)


@pytest.mark.parametrize("upscaler", ["Latent", "Latent (nearest-exact)", "Lanczos", "None"])
def test_hires(host: Host, upscaler: str) -> None:
    answer = host.txt2img(enable_hr=True, hr_upscaler=upscaler, hr_scale=1.5, denoising_strength=0.5)
    assert answer.images[0].shape == (96, 96, 3)
    assert f"Hires upscaler: {upscaler}" in answer.infotext


def test_hires_to_a_size_crops_what_is_too_much(host: Host) -> None:
    answer = host.txt2img(enable_hr=True, hr_upscaler="Latent", hr_resize_x=96, hr_resize_y=128, denoising_strength=0.5)
    assert answer.images[0].shape == (128, 96, 3)


def test_a_batch_has_a_grid_only_where_it_is_saved(host: Host) -> None:
    assert len(host.txt2img(batch_size=2).images) == 2
    saved = host.txt2img(batch_size=2, save_images=True)
    assert len(saved.images) == 3
    assert saved.info["index_of_first_image"] == 1
    assert list((host.data / "outputs").rglob("*.png"))


def test_variation_seeds(host: Host) -> None:
    plain = host.txt2img()
    varied = host.txt2img(subseed=5, subseed_strength=0.3)
    assert not varied.equals(plain)
    assert "Variation seed: 5, Variation seed strength: 0.3" in varied.infotext
    assert host.txt2img(subseed=5, subseed_strength=0).equals(plain)


def test_an_infotext_fills_what_the_request_leaves_open(host: Host) -> None:
    made = host.txt2img(sampler_name="Heun", steps=3, seed=9)
    again = host.post("txt2img", infotext=made.infotext)
    assert again.equals(made)


def test_options_are_saved_and_checked(host: Host) -> None:
    assert host.post("options", samples_format="png", token_merging_ratio=0.0).status == 200
    assert json.loads((host.data / "config.json").read_text())["samples_format"] == "png"
    assert host.post("options", sd_model_checkpoint="nix").body["errors"] == "model 'nix' not found"
    assert host.get("options")["CLIP_stop_at_last_layers"] == 1


def test_lists(host: Host) -> None:
    assert [x["name"] for x in host.get("samplers")][:2] == ["DPM++ 2M", "DPM++ SDE"]
    assert len(host.get("samplers")) == 20
    assert [x["label"] for x in host.get("schedulers")][-1] == "Beta"
    assert {"base", "second", "other"} <= {x["model_name"] for x in host.get("sd-models")}
    assert [x["name"] for x in host.get("upscalers")] == ["None", "Lanczos", "Nearest"]
    assert [x["name"] for x in host.get("loras")] == ["tiny"]
    assert "recorder" in host.get("scripts")["txt2img"]


def test_script_info_names_the_arguments(host: Host) -> None:
    recorder = next(x for x in host.get("script-info") if x["name"] == "recorder")
    assert [x["label"] for x in recorder["args"]] == ["Recorder", "Number"]
    assert recorder["is_alwayson"]


def test_progress_when_idle(host: Host) -> None:
    host.txt2img(steps=1)
    progress = host.get("progress")
    assert progress["progress"] == 0
    assert progress["state"]["job_count"] == 0


def test_nans_are_an_error(host: Host) -> None:
    import torch
    from modules import shared

    host.txt2img(steps=1)
    bias = shared.sd_model.model.diffusion_model.out[2].bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias.fill_(float("nan"))
    answer = host.txt2img()
    with torch.no_grad():
        bias.copy_(kept)
    assert answer.status == 500
    assert answer.body["error"] == "NansException"
