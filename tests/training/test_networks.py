"""A checkpoint's networks in diffusers against references that were not written here, and against the stage's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, create_unet_diffusers_config_from_ldm
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import load_file, save_file
from torch import Tensor

from embedded.distill.export import random_checkpoint
from embedded.networks.checkpoint import load_checkpoint
from embedded.networks.unet import UNetModel
from extension_core.errors import DiversityError
from extension_core.training.networks.checkpoint import open_checkpoint
from extension_core.training.networks.text import TextEncoder, open_clip_model, read_tokenizer
from extension_core.training.networks.unet import as_network, build_unet, unet_config
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table
from extension_core.weights.reader import read_header
from tests.training.numbers import drawn


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("models") / "base.safetensors", seed=1)


def test_the_unet_is_that_of_diffusers_own_conversion(base: Path) -> None:
    original = yaml.safe_load(base.with_suffix(".yaml").read_text())
    tensors = load_file(base)
    theirs = UNet2DConditionModel.from_config(create_unet_diffusers_config_from_ldm(original, tensors, image_size=64))
    theirs.load_state_dict(convert_ldm_unet_checkpoint(tensors, dict(theirs.config)))
    theirs = theirs.float().eval()
    ours = open_checkpoint(base).unet()
    z, timesteps, told = drawn(2, 4, 16, 16), torch.tensor([3, 970]), drawn(2, 77, 64, seed=1)
    with torch.no_grad():
        assert torch.equal(ours(z, timesteps, told).sample, theirs(z, timesteps, told).sample)
        assert torch.equal(as_network(ours)(z, timesteps, {"prompt_embeds": told}), ours(z, timesteps, told).sample)


def test_all_parts_are_those_of_the_stages_networks(base: Path) -> None:
    stage = load_checkpoint(base)
    checkpoint = open_checkpoint(base)
    prompts = ["a red cat", "", "two blue dogs, spots"]
    told = checkpoint.text_encoders().encode(prompts)["prompt_embeds"]
    with torch.no_grad():
        expected = stage.cond_stage_model(prompts)
        assert torch.allclose(told, expected.float(), atol=1e-4)
        pictures = drawn(2, 3, 32, 32).clamp(-1, 1)
        vae = checkpoint.vae()
        generator = torch.Generator().manual_seed(0)
        latents = vae.encode(pictures, generator)
        assert latents.shape == (2, vae.channels, 32 // vae.shrinks, 32 // vae.shrinks)
        assert torch.allclose(vae.decode(latents), stage.decode_latent(latents), atol=1e-3)
        z, timesteps = drawn(3, 4, 8, 8), torch.tensor([1, 500, 999])
        expected = stage.model(z, timesteps, expected)
        assert torch.allclose(as_network(checkpoint.unet())(z, timesteps, {"prompt_embeds": told}), expected, atol=1e-3)


def ldm_unet(**more: Any) -> UNetModel:
    torch.manual_seed(0)
    small = {"in_channels": 4, "out_channels": 4, "num_res_blocks": 2, "use_spatial_transformer": True, "legacy": False}
    unet = UNetModel(**(small | more)).eval()
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return unet


SDXL = {
    "model_channels": 32,
    "channel_mult": [1, 2, 4],
    "attention_resolutions": [4, 2],
    "transformer_depth": [0, 2, 3],
    "num_heads": -1,
    "num_head_channels": 16,
    "use_linear_in_transformer": True,
    "context_dim": 48,
    "adm_in_channels": 24 + 6 * 256,
}
SD2 = {
    "model_channels": 32,
    "channel_mult": [1, 2, 2],
    "attention_resolutions": [2, 1],
    "transformer_depth": 1,
    "num_heads": -1,
    "num_head_channels": 16,
    "use_linear_in_transformer": True,
    "context_dim": 40,
}


@pytest.mark.parametrize("build", [SDXL, SD2], ids=["SDXL", "SD 2.x"])
def test_every_architecture_is_built_from_its_shapes(build: dict[str, Any]) -> None:
    """One whose last level has no attention, one with attentions of several depths, told of sizes."""
    stage = ldm_unet(**build)
    ours = build_unet(stage.state_dict(), "file", lambda channels: channels // 16, torch.float32)
    z, timesteps, context = drawn(2, 4, 16, 16), torch.tensor([20, 700]), drawn(2, 77, build["context_dim"], seed=1)
    told = {"prompt_embeds": context}
    labels = None
    if "adm_in_channels" in build:
        sizes = torch.tensor([[512.0, 640, 0, 8, 512, 512], [1024, 1024, 0, 0, 1024, 1024]])
        told |= {"pooled": drawn(2, 24, seed=2), "time_ids": sizes}
        numbers = get_timestep_embedding(sizes.flatten(), 256, flip_sin_to_cos=True, downscale_freq_shift=0)
        labels = torch.cat([told["pooled"], numbers.view(2, -1)], dim=1)
    with torch.no_grad():
        assert torch.allclose(as_network(ours)(z, timesteps, told), stage(z, timesteps, context, labels), atol=1e-4)


# As their publishers' configurations have them (unet/config.json of each repository).
PUBLISHED = {
    "SD 1.5": (
        {"model_channels": 320, "channel_mult": [1, 2, 4, 4], "attention_resolutions": [4, 2, 1],
         "transformer_depth": 1, "num_heads": 8, "context_dim": 768},
        {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "use_linear_projection": False,
         "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
         "transformer_layers_per_block": (1, 1, 1, 1)},
    ),
    "SD 2.1": (
        {"model_channels": 320, "channel_mult": [1, 2, 4, 4], "attention_resolutions": [4, 2, 1],
         "transformer_depth": 1, "num_heads": -1, "num_head_channels": 64, "use_linear_in_transformer": True,
         "context_dim": 1024},
        {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 1024, "use_linear_projection": True,
         "attention_head_dim": (5, 10, 20, 20)},
    ),
    "SDXL": (
        {"model_channels": 320, "channel_mult": [1, 2, 4], "attention_resolutions": [4, 2],
         "transformer_depth": [1, 2, 10], "num_heads": -1, "num_head_channels": 64, "use_linear_in_transformer": True,
         "context_dim": 2048, "adm_in_channels": 2816},
        {"block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048, "use_linear_projection": True,
         "attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10),
         "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
         "projection_class_embeddings_input_dim": 2816, "addition_embed_type": "text_time"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_full_sizes_are_those_that_are_published(name: str) -> None:
    build, expected = PUBLISHED[name]
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in UNetModel(
            in_channels=4, out_channels=4, num_res_blocks=2, use_spatial_transformer=True, **build
        ).state_dict().items()}  # fmt: skip
        config = unet_config(shapes, lambda channels: 8 if name == "SD 1.5" else channels // 64)
        theirs = {key: tuple(value.shape) for key, value in UNet2DConditionModel(**config).state_dict().items()}
    assert {key: config[key] for key in expected} == expected
    names = diffusers_table([UNET_PREFIX + key for key in shapes])
    assert {key: shapes[names[key].removeprefix(UNET_PREFIX)] for key in theirs} == theirs
    assert len(theirs) == len(shapes)


def open_clip(width: int, layers: int, vocabulary: int, projection: int, prefix: str) -> tuple[Any, dict[str, Tensor]]:
    """A text transformer by torch's own attention, and its tensors as open_clip names them."""

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
            self.attn = torch.nn.MultiheadAttention(width, width // 64, batch_first=True)
            self.mlp = torch.nn.ModuleDict(
                {"c_fc": torch.nn.Linear(width, 2 * width), "c_proj": torch.nn.Linear(2 * width, width)}
            )

        def forward(self, x: Tensor) -> Tensor:
            normed = self.ln_1(x)
            mask = torch.full((x.shape[1],) * 2, float("-inf")).triu(1)
            x = x + self.attn(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
            return x + self.mlp["c_proj"](torch.nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x))))

    torch.manual_seed(1)
    root = torch.nn.Module()
    root.token_embedding = torch.nn.Embedding(vocabulary, width)
    root.positional_embedding = torch.nn.Parameter(torch.randn(77, width) * 0.1)
    root.transformer = torch.nn.Module()
    root.transformer.resblocks = torch.nn.ModuleList([Layer() for _ in range(layers)])
    root.ln_final = torch.nn.LayerNorm(width)
    root.text_projection = torch.nn.Parameter(torch.randn(width, projection) * 0.1)
    tensors = {prefix + name: value.detach() for name, value in root.state_dict().items()}
    return root, tensors


