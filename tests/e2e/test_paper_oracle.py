"""Hybrid latents against the paper's own procedure, written with diffusers' models and schedulers."""

from __future__ import annotations

import base64
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, create_unet_diffusers_config_from_ldm
from safetensors.torch import load, load_file, save_file

from tests.e2e.client import Pair, WebUI
from tests.matrices import marked_but

TRAINED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
TOLERANCE = 1e-4

Record = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def described(webui: WebUI) -> Pair:
    """An SD 1.x pair with a yaml beside each file, which diffusers' own conversion reads."""
    files = {Path(m["filename"]).stem: Path(m["filename"]) for m in webui.get("/sdapi/v1/sd-models")}
    described = {name for name, path in files.items() if "xl" not in name and takes_latents_alone(path)}
    bases = [name for name in described if name.endswith("_base")]
    found = sorted(name for name in bases if name.removesuffix("_base") + "_distilled" in described)
    assert found, "no SD 1.x pair of the host has a yaml beside it"
    return Pair(found[0], found[0].removesuffix("_base") + "_distilled", None, None)


def takes_latents_alone(path: Path) -> bool:
    """Whether a yaml beside the file says that its U-Net has the latent's 4 channels and no more."""
    config = path.with_suffix(".yaml")
    return config.is_file() and unet_of(yaml.safe_load(config.read_text()))["in_channels"] == 4


def unet_of(config: dict[str, Any]) -> dict[str, Any]:
    """The U-Net's part of ldm's configuration of a model."""
    return config["model"]["params"]["unet_config"]["params"]


def diffusers_unet(webui: WebUI, name: str) -> UNet2DConditionModel:
    """A checkpoint's U-Net in diffusers, by diffusers' own conversion of names and configuration."""
    path = next(Path(m["filename"]) for m in webui.get("/sdapi/v1/sd-models") if Path(m["filename"]).stem == name)
    original = yaml.safe_load(path.with_suffix(".yaml").read_text())
    unet_of(original).setdefault("legacy", False)
    tensors = {key: tensor.float() for key, tensor in load_file(path).items()}
    config = create_unet_diffusers_config_from_ldm(original, tensors, image_size=64)
    model = UNet2DConditionModel.from_config(config)
    model.load_state_dict(convert_ldm_unet_checkpoint(tensors, dict(model.config)))
    return model.eval()


@functools.cache
def both_unets(webui: WebUI, pair: Pair) -> tuple[UNet2DConditionModel, UNet2DConditionModel]:
    return diffusers_unet(webui, pair.base), diffusers_unet(webui, pair.distilled)


def record(webui: WebUI, pair: Pair, settings: dict[str, Any], **request: Any) -> Record:
    chosen = {"distilled_model": pair.distilled, **settings}
    webui.generate(pair.base, chosen, faults={"record": True}, **request).must_work()
    return load(base64.b64decode(webui.get("/dd-faults/record")["safetensors"]))


class _Noises:
    """Hands diffusers' schedulers the noises that the host drew, in order."""

    def __init__(self, recorded: Record) -> None:
        self.left = [recorded[f"noise.{i}"] for i in range(1, len(recorded)) if f"noise.{i}" in recorded]


