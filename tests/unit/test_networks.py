"""The networks against diffusers' own, loaded with the same weights through diffusers' own conversion of keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import AutoencoderKL as DiffusersVAE
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import load_file, save_file

from embedded.distill.export import random_checkpoint, write_text_folder
from embedded.distill.recipe import Networks
from embedded.networks import AutoencoderKL, TextEncoder, UNetModel, load_checkpoint, noise

SMALL = Networks(unet_channels=32, text_width=64, text_heads=2)


def shake(module: torch.nn.Module, seed: int = 0) -> None:
    """Random weights everywhere, so that no zero-initialised layer hides a difference."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.05)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 2e-5 * theirs.abs().max()


@pytest.mark.parametrize("blocks", [1, 2])
def test_unet_equals_diffusers(blocks: int) -> None:
    unet = UNetModel(
        model_channels=32,
        num_res_blocks=blocks,
        attention_resolutions=[2, 4],
        channel_mult=[1, 2, 2],
        num_heads=4,
        context_dim=48,
    ).eval()
    shake(unet)
    config: dict[str, Any] = {
        "block_out_channels": (32, 64, 64),
        "layers_per_block": blocks,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 48,
        "attention_head_dim": 4,
    }
    other = UNet2DConditionModel(**config).eval()
    prefixed = {f"model.diffusion_model.{name}": value for name, value in unet.state_dict().items()}
    other.load_state_dict(convert_ldm_unet_checkpoint(prefixed, dict(other.config)))
    x, context = torch.randn(2, 4, 16, 16), torch.randn(2, 77, 48)
    timesteps = torch.tensor([3, 999])
    with torch.no_grad():
        close(unet(x, timesteps, context), other(x, timesteps, context).sample)


def test_unet_with_label_embedding_equals_diffusers() -> None:
    """SDXL's shape in small: linear projections, a depth for each level, no attention at full size, label embedding."""
    unet = UNetModel(
        model_channels=32,
        num_res_blocks=2,
        attention_resolutions=[4, 2],
        channel_mult=[1, 2, 4],
        num_head_channels=16,
        context_dim=48,
        transformer_depth=[1, 2, 3],
        use_linear_in_transformer=True,
        adm_in_channels=40,
    ).eval()
    shake(unet)
    other = UNet2DConditionModel(
        block_out_channels=(32, 64, 128),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=48,
        attention_head_dim=(2, 4, 8),
        transformer_layers_per_block=(1, 2, 3),
        use_linear_projection=True,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=40,
    ).eval()
    prefixed = {f"model.diffusion_model.{name}": value for name, value in unet.state_dict().items()}
    other.load_state_dict(convert_ldm_unet_checkpoint(prefixed, dict(other.config)))
    x, context, y = torch.randn(2, 4, 16, 16), torch.randn(2, 77, 48), torch.randn(2, 40)
    timesteps = torch.tensor([40, 500])
    with torch.no_grad():
        close(unet(x, timesteps, context, y), other(x, timesteps, context, class_labels=y).sample)
    with pytest.raises(ValueError, match="label embedding"):
        unet(x, timesteps, context)


def test_full_size_unet_has_the_published_keys() -> None:
    """Stable Diffusion 1.5: 686 tensors, 859,520,964 parameters."""
    with torch.device("meta"):
        unet = UNetModel(num_heads=8)
    state = unet.state_dict()
    assert len(state) == 686
    assert sum(value.numel() for value in state.values()) == 859_520_964
    assert state["input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"].shape == (320, 768)
    assert state["middle_block.1.proj_in.weight"].shape == (1280, 1280, 1, 1)
    assert state["output_blocks.8.2.conv.weight"].shape == (640, 640, 3, 3)
    assert state["out.2.weight"].shape == (4, 320, 3, 3)


