"""The Forge flavour: patchers, networks merged and applied at each call, memory, and the U-Net's patches."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.embedded.conftest import Host

pytestmark = pytest.mark.forge
LAYER = "diffusion_model.input_blocks.1.0.in_layers.2.weight"


@pytest.fixture
def engine(host: Host) -> Any:
    from modules import shared

    host.txt2img(steps=1)
    return shared.sd_model


@pytest.fixture
def management(engine: Any) -> Iterator[Any]:
    """The memory management with nothing loaded."""
    from backend import memory_management

    memory_management.unload_all_models()
    yield memory_management
    memory_management.unload_all_models()


def _patched(unet: Any, name: str, strength: float = 1.0, online: bool = False) -> Any:
    weight = unet.model.state_dict()[LAYER]
    patch = ("diff", (torch.ones_like(weight, dtype=torch.float32),))
    changed = unet.clone()
    changed.add_patches(filename=name, patches={LAYER: patch}, strength_patch=strength, online_mode=online)
    return changed


def _weight(unet: Any) -> torch.Tensor:
    return unet.model.state_dict()[LAYER].clone()


def test_networks_are_merged_when_a_patcher_is_loaded_and_only_then(engine: Any, management: Any) -> None:
    unet = engine.forge_objects_original.unet
    original, changed = _weight(unet), _patched(unet, "a")
    assert torch.equal(_weight(unet), original)
    management.load_model_gpu(changed)
    assert torch.equal(_weight(unet), original + 1)
    assert list(unet.lora_loader.backup) == [LAYER]
    management.load_model_gpu(unet)  # a bare patcher takes them out again
    assert torch.equal(_weight(unet), original)
    assert unet.lora_loader.loaded_hash == "[]"


def test_a_loaded_patcher_is_not_looked_at_again(engine: Any, management: Any) -> None:
    unet = engine.forge_objects_original.unet
    changed = _patched(unet, "a")
    management.load_model_gpu(changed)
    before = _weight(unet)
    changed.lora_patches = _patched(unet, "b", 2.0).lora_patches
    management.load_model_gpu(changed)
    assert torch.equal(_weight(unet), before)
    management.load_model_gpu(unet)


def test_a_network_for_another_model_fails_when_it_is_loaded(engine: Any, management: Any) -> None:
    unet = engine.forge_objects_original.unet
    changed = unet.clone()
    changed.lora_patches[("x", 1.0, 1.0, False)] = {
        "diffusion_model.nothing.weight": [[1.0, ("diff", ()), 1.0, None, None]]
    }
    with pytest.raises(ValueError, match="nothing"):
        management.load_model_gpu(changed)
    management.load_model_gpu(unet)


def test_online_networks_leave_the_weights_alone(engine: Any, management: Any) -> None:
    unet = engine.forge_objects_original.unet
    original = _weight(unet)
    management.load_model_gpu(_patched(unet, "a", online=True))
    layer = unet.model.diffusion_model.input_blocks[1][0].in_layers[2]
    assert torch.equal(_weight(unet), original)
    assert "weight" in layer.forge_online_loras
    x = torch.randn(1, layer.in_channels, 8, 8)
    merged = torch.nn.functional.conv2d(x, layer.weight + 1, layer.bias, padding=1)
    assert torch.allclose(layer(x), merged, atol=1e-5)
    management.load_model_gpu(unet)
    assert not hasattr(layer, "forge_online_loras")


def test_an_abandoned_patcher_is_forgotten(engine: Any, management: Any) -> None:
    unet = engine.forge_objects_original.unet
    clone = unet.clone()
    management.load_models_gpu([clone, engine.forge_objects_original.vae.patcher])
    assert clone in [loaded.model for loaded in management.current_loaded_models]
    del clone
    gc.collect()
    management.free_memory(0, management.get_torch_device())
    models = [loaded.model for loaded in management.current_loaded_models]
    assert all(model.model is not unet.model for model in models)


def test_one_patcher_of_a_model_is_loaded_at_a_time(engine: Any, management: Any) -> None:
    unet = engine.forge_objects_original.unet
    first, second = unet.clone(), unet.clone()
    management.load_model_gpu(first)
    management.load_model_gpu(second)
    models = [loaded.model for loaded in management.current_loaded_models]
    assert second in models
    assert first not in models
    management.unload_model_clones(unet)
    assert not management.current_loaded_models


def test_a_clone_has_options_of_its_own(engine: Any) -> None:
    unet = engine.forge_objects_original.unet
    first = unet.clone()
    first.set_model_output_block_patch(lambda h, skip, _options: (h, skip))
    second = first.clone()
    second.set_model_output_block_patch(lambda h, skip, _options: (h, skip))
    options = [patcher.model_options["transformer_options"].get("patches", {}) for patcher in (unet, first, second)]
    counts = [len(patches.get("output_block_patch", [])) for patches in options]
    assert counts == [0, 1, 2]


def test_a_part_of_the_prompt_s_networks_by_their_names_in_files(engine: Any) -> None:
    from backend.patcher.lora import load_lora, model_lora_keys_clip, model_lora_keys_unet

    unet, clip = engine.forge_objects.unet.model, engine.forge_objects.clip.cond_stage_model
    keys = {**model_lora_keys_unet(unet), **model_lora_keys_clip(clip)}
    layer = LAYER.removesuffix(".weight")
    names = ("lora_unet_input_blocks_1_0_in_layers_2", "lora_unet_down_blocks_0_resnets_0_conv1", layer)
    assert [keys[name] for name in names] == [LAYER] * 3
    tensors = {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.ones(4, 1)}
    tensors["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = torch.ones(1, 4)
    patches, rest = load_lora({**tensors, "of.another": torch.ones(1)}, keys)
    assert list(patches) == ["clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.weight"]
    assert list(rest) == ["of.another"]


def test_the_predictor_s_levels(engine: Any) -> None:
    from backend.modules.k_prediction import Prediction, rescale_zero_terminal_snr_sigmas

    predictor = engine.forge_objects.unet.model.predictor
    assert isinstance(predictor, Prediction)
    assert predictor.sigma_max.item() == pytest.approx(14.6146, rel=1e-4)
    assert predictor.timestep(predictor.sigmas[[3, 500]]).tolist() == [3, 500]
    assert predictor.percent_to_sigma(0.0) > 1e8
    assert predictor.percent_to_sigma(1.0) == 0.0
    rescaled = rescale_zero_terminal_snr_sigmas(predictor.sigmas)
    assert rescaled[0].item() == pytest.approx(predictor.sigmas[0].item(), rel=1e-3)
    assert rescaled[-1].item() == pytest.approx(4518.76, rel=1e-3)
