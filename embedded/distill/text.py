"""Pre-training of the text encoder: from the mean of its 77 outputs, tell what a caption mentions.

Untrained, 70 of the 77 outputs are padding that says nothing, and a small U-Net needs thousands of updates before it
begins to read the few words. After this stage, a minute long, the padding says what the prompt says, and it reads at
once.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embedded.monsters import ATTRIBUTES, parse_prompt
from embedded.networks import TextEncoder

from .loop import Progress, cosine_rate, make_optimizer, set_rate, step_generator
from .recipe import Recipe

STAGE = 4


def mentions(captions: list[list[str]]) -> Tensor:
    """What each caption fixes: int64 [n, times, A], an attribute's index, or its number of labels if unmentioned."""
    rows = [[parse_prompt(text) for text in row] for row in captions]
    return torch.tensor(
        [[[found.get(name, len(labels)) for name, labels in ATTRIBUTES.items()] for found in row] for row in rows]
    )


class MentionHeads(nn.Module):
    """Logits [B, labels + 1] for each attribute, of text outputs [B, 77, D]; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, len(labels) + 1) for labels in ATTRIBUTES.values())

    def forward(self, context: Tensor) -> list[Tensor]:
        pooled = context.mean(dim=1)
        return [head(pooled) for head in self.heads]


def initialise(encoder: TextEncoder, seed: int) -> None:
    """CLIP's own small initial weights, drawn with ``seed``."""
    torch.manual_seed(seed)
    with torch.no_grad():
        encoder.transformer.apply(encoder.transformer._init_weights)


def train_text(recipe: Recipe, encoder: TextEncoder, captions: list[list[str]], tokens: Tensor, folder: Path) -> None:
    """Trains ``encoder`` in place; a finished stage is read from ``folder``. tokens: int16 [n, times, 77]."""
    config, progress = recipe.text, Progress(folder, "text")
    initialise(encoder, recipe.seed)
    state = progress.load()
    if state is not None:
        encoder.load_state_dict(state["model"])
        return
    encoder.train().requires_grad_(True)
    heads = MentionHeads(recipe.networks.text_width)
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimizer = make_optimizer(parameters, config.rate)
    ids, wanted = tokens.flatten(0, 1), mentions(captions).flatten(0, 1)
    for step in range(config.updates):
        rows = torch.randint(0, len(ids), (config.batch,), generator=step_generator(recipe.seed, STAGE, step))
        with torch.autocast("cpu", torch.bfloat16):
            logits = heads(encoder.encode_tokens(ids[rows].long()))
        losses = [F.cross_entropy(part.float(), wanted[rows, index]) for index, part in enumerate(logits)]
        right = torch.stack([part.argmax(1) == wanted[rows, index] for index, part in enumerate(logits)])
        loss = torch.stack(losses).mean()
        set_rate(optimizer, cosine_rate(config.rate, step, config.updates))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        progress.log(step, loss=loss.item(), right=right.float().mean().item())
    progress.save({"model": encoder.state_dict()})
