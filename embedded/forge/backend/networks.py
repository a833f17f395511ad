"""The networks with what the host asks of them, and with the places where patches and controls act in the U-Net."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from embedded import networks
from embedded.networks.noise import timestep_embedding

_LOGIT_SCALE = 4.6055


class IntegratedCLIP(torch.nn.Module):
    """CLIP's text model with the parameters that every one gets, whether its file has them or not."""

    def __init__(self, text_model: Any) -> None:
        super().__init__()
        self.transformer = text_model
        self.logit_scale = torch.nn.Parameter(torch.tensor(_LOGIT_SCALE))
        width = text_model.config.hidden_size
        self.transformer.text_projection = torch.nn.Linear(width, width, bias=False)


class IntegratedUNet2DConditionModel(networks.UNetModel):
    """`config` is what it was built from; the loader adds storage_dtype and computation_dtype."""

    storage_dtype: torch.dtype
    computation_dtype: torch.dtype

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.config = config

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, **more: Any) -> Tensor:  # type: ignore[override]
        """`control`: what is added to the middle and to the skips, the last first. Of the patches in
        `transformer_options` those at "output_block_patch" act, on what comes to each output block and on its skip.
        """
        options = more.get("transformer_options") or {}
        added = {name: list(tensors) for name, tensors in (more.get("control") or {}).items()}
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels).to(x.dtype))
        skips: list[Tensor] = []
        for block in self.input_blocks:
            skips.append(block(skips[-1] if skips else x, emb, context))
        h = self.middle_block(skips[-1], emb, context)
        h = h + added["middle"].pop() if added.get("middle") else h
        for number, block in enumerate(self.output_blocks):
            skip = skips.pop()
            skip = skip + added["output"].pop() if added.get("output") else skip
            for patch in options.get("patches", {}).get("output_block_patch", []):
                h, skip = patch(h, skip, {**options, "block": ("output", number)})
            h = block(torch.cat([h, skip], dim=1), emb, context)
        return self.out(h).to(x.dtype)