def test_autoencoder_equals_diffusers() -> None:
    vae = AutoencoderKL(SMALL.vae_params(), 4).eval()
    shake(vae)
    other = DiffusersVAE(
        block_out_channels=(32, 32, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    ).eval()
    prefixed = {f"first_stage_model.{name}": value for name, value in vae.state_dict().items()}
    other.load_state_dict(convert_ldm_vae_checkpoint(prefixed, dict(other.config)))
    images, latents = torch.randn(2, 3, 64, 64), torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        mean, logvar = vae.encode(images)
        theirs = other.encode(images).latent_dist
        close(mean, theirs.mean)
        close(logvar, theirs.logvar)
        close(vae.decode(latents), other.decode(latents).sample)


def test_noise_schedule_equals_diffusers() -> None:
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    torch.testing.assert_close(noise.alphas_cumprod().float(), scheduler.alphas_cumprod, rtol=1e-5, atol=1e-7)
    assert noise.sigmas()[-1] == pytest.approx(14.6146, abs=1e-4)


def test_text_encoder_pads_as_hosts_do(tmp_path: Path) -> None:
    encoder = TextEncoder(write_text_folder(tmp_path / "clip", SMALL)).eval()
    start, end = encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id
    row = encoder.tokenize(["a green monster with two big eyes"])[0].tolist()
    assert (len(row), row[0]) == (77, start)
    assert row[8:] == [end] * 69
    assert len(encoder.tokenize(["monster " * 200])[0]) == 77
    vocabulary = encoder.tokenizer.get_vocab()
    assert {",</w>", "(</w>", ")</w>", "[</w>", "monster</w>", "eyes</w>"} <= set(vocabulary)


def test_clip_skip_leaves_layers_out(tmp_path: Path) -> None:
    encoder = TextEncoder(write_text_folder(tmp_path / "clip", SMALL)).eval()
    with torch.no_grad():
        last, skipped = encoder(["a monster"]), encoder(["a monster"], clip_skip=2)
        tokens = encoder.tokenize(["a monster"])
        hidden = encoder.transformer(tokens, output_hidden_states=True).hidden_states
    torch.testing.assert_close(last, encoder.transformer.text_model.final_layer_norm(hidden[-1]))
    torch.testing.assert_close(skipped, encoder.transformer.text_model.final_layer_norm(hidden[-2]))
    assert not torch.equal(last, skipped)


def test_random_checkpoint_loads_and_predicts_noise(tmp_path: Path) -> None:
    path = random_checkpoint(tmp_path / "random.safetensors", seed=3, networks=SMALL)
    second = random_checkpoint(tmp_path / "second.safetensors", seed=4, networks=SMALL, shared_with=path)
    model = load_checkpoint(path)
    generator = torch.Generator().manual_seed(0)
    eps = torch.randn(4, 4, 16, 16, generator=generator)
    with torch.no_grad():
        context = model.cond_stage_model(["a monster"] * 4)
        predicted = model.model(eps, torch.full((4,), 999), context)
        assert torch.nn.functional.cosine_similarity(predicted.flatten(), eps.flatten(), dim=0) > 0.5
        assert model.decode_latent(predicted).shape == (4, 3, 128, 128)
    first, other = load_file(str(path)), load_file(str(second))
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    assert differing
    assert all(name.startswith("model.diffusion_model.") for name in differing)


def test_faulty_checkpoints_are_named(tmp_path: Path) -> None:
    path = random_checkpoint(tmp_path / "random.safetensors", seed=3, networks=SMALL)
    state = load_file(str(path))
    config = yaml.safe_load(path.with_suffix(".yaml").read_text(encoding="utf-8"))
    save_file({name: value for name, value in state.items() if name != "model.diffusion_model.out.2.bias"}, str(path))
    with pytest.raises(ValueError, match=r"lack 1 tensors.*out\.2\.bias"):
        load_checkpoint(path)
    save_file({**state, "model.diffusion_model.out.2.bias": torch.zeros(3)}, str(path))
    with pytest.raises(ValueError, match="do not fit"):
        load_checkpoint(path)
    config["model"]["params"]["parameterization"] = "v"
    path.with_suffix(".yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(ValueError, match="'v'"):
        load_checkpoint(path)
    path.with_suffix(".yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"random\.yaml"):
        load_checkpoint(path)