@pytest.mark.parametrize("projects", [True, False], ids=["SDXL", "SD 2.x"])
def test_open_clips_encoder_is_converted(projects: bool, base: Path) -> None:
    """The penultimate layer: with the final norm for SD 2.x, without for SDXL; pooled at the end token."""
    tokenizer = read_tokenizer(base.parent / "clip")
    root, tensors = open_clip(64, 3, len(tokenizer), 24, "p.")
    model = open_clip_model(tensors, "p.", projects, torch.float32)
    encoder = TextEncoder(model, tokenizer, penultimate=True, final_norm=not projects, pads_with=0)
    ids = encoder._tokens(["a red cat"])
    assert ids[0, -1] == 0
    embeds, pooled = encoder.encode(["a red cat"])
    with torch.no_grad():
        x = root.token_embedding(ids) + root.positional_embedding
        for layer in root.transformer.resblocks[:-1]:
            x = layer(x)
        expected = root.ln_final(x) if not projects else x
        whole = root.ln_final(root.transformer.resblocks[-1](x))
    assert torch.allclose(embeds, expected, atol=1e-4)
    if projects:
        end = ids[0].argmax()
        assert pooled is not None
        assert torch.allclose(pooled[0], whole[0, end] @ root.text_projection, atol=1e-4)
    else:
        assert pooled is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: {k: v for k, v in t.items() if "middle_block" not in k}, "holds a U-Net of a build that cannot be"),
        (
            lambda t: t | {f"{UNET_PREFIX}input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)},
            "which cannot be distilled",
        ),
        (lambda t: {k: v for k, v in t.items() if not k.startswith(UNET_PREFIX)}, "holds no U-Net in a checkpoint's"),
        (
            lambda t: {"lora_unet_mid_block_resnets_0_conv1.lora_down.weight": torch.zeros(2, 4)},
            "is a LoRA, and a base",
        ),
        (lambda t: t | {f"{UNET_PREFIX}out.9.weight": torch.zeros(3)}, "holds a U-Net of a build that cannot be"),
    ],
    ids=["no middle", "inpainting", "no U-Net", "LoRA", "unknown tensor"],
)
def test_what_cannot_be_distilled_is_refused_in_a_sentence(
    base: Path, tmp_path: Path, change: Any, sentence: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({key: value.contiguous() for key, value in change(load_file(base)).items()}, path)
    path.with_suffix(".yaml").write_text(base.with_suffix(".yaml").read_text())
    with pytest.raises(DiversityError, match=sentence):
        open_checkpoint(path).unet()


def test_a_file_without_its_other_parts_says_so(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "unet_only.safetensors"
    save_file({key: value for key, value in load_file(base).items() if key.startswith(UNET_PREFIX)}, path)
    alone = replace(open_checkpoint(base), header=read_header(path))
    assert alone.unet().config["cross_attention_dim"] == 64
    for part, sentence in ((alone.vae, "holds no autoencoder"), (alone.text_encoders, "holds no text encoder")):
        with pytest.raises(DiversityError, match=f"'unet_only.safetensors' {sentence} that can be used here; choose a"):
            part()


def test_a_v_prediction_checkpoint_with_zero_terminal_snr_says_so_itself(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    save_file(load_file(base) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, path)
    description = tmp_path / "other.yaml"
    description.write_text(base.with_suffix(".yaml").read_text())
    (tmp_path / "clip").symlink_to(base.parent / "clip")
    checkpoint = open_checkpoint(path, prediction="v", description=description)
    assert checkpoint.prediction == "v"
    theirs = DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, rescale_betas_zero_snr=True
    )
    assert torch.allclose(checkpoint.schedule.alphas_cumprod.float(), theirs.alphas_cumprod, atol=1e-5)
    assert checkpoint.schedule.alphas_cumprod[-1] == 0
