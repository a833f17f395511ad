"""Every number of a training run, once: sizes of the networks, lengths, rates, seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embedded.networks import noise


@dataclass(frozen=True)
class Networks:
    """Sizes of the pair's networks. Both models share them; keys of the dicts are those of the ldm yaml."""

    unet_channels: int = 64
    unet_mult: tuple[int, ...] = (1, 2)
    unet_blocks: int = 1
    unet_attention: tuple[int, ...] = (2,)
    unet_heads: int = 4
    unet_depth: int | tuple[int, ...] = 1
    text_width: int = 128
    text_layers: int = 2
    text_heads: int = 4
    vae_channels: int = 32
    vae_mult: tuple[int, ...] = (1, 1, 2, 2)
    vae_blocks: int = 1

    def unet_params(self) -> dict[str, Any]:
        return {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": self.unet_channels,
            "attention_resolutions": list(self.unet_attention),
            "num_res_blocks": self.unet_blocks,
            "channel_mult": list(self.unet_mult),
            "num_heads": self.unet_heads,
            "use_spatial_transformer": True,
            "transformer_depth": self.unet_depth if isinstance(self.unet_depth, int) else list(self.unet_depth),
            "context_dim": self.text_width,
            "use_checkpoint": False,
            "legacy": False,
        }

    def vae_params(self) -> dict[str, Any]:
        return {
            "double_z": True,
            "z_channels": 4,
            "resolution": 128,
            "in_channels": 3,
            "out_ch": 3,
            "ch": self.vae_channels,
            "ch_mult": list(self.vae_mult),
            "num_res_blocks": self.vae_blocks,
            "attn_resolutions": [],
            "dropout": 0.0,
        }

    def text_config(self, vocabulary: int) -> dict[str, Any]:
        return {
            "architectures": ["CLIPTextModel"],
            "model_type": "clip_text_model",
            "vocab_size": vocabulary,
            "hidden_size": self.text_width,
            "intermediate_size": 4 * self.text_width,
            "projection_dim": self.text_width,
            "num_hidden_layers": self.text_layers,
            "num_attention_heads": self.text_heads,
            "max_position_embeddings": 77,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-05,
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": vocabulary - 1,
        }

    def model_params(self, scale_factor: float, version: str) -> dict[str, Any]:
        """``model.params`` of the ldm yaml; ``version`` is the folder of the tokenizer and the text configuration."""
        return {
            "linear_start": noise.LINEAR_START,
            "linear_end": noise.LINEAR_END,
            "num_timesteps_cond": 1,
            "log_every_t": 200,
            "timesteps": noise.TIMESTEPS,
            "first_stage_key": "jpg",
            "cond_stage_key": "txt",
            "image_size": 16,
            "channels": 4,
            "cond_stage_trainable": False,
            "conditioning_key": "crossattn",
            "monitor": "val/loss_simple_ema",
            "scale_factor": scale_factor,
            "use_ema": False,
            "unet_config": {
                "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
                "params": self.unet_params(),
            },
            "first_stage_config": {
                "target": "ldm.models.autoencoder.AutoencoderKL",
                "params": {
                    "embed_dim": 4,
                    "monitor": "val/rec_loss",
                    "ddconfig": self.vae_params(),
                    "lossconfig": {"target": "torch.nn.Identity"},
                },
            },
            "cond_stage_config": {
                "target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder",
                "params": {"version": version},
            },
        }


@dataclass(frozen=True)
class VAETraining:
    """``updates`` on crops, the last ``full_share`` of them on whole pictures (as many pixels an update)."""

    updates: int = 2700
    batch: int = 16
    crop: int = 64
    rate: float = 1e-3
    edge_weight: float = 0.5
    kl_weight: float = 1e-3
    full_share: float = 0.36


@dataclass(frozen=True)
class TextTraining:
    """Pre-training of the text encoder on what captions mention."""

    updates: int = 200
    batch: int = 64
    rate: float = 1e-3


@dataclass(frozen=True)
class BaseTraining:
    """eps prediction with empty captions in ``dropout`` of the cases, for classifier-free guidance.

    What a prompt decides, it decides at high noise, where SD's plain loss counts an error of the picture 200 times less
    than at low noise. So timesteps are drawn as 1000 u^skew and the loss is divided by (signal level)^weight_power.
    """

    updates: int = 6000
    batch: int = 40
    rate: float = 1e-3
    warmup: int = 200
    dropout: float = 0.1
    skew: float = 0.6
    weight_power: float = 1.5
    ema: float = 0.998


@dataclass(frozen=True)
class StudentTraining:
    """DMD2's distribution matching without its GAN (arXiv 2405.14867), on diffusers' LCM grid for four steps."""

    updates: int = 420
    batch: int = 20
    timesteps: tuple[int, ...] = (999, 759, 499, 259)
    teacher_cfg: float = 3.0
    rate: float = 2e-4
    fake_rate: float = 3e-4
    fake_updates: int = 2
    fake_warmup: int = 20
    ema: float = 0.98
    renoise: tuple[int, int] = (20, 980)


@dataclass(frozen=True)
class ControlTraining:
    """LoRAs and a fine-tune of a trained model: rates, lengths, and ``strength``, how far a slider moves.

    ``pictures`` are drawn for each of them; ``rank`` is that of the LoRAs.
    """

    pictures: int = 600
    captions: int = 4
    batch: int = 16
    rank: int = 8
    concept_updates: int = 200
    concept_rate: float = 2e-3
    slider_updates: int = 150
    slider_rate: float = 1e-3
    strength: float = 2.0
    tune_updates: int = 200
    tune_rate: float = 2e-4


@dataclass(frozen=True)
class PreviewTraining:
    """Small decoders that imitate the autoencoder's.

    Of ``latents`` one half are those of pictures, the others mixtures of up to ``mixed`` of them with some noise, as a
    model's predictions are while it samples; ``held_out`` more measure the error. ``crop`` is in latent pixels.
    """

    latents: int = 1600
    held_out: int = 128
    mixed: int = 6
    noise: float = 0.1
    width: int = 32
    batch: int = 12
    crop: int = 8
    updates: int = 1800
    rate: float = 3e-3
    edge_weight: float = 0.5


@dataclass(frozen=True)
class Recipe:
    """A whole run. ``pictures`` are drawn once with ``seed``; captions are drawn ``captions`` times for each."""

    seed: int = 0
    pictures: int = 20000
    captions: int = 4
    networks: Networks = field(default_factory=Networks)
    vae: VAETraining = field(default_factory=VAETraining)
    text: TextTraining = field(default_factory=TextTraining)
    base: BaseTraining = field(default_factory=BaseTraining)
    student: StudentTraining = field(default_factory=StudentTraining)
    control: ControlTraining = field(default_factory=ControlTraining)
    previews: PreviewTraining = field(default_factory=PreviewTraining)
