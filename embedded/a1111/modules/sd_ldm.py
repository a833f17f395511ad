"""The model as samplers and extensions see it: Stable Diffusion 1.x's latent diffusion, built from an ldm yaml."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from embedded import networks
from embedded.networks import noise
from modules import sd_models_config


class FrozenCLIPEmbedder(torch.nn.Module):
    """The checkpoint's text encoder before the host wraps it."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder)
        self.transformer = CLIPTextModel(CLIPTextConfig.from_pretrained(folder))

    def forward(self, text: list[str]) -> torch.Tensor:
        """The encoder alone, as it runs after a failed reload left it without its wrapper: one chunk, no weights."""
        ids = self.tokenizer(text, truncation=True, max_length=77, padding="max_length", return_tensors="pt").input_ids
        return self.transformer(input_ids=ids.to(next(self.parameters()).device)).last_hidden_state


class DiffusionWrapper(torch.nn.Module):
    """`conditioning_key`: "crossattn", or "hybrid" for inpainting models, to whose U-Net mask and masked picture are
    further channels.
    """

    def __init__(self, diffusion_model: torch.nn.Module, conditioning_key: str) -> None:
        super().__init__()
        self.diffusion_model, self.conditioning_key = diffusion_model, conditioning_key

    def forward(self, x: Any, t: Any, c_concat: Any = (), c_crossattn: Any = ()) -> torch.Tensor:
        rows = torch.cat([x, *c_concat], dim=1) if self.conditioning_key == "hybrid" else x
        return self.diffusion_model(rows, t, context=torch.cat(list(c_crossattn), dim=1))


class LatentDiffusion(torch.nn.Module):
    """The loader adds: sd_checkpoint_info, sd_model_hash, used_config, alphas_cumprod_original, ..."""

    alphas_cumprod: Any
    is_sd1, is_sd2, is_sdxl, is_sd3 = True, False, False, False
    lowvram = False

    def __init__(self, config_path: str) -> None:
        """A model of uninitialised weights. ValueError where the yaml describes something else than this layout."""
        super().__init__()
        params = sd_models_config.read_params(config_path)
        vae = params["first_stage_config"]["params"]
        self.used_config, self.latent_channels = config_path, vae["embed_dim"]
        self.parameterization: str = params.get("parameterization", "eps")
        self.scale_factor: float = params.get("scale_factor", 0.18215)
        self.cond_stage_key: str = params.get("cond_stage_key", "txt")
        with sd_models_config.without_initialisation():
            unet = networks.UNetModel(**sd_models_config.unet_arguments(params))
            self.model = DiffusionWrapper(unet, params.get("conditioning_key") or "crossattn")
            self.first_stage_model = networks.AutoencoderKL(vae["ddconfig"], self.latent_channels)
            folder = sd_models_config.text_encoder_folder(params, config_path)
            self.cond_stage_model: Any = FrozenCLIPEmbedder(folder)
        ends = (params.get("linear_start", noise.LINEAR_START), params.get("linear_end", noise.LINEAR_END))
        schedule = (params.get("timesteps", noise.TIMESTEPS), *ends)
        self.register_buffer("betas", noise.betas(*schedule).float())
        self.register_buffer("alphas_cumprod", noise.alphas_cumprod(*schedule).float())
        for part in (self.first_stage_model, self.cond_stage_model):
            part.requires_grad_(False)

    device = property(lambda self: self.betas.device)
    dtype = property(lambda self: next(self.model.parameters()).dtype)

    def apply_model(self, x_noisy: torch.Tensor, t: torch.Tensor, cond: dict[str, list[torch.Tensor]]) -> torch.Tensor:
        """The U-Net's raw prediction [B, C, h, w] at timesteps [B] (fractions allowed), in the input's dtype."""
        conds = {name: [part.to(self.dtype) for part in parts] for name, parts in cond.items()}
        return self.model(x_noisy.to(self.dtype), t.to(self.dtype), **conds).to(x_noisy.dtype)

    def get_learned_conditioning(self, c: Any) -> Any:
        return self.cond_stage_model(c)

    def encode_first_stage(self, x: torch.Tensor) -> torch.Tensor:
        """Drawn from what the encoder tells of pictures [B, 3, H, W] in -1..1, by torch's global generator."""
        mean, logvar = self.first_stage_model.encode(x)
        return mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape).to(mean.device)

    def get_first_stage_encoding(self, encoder_posterior: torch.Tensor) -> torch.Tensor:
        return self.scale_factor * encoder_posterior

    def decode_first_stage(self, z: torch.Tensor) -> torch.Tensor:
        return self.first_stage_model.decode(1.0 / self.scale_factor * z)