@torch.no_grad()
def by_the_paper(
    scheduler: Any,
    models: tuple[UNet2DConditionModel, UNet2DConditionModel],
    recorded: Record,
    latents: torch.Tensor,
    k: int,
    skip: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The authors' loop (paper A): base U-Net for index < k, distilled for the rest, guidance off.

    Returns:
        The latents, and what the scheduler predicted them to be at each step.
    """
    predicted: list[torch.Tensor] = []
    noises = _Noises(recorded).left
    monkeypatch.setattr("diffusers.schedulers.scheduling_lcm.randn_tensor", lambda *_a, **_k: noises.pop(0))
    base, distilled = models
    for index, t in enumerate(scheduler.timesteps):
        if skip and index < k:
            if hasattr(scheduler, "_step_index") and scheduler.step_index is None:
                scheduler.set_begin_index(k)
            continue
        unet = base if index < k else distilled
        scaled = scheduler.scale_model_input(latents, t)
        eps = unet(scaled, t, encoder_hidden_states=recorded["cond"]).sample
        output = scheduler.step(eps, t, latents)
        latents = output.prev_sample
        predicted.append(output.get("denoised", output.get("pred_original_sample")))
    return latents, predicted


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


CASES = {
    "LCM": (LCMScheduler, {"original_inference_steps": 50}, {"family": "dmd2"}),
    "Euler": (
        EulerDiscreteScheduler,
        {"timestep_spacing": "trailing", "prediction_type": "epsilon"},
        {"family": "lightning"},
    ),
    "DDIM": (
        DDIMScheduler,
        {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": False},
        {"family": "hyper"},
    ),
}


@pytest.mark.parametrize("skip", [False, True], ids=["hybrid", "skip first"])
@pytest.mark.parametrize("k", marked_but([1], [1, 2, 3], pytest.mark.slow))
@pytest.mark.parametrize("name", CASES)
def test_latents_equal_the_paper_procedure_in_diffusers(
    webui: WebUI, described: Pair, name: str, k: int, skip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same weights, initial latent and noises; relative error at most 1e-4."""
    kind, extra, family = CASES[name]
    settings = {**family, "mode": "skip_first" if skip else "hybrid", "switch_step": k}
    recorded = record(webui, described, settings)
    scheduler = kind(**TRAINED, **extra)
    scheduler.set_timesteps(4)
    latents = initial(name, scheduler, recorded["noise.0"], skip, k)
    models = both_unets(webui, described)
    theirs, _ = by_the_paper(scheduler, models, recorded, latents, k, skip, monkeypatch)
    assert relative_error(recorded["latents"], theirs) <= TOLERANCE


def initial(name: str, scheduler: Any, noise: torch.Tensor, skip: bool, k: int) -> torch.Tensor:
    """The host's initial latent in the scheduler's scale.

    k-diffusion hosts start at noise * sigma_0 unless told otherwise; in a variance-preserving scale that is
    noise * sigma_0 / sqrt(1 + sigma_0^2). Skip first starts from unit noise at step k, as the authors' code does.
    """
    alphas = scheduler.alphas_cumprod
    start = scheduler.timesteps[k if skip else 0].long()
    sigma = ((1 - alphas[start]) / alphas[start]).sqrt()
    if name == "DDIM":
        return noise
    if skip:
        return noise if name == "LCM" else noise * (1 + sigma**2).sqrt()
    return noise * sigma / (1 + sigma**2).sqrt() if name == "LCM" else noise * sigma


@pytest.mark.parametrize(("name", "timestep"), [("dmd2", 399), ("hyper", 800)])
@torch.no_grad()
def test_one_step_files_run_as_they_were_trained(webui: WebUI, described: Pair, name: str, timestep: int) -> None:
    """From unit noise at their own timestep (DMD2's and Hyper-SD's model cards), told by the file's name alone."""
    files = {Path(m["filename"]).stem: Path(m["filename"]) for m in webui.get("/sdapi/v1/sd-models")}
    copy = files[described.distilled].with_name(f"dd_{name}_1step.safetensors")
    try:
        save_file(load_file(files[described.distilled]), copy)  # without metadata, which would tell the family first
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        recorded = record(webui, described, {"distilled_model": copy.stem, "mode": "distilled"}, steps=20)
    finally:
        copy.unlink(missing_ok=True)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
    _, unet = both_unets(webui, described)
    noise = recorded["noise.0"]
    eps = unet(noise, timestep, encoder_hidden_states=recorded["cond"]).sample
    theirs = _one_step(name, timestep, noise, eps)
    assert relative_error(recorded["latents"], theirs) <= TOLERANCE


def _one_step(name: str, timestep: int, noise: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    if name == "dmd2":
        scheduler = LCMScheduler(**TRAINED, original_inference_steps=50)
        scheduler.set_timesteps(timesteps=[timestep])
        return scheduler.step(eps, scheduler.timesteps[0], noise, return_dict=False)[0]
    alphas = DDIMScheduler(**TRAINED).alphas_cumprod
    x0 = (noise - (1 - alphas[timestep]).sqrt() * eps) / alphas[timestep].sqrt()
    return alphas[0].sqrt() * x0 + (1 - alphas[0]).sqrt() * eps
