"""A fine-tuned checkpoint's style on the distilled model: as with a checkpoint in which the sum was written out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.e2e.client import Pair, WebUI
from tests.e2e.test_forms import file_of, placed
from tests.e2e.test_forms import settings as form_settings

ORIGIN = "ddorigin"


def settings(pair: Pair, **values: Any) -> dict[str, Any]:
    return form_settings(pair.distilled, **{"switch_step": 2, "carry_from": ORIGIN, **values})


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    return {key: t.float() if t.is_floating_point() else t for key, t in load_file(path).items()}


@pytest.fixture
def origin(webui: WebUI, pair: Pair) -> Iterator[dict[str, torch.Tensor]]:
    """The pair's base before a fine-tune that changed a tenth of every weight of U-Net and text encoder."""
    path = file_of(webui, pair.base)
    noise = torch.Generator().manual_seed(7)
    tensors = {}
    for key, tensor in _tensors(path).items():
        changed = key.startswith(("model.diffusion_model.", "cond_stage_model.transformer.text_model.encoder."))
        if changed and key.endswith(".weight"):
            tensor = tensor + 0.1 * tensor.std() * torch.randn(tensor.shape, generator=noise)
        tensors[key] = tensor
    with listed(webui, path.with_name(f"{ORIGIN}.safetensors"), tensors):
        yield tensors


@contextmanager
def listed(webui: WebUI, path: Path, tensors: dict[str, torch.Tensor]) -> Iterator[str]:
    with placed(webui, path):
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        yield path.stem


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_it_is_the_sum_written_out(webui: WebUI, pair: Pair, origin: dict[str, torch.Tensor], strength: float) -> None:
    """distilled + s (loaded - origin), alone as loaded natively and in hybrid; the text encoder's part included."""
    loaded, distilled = _tensors(file_of(webui, pair.base)), _tensors(file_of(webui, pair.distilled))
    total = {
        key: own + strength * (loaded[key] - origin[key]) if own.is_floating_point() and key in loaded else own
        for key, own in distilled.items()
    }
    alone = webui.generate(pair.base, settings(pair, switch_step=0, carry_strength=strength))
    both = webui.generate(pair.base, settings(pair, carry_strength=strength))
    plain = webui.generate(pair.base, settings(pair, carry_from=""))
    with listed(webui, file_of(webui, pair.base).with_name("ddtotal.safetensors"), total) as written:
        native = webui.generate(written)
        by_file = webui.generate(pair.base, {**settings(pair), "distilled_model": written, "carry_from": ""})
    rounding = max(alone.distance(native), both.distance(by_file))
    assert rounding < 0.3  # a host that stores in fewer bits rounds the sum
    assert rounding * 10 < min(both.distance(plain), alone.distance(both))


def test_0_is_the_distilled_model_and_the_base_has_nothing_to_give_itself(
    webui: WebUI, pair: Pair, origin: dict[str, torch.Tensor]
) -> None:
    plain = webui.generate(pair.base, settings(pair, carry_from=""))
    assert webui.generate(pair.base, settings(pair, carry_strength=0)).same_as(plain)
    assert webui.generate(pair.base, settings(pair, carry_from=pair.base)).same_as(plain)
    other = webui.generate(pair.base, settings(pair))
    assert not other.same_as(plain)
    assert webui.generate(pair.base, settings(pair, carry_from="")).same_as(plain)
    assert webui.generate(pair.base, settings(pair)).same_as(other)


def test_the_prompts_loras_go_with_it(webui: WebUI, pair: Pair, origin: dict[str, torch.Tensor]) -> None:
    """Whether they are in the host's weights when the style is taken or not."""
    request = {"prompt": f"a red cat <lora:{pair.lora}:0.7>"}
    webui.generate(pair.base).must_work()
    first = webui.generate(pair.base, settings(pair), **request)
    webui.generate(pair.base, settings(pair, carry_strength=0.5)).must_work()
    webui.generate(pair.base, **request).must_work()
    assert webui.generate(pair.base, settings(pair), **request).same_as(first)


def test_the_infotext_tells_it_and_the_base_is_as_it_was(
    webui: WebUI, pair: Pair, origin: dict[str, torch.Tensor]
) -> None:
    webui.generate(pair.base).must_work()
    before = webui.fingerprint()
    reply = webui.generate(pair.base, settings(pair, carry_strength=0.5)).must_work()
    assert f"DD carry from: {ORIGIN}" in reply.infotext
    assert "DD carry strength: 0.5" in reply.infotext
    webui.generate(pair.base).must_work()
    assert webui.fingerprint() == before


@pytest.mark.parametrize("kind", ["unknown", "a LoRA", "LoRA as distilled model", "lacks tensors"])
def test_bad_origins_are_refused(webui: WebUI, pair: Pair, kind: str) -> None:
    lora = f"LoRA: {pair}_form_lora"
    asked, sentence = {
        "unknown": ({"carry_from": "no_such_model"}, "The origin to carry from 'no_such_model' is not among"),
        "a LoRA": ({"carry_from": lora}, "is a LoRA; choose a checkpoint"),
        "LoRA as distilled model": ({"distilled_model": lora, "carry_from": pair.base}, "has its style already"),
        "lacks tensors": (
            {"carry_from": "ddpoor"},
            "The origin to carry from 'ddpoor.safetensors' lacks 2 U-Net tensors",
        ),
    }[kind]
    poor = load_file(file_of(webui, pair.base))
    poor = {key: tensor for key, tensor in poor.items() if not key.startswith("model.diffusion_model.out.2.")}
    with listed(webui, file_of(webui, pair.base).with_name("ddpoor.safetensors"), poor):
        reply = webui.generate(pair.base, {**settings(pair, carry_from=""), **asked})
    assert reply.status == 422, reply.sentence
    assert sentence in reply.sentence
