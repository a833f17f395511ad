"""What steers a model: LoRAs while they are trained and as files, captions, and that training gets somewhere."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.mapping import inject_adapter_in_model
from peft.tuners.lora import LoraConfig
from safetensors.torch import load_file

from embedded.distill.control import CONTROLS, Trainer, captioned, file_name, train_lora, tune_base
from embedded.distill.export import EMBEDDED_PAIR
from embedded.distill.low_rank import UnetLora
from embedded.distill.recipe import ControlTraining, Recipe
from embedded.distill.sampling import ALPHAS
from embedded.monsters import from_labels, parse_prompt
from embedded.networks import LatentDiffusion, load_checkpoint

pytestmark = pytest.mark.once

QUICK = Recipe(
    control=ControlTraining(pictures=12, captions=2, batch=6, concept_updates=12, slider_updates=8, tune_updates=6)
)


@pytest.fixture(scope="module")
def base() -> LatentDiffusion:
    return load_checkpoint(EMBEDDED_PAIR / "monsters_base.safetensors")


def inputs(width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    context = torch.randn(2, 77, width, generator=generator)
    return torch.randn(2, 4, 16, 16, generator=generator), torch.tensor([700, 30]), context


def randomise(lora: UnetLora) -> None:
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for layer in lora.layers.values():
            layer.up.copy_(torch.randn(layer.up.shape, generator=generator) * 0.05)


def test_a_lora_adds_nothing_before_training_or_at_scale_0(base: LatentDiffusion) -> None:
    unet = copy.deepcopy(base.model.diffusion_model)
    given = inputs(unet.context_dim)
    before = unet(*given)
    lora = UnetLora(unet, 4, torch.Generator().manual_seed(1))
    assert torch.equal(unet(*given), before)
    randomise(lora)
    assert not torch.allclose(unet(*given), before, atol=1e-2)
    lora.set_scale(0.0)
    assert torch.equal(unet(*given), before)
    trained = {id(parameter) for parameter in unet.parameters() if parameter.requires_grad}
    assert trained == {id(parameter) for parameter in lora.parameters()}


def test_its_file_is_what_was_trained(base: LatentDiffusion, tmp_path: Path) -> None:
    """peft puts the file's matrices on an untouched U-Net; all of them find their layer."""
    unet = copy.deepcopy(base.model.diffusion_model)
    lora = UnetLora(unet, 4, torch.Generator().manual_seed(1))
    randomise(lora)
    tensors = load_file(lora.save(tmp_path / "some.safetensors", {}))
    other = copy.deepcopy(base.model.diffusion_model)
    targets = list(lora.layers)
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=4, target_modules=targets), other)
    for name in targets:
        key = "lora_unet_" + name.replace(".", "_")
        layer: Any = other.get_submodule(name)
        for side, factor in ((layer.lora_A, "lora_down"), (layer.lora_B, "lora_up")):
            weight = side["default"].weight
            weight.data.copy_(tensors.pop(f"{key}.{factor}.weight").float().view_as(weight))
        assert tensors.pop(f"{key}.alpha") == 4
    assert not tensors
    given = inputs(unet.context_dim)
    assert torch.allclose(other(*given), unet(*given), atol=2e-3)  # the file is in half precision


def test_captions_leave_unsaid_what_is_taught(base: LatentDiffusion) -> None:
    fixed, to, away = (
        from_labels({"colour": "purple"}),
        from_labels({"spots": "spotted"}),
        from_labels({"spots": "plain"}),
    )
    data = captioned(QUICK, base, fixed, {"plain": {}, "to": to, "away": away})
    assert data.latents.shape == (12, 4, 16, 16)
    assert 0.5 < data.latents.std() < 2
    words = base.cond_stage_model.tokenizer
    texts = {
        name: [words.decode(row, skip_special_tokens=True) for row in ids.flatten(0, 1)]
        for name, ids in data.tokens.items()
    }
    for plain, spotted, bare in zip(texts["plain"], texts["to"], texts["away"], strict=True):
        said = parse_prompt(plain)
        assert not said.keys() & {"colour", "spots"}
        assert parse_prompt(spotted) == {**said, **to}
        assert parse_prompt(bare) == {**said, **away}


@pytest.mark.parametrize("role", ["base", "distilled"])
def test_students_are_taught_at_their_own_timesteps(base: LatentDiffusion, role: str) -> None:
    trainer = Trainer(QUICK, role, captioned(QUICK, base, {}, {"plain": {}}), base)
    noisy, noise, timesteps, (context,) = trainer.batch(1, "plain")
    assert noisy.shape == noise.shape == (6, 4, 16, 16)
    assert context.shape == (6, 77, trainer.unet.context_dim)
    own = set(QUICK.student.timesteps)
    assert (set(timesteps.tolist()) <= own) is (role == "distilled")
    assert torch.equal(trainer.batch(1, "plain")[0], noisy)
    clean = (noisy - (1 - ALPHAS[timesteps])[:, None, None, None].sqrt() * noise) / ALPHAS[timesteps][
        :, None, None, None
    ].sqrt()
    known = trainer.data.latents.flatten(1)
    assert torch.cdist(clean.flatten(1), known).min(dim=1).values.max() < 0.1


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("control", [CONTROLS[0], CONTROLS[-1]], ids=lambda control: control.name)
def test_training_gets_nearer_to_what_is_taught(base: LatentDiffusion, tmp_path: Path, control) -> None:
    losses = []
    for updates in (1, 60):
        lengths = replace(QUICK.control, concept_updates=updates, slider_updates=updates)
        folder = tmp_path / str(updates)
        folder.mkdir()
        path = train_lora(replace(QUICK, control=lengths), control, "base", base, folder)
        losses.append(_loss_with(path, control, base))
        assert path.name == f"{file_name(control, 'base')}.safetensors"
    # Most of a concept's loss is noise that nobody can foresee.
    assert losses[1] < (0.95 if control.away is None else 0.85) * losses[0]


def _loss_with(path: Path, control, base: LatentDiffusion) -> float:
    """The training's own loss on one batch that it did not see, with the LoRA of a file."""
    to = from_labels({control.attribute: control.label})
    if control.away is None:
        data = captioned(QUICK, base, to, {"plain": {}})
    else:
        away = from_labels({control.attribute: control.away})
        data = captioned(QUICK, base, {}, {"plain": {}, "to": to, "away": away})
    trainer = Trainer(QUICK, "base", data, base)
    lora = UnetLora(trainer.unet, QUICK.control.rank, torch.Generator().manual_seed(1))
    tensors = load_file(path)
    with torch.no_grad():
        for name, layer in lora.layers.items():
            key = "lora_unet_" + name.replace(".", "_")
            layer.up.copy_(tensors[f"{key}.lora_up.weight"].float())
            layer.down.copy_(tensors[f"{key}.lora_down.weight"].float())
        loss = trainer.concept(999) if control.away is None else trainer.slider(999, lora)
    return loss.item()


def test_a_tuned_base_is_a_checkpoint_of_the_same_kind(base: LatentDiffusion, tmp_path: Path) -> None:
    tuned = load_checkpoint(tune_base(QUICK, base, tmp_path))
    live, new = base.state_dict(), tuned.state_dict()
    assert live.keys() == new.keys()
    changed = {name for name in live if not torch.equal(live[name], new[name])}
    assert changed
    assert all(name.startswith("model.diffusion_model.") for name in changed)
