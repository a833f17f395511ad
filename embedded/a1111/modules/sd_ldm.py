"""The model as samplers and extensions see it: Stable Diffusion 1.x's latent diffusion, built from an ldm yaml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from embedded import networks
from embedded.networks import noise
from modules import ldm_config


class DiagonalGaussianDistribution:
    """What the VAE's encoder returns; `sample` draws from torch's global generator, as ldm's does."""

    def __init__(self, mean: torch.Tensor, logvar: torch.Tensor) -> None:
        self.mean = mean
        self.logvar = torch.clamp(logvar, -30.0, 20.0)
        self.std = torch.exp(0.5 * self.logvar)
        self.var = torch.exp(self.logvar)

    def sample(self) -> torch.Tensor:
        return self.mean + self.std * torch.randn(self.mean.shape).to(device=self.mean.device)

    def mode(self) -> torch.Tensor:
        return self.mean


class AutoencoderKL(networks.AutoencoderKL):
    @property
    def dtype(self) -> torch.dtype:
        return self.quant_conv.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.quant_conv.weight.device


class FrozenCLIPEmbedder(torch.nn.Module):
    """The checkpoint's text encoder before the host wraps it.

    `folder` holds config.json and the tokenizer's files; the weights come with the checkpoint.
    """

    def __init__(self, folder: str, max_length: int = 77) -> None:
        super().__init__()
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder)
        self.transformer = CLIPTextModel(CLIPTextConfig.from_pretrained(folder))
        self.max_length = max_length
        self.is_trainable = False

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, text: list[str]) -> torch.Tensor:
        """The encoder alone, as it runs after a failed reload left it without its wrapper: one chunk, no weights."""
        batch = self.tokenizer(
            list(text), truncation=True, max_length=self.max_length, padding="max_length", return_tensors="pt"
        )
        return self.transformer(input_ids=batch["input_ids"].to(self.device)).last_hidden_state

    encode = forward


class DiffusionWrapper(torch.nn.Module):
    """`conditioning_key` says how conditioning enters: "crossattn", or "hybrid" for inpainting models.

    Their mask and masked image are further input channels.
    """

    def __init__(self, diffusion_model: torch.nn.Module, conditioning_key: str) -> None:
        super().__init__()
        self.diffusion_model = diffusion_model
        self.conditioning_key = conditioning_key

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        c_concat: list[torch.Tensor] | None = None,
        c_crossattn: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        if self.conditioning_key in ("hybrid", "concat"):
            x = torch.cat([x, *(c_concat or [])], dim=1)
        context = torch.cat(c_crossattn or [], 1)
        return self.diffusion_model(x, t, context=context)


class LatentDiffusion(torch.nn.Module):
    """The loader adds: sd_checkpoint_info, sd_model_hash, sd_model_checkpoint, used_config, is_sd1, ..."""

    alphas_cumprod: Any
    betas: torch.Tensor
    is_sd1 = is_sd2 = is_sdxl = is_ssd = is_sd3 = False
    is_sdxl_inpaint = False

    def __init__(self, params: dict[str, Any], config_path: str) -> None:
        super().__init__()
        first, text = params["first_stage_config"]["params"], params["cond_stage_config"].get("params") or {}
        self.parameterization: str = params.get("parameterization", "eps")
        self.scale_factor: float = params.get("scale_factor", 0.18215)
        self.num_timesteps: int = params.get("timesteps", 1000)
        self.cond_stage_key = params.get("cond_stage_key", "txt")
        self.lowvram = False
        self.latent_channels = first["embed_dim"]
        with ldm_config.without_initialisation():
            self.model = DiffusionWrapper(
                networks.UNetModel(**ldm_config.unet_arguments(params)), params.get("conditioning_key") or "crossattn"
            )
            self.first_stage_model = AutoencoderKL(first["ddconfig"], first["embed_dim"])
            self.cond_stage_model: Any = FrozenCLIPEmbedder(
                ldm_config.text_encoder_folder(text.get("version", ""), config_path), text.get("max_length", 77)
            )
        schedule = (
            self.num_timesteps,
            params.get("linear_start", noise.LINEAR_START),
            params.get("linear_end", noise.LINEAR_END),
        )
        self.register_buffer("betas", noise.betas(*schedule).float())
        self.register_buffer("alphas_cumprod", noise.alphas_cumprod(*schedule).float())
        self.first_stage_model.requires_grad_(False)
        self.cond_stage_model.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.betas.device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    @contextmanager
    def ema_scope(self, context: str | None = None) -> Iterator[None]:
        del context
        yield

    def apply_model(self, x_noisy: torch.Tensor, t: torch.Tensor, cond: Any, return_ids: bool = False) -> torch.Tensor:
        """The U-Net's raw prediction [B, C, h, w] at timesteps [B] (fractions allowed), in the input's dtype."""
        del return_ids
        if not isinstance(cond, dict):
            cond = {"c_crossattn": cond if isinstance(cond, list) else [cond]}
        dtype = self.dtype
        cond = {k: [x.to(dtype) for x in v] if isinstance(v, list) else v for k, v in cond.items()}
        return self.model(x_noisy.to(dtype), t.to(dtype), **cond).to(x_noisy.dtype)

    def get_learned_conditioning(self, c: Any) -> Any:
        return self.cond_stage_model(c)

    def encode_first_stage(self, x: torch.Tensor) -> DiagonalGaussianDistribution:
        return DiagonalGaussianDistribution(*self.first_stage_model.encode(x))

    def get_first_stage_encoding(self, encoder_posterior: Any) -> torch.Tensor:
        z = (
            encoder_posterior.sample()
            if isinstance(encoder_posterior, DiagonalGaussianDistribution)
            else encoder_posterior
        )
        return self.scale_factor * z

    def decode_first_stage(self, z: torch.Tensor) -> torch.Tensor:
        return self.first_stage_model.decode(1.0 / self.scale_factor * z)


def from_config(config_path: str) -> LatentDiffusion:
    """A model of uninitialised weights. ValueError where the yaml describes something else than this layout."""
    return LatentDiffusion(ldm_config.read_params(config_path), config_path)
