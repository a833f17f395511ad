"""The text encoder's wrapper: prompts of any length in chunks of 75 tokens, weights of words, textual inversion, clip
skip.
"""

from __future__ import annotations

from typing import Any

import torch

from modules import devices, sd_emphasis
from modules.shared import opts
from modules.text_chunks import ChunkedText, PromptChunk, PromptChunkFix


class TextConditionalModel(ChunkedText, torch.nn.Module):
    """Prompts to [B, 77 n, D]. Subclasses say how to tokenize and how to run the network."""

    def __init__(self) -> None:
        super().__init__()
        from modules import sd_hijack

        self.hijack: Any = sd_hijack.model_hijack
        self.is_trainable = False
        self.input_key = "txt"
        self.return_pooled = False

    def find_embedding_at_position(self, tokens: list[int], position: int) -> tuple[Any, int | None]:
        return self.hijack.embedding_db.find_embedding_at_position(tokens, position)

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, texts: list[str]) -> Any:
        batch_chunks, _ = self.process_texts(texts)
        used: dict[str, Any] = {}
        zs = []
        for i in range(max(map(len, batch_chunks))):
            row = [chunks[i] if i < len(chunks) else self.empty_chunk() for chunks in batch_chunks]
            fixes = [chunk.fixes for chunk in row]
            self.hijack.fixes = fixes
            used.update({fix.embedding.name: fix.embedding for of_chunk in fixes for fix in of_chunk})
            zs.append(self.process_tokens([chunk.tokens for chunk in row], [chunk.multipliers for chunk in row]))
        self._note_embeddings(used)
        if opts.emphasis != "Original" and any("(" in x or "[" in x for x in texts):
            notes = self.hijack.extra_generation_params
            notes["Emphasis"] = opts.emphasis
        return torch.hstack(zs)

    def _note_embeddings(self, used: dict[str, Any]) -> None:
        if not opts.textual_inversion_add_hashes_to_infotext:
            return
        hashes = [f"{name.replace(':', '').replace(',', '')}: {e.shorthash}" for name, e in used.items() if e.shorthash]
        if hashes:
            earlier = self.hijack.extra_generation_params.get("TI hashes")
            self.hijack.extra_generation_params["TI hashes"] = ", ".join(hashes + ([earlier] if earlier else []))

    def process_tokens(
        self, remade_batch_tokens: list[list[int]], batch_multipliers: list[list[float]]
    ) -> torch.Tensor:
        """One chunk of every prompt through the encoder, [B, 77, D], words weighted."""
        kind = sd_emphasis.get_current_option(opts.emphasis)
        weighting = kind()
        weighting.tokens = remade_batch_tokens
        weighting.multipliers = torch.asarray(batch_multipliers).to(devices.device)
        weighting.z = self.encode_with_transformers(self._ids(remade_batch_tokens))
        weighting.after_transformers()
        return weighting.z

    def _ids(self, rows: list[list[int]]) -> torch.Tensor:
        """What follows the end of a text is padding, where the tokenizer has a token of its own for that."""
        ids = torch.asarray(rows).to(devices.device)
        if self.id_pad != self.id_end:
            for i, row in enumerate(rows):
                ids[i, row.index(self.id_end) + 1 :] = self.id_pad
        return ids


class FrozenCLIPEmbedderWithCustomWordsBase(TextConditionalModel):
    """Holds the checkpoint's own encoder as `wrapped`."""

    def __init__(self, wrapped: Any, hijack: Any) -> None:
        super().__init__()
        self.hijack = hijack
        self.wrapped = wrapped
        self.is_trainable = getattr(wrapped, "is_trainable", False)
        self.input_key = getattr(wrapped, "input_key", "txt")
        self.legacy_ucg_val = None


class FrozenCLIPEmbedderWithCustomWords(FrozenCLIPEmbedderWithCustomWordsBase):
    def __init__(self, wrapped: Any, hijack: Any) -> None:
        super().__init__(wrapped, hijack)
        self.tokenizer = wrapped.tokenizer
        self.comma_token = self.tokenizer.get_vocab().get(",</w>", None)
        self.id_start = self.tokenizer.bos_token_id
        self.id_end = self.tokenizer.eos_token_id
        self.id_pad = self.id_end

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return self.wrapped.tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        skip = opts.CLIP_stop_at_last_layers
        outputs = self.wrapped.transformer(input_ids=tokens, output_hidden_states=-skip)
        if skip <= 1:
            return outputs.last_hidden_state
        return self.wrapped.transformer.text_model.final_layer_norm(outputs.hidden_states[-skip])

    def encode_embedding_init_text(self, init_text: str, nvpt: int) -> torch.Tensor:
        layer = self.wrapped.transformer.text_model.embeddings.token_embedding.wrapped
        ids = self.wrapped.tokenizer(init_text, max_length=nvpt, return_tensors="pt", add_special_tokens=False)[
            "input_ids"
        ]
        return layer(ids.to(layer.weight.device)).squeeze(0)


__all__ = ["PromptChunk", "PromptChunkFix", "TextConditionalModel"]
