"""The U-Net with the places where transformer options act: patches at blocks and attentions, replaced attentions, block
modifiers, controls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from embedded import networks
from embedded.networks.attention import BasicTransformerBlock, CrossAttention, attend
from embedded.networks.noise import timestep_embedding

Options = dict[str, Any]


class PatchableBlock(BasicTransformerBlock):
    """A transformer block of the plain network, its class exchanged."""

    def forward(self, x: Tensor, context: Tensor, options: Options | None = None) -> Tensor:
        options = options or {}
        x = self._attention("attn1", self.attn1, self.norm1(x), None, options) + x
        for patch in options.get("patches", {}).get("middle_patch", []):
            x = patch(x, self._extra(options))
        x = self._attention("attn2", self.attn2, self.norm2(x), context, options) + x
        return self.ff(self.norm3(x)) + x

    def _extra(self, options: Options) -> Options:
        """What patches are told: all options but the patches, and the heads."""
        heads = self.attn1.heads
        rest = {name: value for name, value in options.items() if name not in ("patches", "patches_replace")}
        return {**rest, "n_heads": heads, "dim_head": self.attn1.to_q.out_features // heads}

    def _attention(
        self, name: str, attention: CrossAttention, x: Tensor, context: Tensor | None, options: Options
    ) -> Tensor:
        patches, extra = options.get("patches", {}), self._extra(options)
        value = None
        if f"{name}_patch" in patches:
            context = x if context is None else context
            value = context
            for patch in patches[f"{name}_patch"]:
                x, context, value = patch(x, context, value, extra)
        replacement = _replacement(options, name)
        source = x if context is None else context
        q, k, v = attention.to_q(x), attention.to_k(source), attention.to_v(source if value is None else value)
        mixed = _attended(q, k, v, attention.heads) if replacement is None else replacement(q, k, v, extra)
        out = attention.to_out(mixed)
        for patch in patches.get(f"{name}_output_patch", []):
            out = patch(out, extra)
        return out


def _attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return attend(q, k, v).transpose(1, 2).flatten(2)


def _replacement(options: Options, name: str) -> Any:
    """What takes this attention's place: for this transformer of the block, else for the whole block."""
    places, block = options.get("patches_replace", {}).get(name, {}), options.get("block")
    if not places or block is None:
        return None
    return places.get((*block, options.get("block_index", 0)), places.get(block))


def _controlled(h: Tensor, control: dict[str, list[Any]] | None, name: str) -> Tensor:
    """Adds the next of a ControlNet's outputs for this part of the network."""
    outputs = (control or {}).get(name)
    added = outputs.pop() if outputs else None
    return h if added is None else h + added


class IntegratedUNet2DConditionModel(networks.UNetModel):
    """`config` is what it was built from; the loader adds storage_dtype, computation_dtype and devices."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.config = config
        for module in self.modules():
            if type(module) is BasicTransformerBlock:
                module.__class__ = PatchableBlock

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        y: Tensor | None = None,
        control: dict[str, list[Any]] | None = None,
        transformer_options: Options | None = None,
        **_ignored: Any,
    ) -> Tensor:
        options = {} if transformer_options is None else transformer_options
        options["original_shape"] = list(x.shape)
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels).to(x.dtype))
        if self.num_classes is not None:
            emb = emb + self.label_emb(y)
        run = _Run(emb, context, options, control)
        h, skips = run.inputs(x, self.input_blocks)
        h = run.controlled_block(self.middle_block, h, ("middle", 0))
        for number, block in enumerate(self.output_blocks):
            h = run.output(block, h, skips.pop(), number)
        return run.last(self.out, h).type(x.dtype)


class _Run:
    """One pass through the network with its options."""

    def __init__(self, emb: Tensor, context: Tensor, options: Options, control: dict[str, list[Any]] | None) -> None:
        self.emb, self.context, self.options, self.control = emb, context, options, control
        self.patches: dict[str, list[Any]] = options.get("patches", {})

    def _modified(self, h: Tensor, when: str) -> Tensor:
        for modifier in self.options.get("block_modifiers", []):
            h = modifier(h, when, self.options)
        return h

    def _patched(self, h: Tensor, name: str) -> Tensor:
        for patch in self.patches.get(name, []):
            h = patch(h, self.options)
        return h

    def controlled_block(self, block: Any, h: Tensor, place: tuple[str, int]) -> Tensor:
        self.options["block"] = place
        h = block(self._modified(h, "before"), self.emb, self.context, self.options)
        return self._modified(_controlled(h, self.control, place[0]), "after")

    def inputs(self, h: Tensor, blocks: Iterable[Any]) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for number, block in enumerate(blocks):
            h = self._patched(self.controlled_block(block, h, ("input", number)), "input_block_patch")
            skips.append(h)
            h = self._patched(h, "input_block_patch_after_skip")
        return h, skips

    def output(self, block: Any, h: Tensor, skip: Tensor, number: int) -> Tensor:
        self.options["block"] = ("output", number)
        skip = _controlled(skip, self.control, "output")
        for patch in self.patches.get("output_block_patch", []):
            h, skip = patch(h, skip, self.options)
        h = self._modified(torch.cat([h, skip], dim=1), "before")
        return self._modified(block(h, self.emb, self.context, self.options), "after")

    def last(self, out: Any, h: Tensor) -> Tensor:
        self.options["block"] = ("last", 0)
        h = self._modified(h, "before")
        norm, rest = out[0], out[1:]
        wrapper = self.options.get("group_norm_wrapper")
        h = rest(norm(h) if wrapper is None else wrapper(norm, h, self.options))
        return self._modified(h, "after")
