"""Weights of 8 bits and fewer: read as they are meant, or refused by the name of their form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from extension_core.errors import DiversityError
from extension_core.weights.reader import open_tensors, read_header
from extension_core.weights.scaled import unscaled

LAYER = "model.diffusion_model.input_blocks.1.1.proj_in"
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
LARGEST = 448.0  # of E4M3


def in_8_bits(weight: torch.Tensor, each_output: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """The usual way: divided by largest / 448, so that the whole range is used."""
    largest = weight.abs().amax(dim=1) if each_output else weight.abs().max()
    scale = largest / LARGEST
    return (weight / (scale[:, None] if each_output else scale)).to(E4M3), scale


WEIGHT = torch.randn((16, 8), generator=torch.Generator().manual_seed(3)) * 0.02
MARKERS = {"scaled_fp8": torch.zeros(2, dtype=E4M3)}


def written(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file({f"{LAYER}.weight": in_8_bits(WEIGHT)[0], f"{LAYER}.bias": torch.ones(16), **tensors}, path)
    return path


@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("layer", [LAYER, LAYER.removeprefix("model."), "down_blocks.0.attentions.0.proj_in"])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_scale_is_multiplied_in(name: str, layer: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    stored, scale = in_8_bits(WEIGHT)
    tensors = {f"{layer}.weight": stored, f"{layer}.{name}": scale.reshape(shape), **MARKERS}
    tensors[f"{layer}.scale_input"] = torch.tensor(0.5)
    save_file(tensors, tmp_path / "m.safetensors")
    assert list(read_header(tmp_path / "m.safetensors").shapes) == [f"{layer}.weight"]
    with open_tensors(tmp_path / "m.safetensors") as source:
        read = source.get(f"{layer}.weight")
    assert torch.equal(read, stored.float() * scale)
    assert (read - WEIGHT).abs().max() <= WEIGHT.abs().max() / 16  # three bits after the point


@pytest.mark.parametrize("shape", [(16,), (16, 1)])
def test_a_scale_for_each_output(shape: tuple[int, ...], tmp_path: Path) -> None:
    stored, scale = in_8_bits(WEIGHT, each_output=True)
    save_file({f"{LAYER}.weight": stored, f"{LAYER}.weight_scale": scale.reshape(shape)}, tmp_path / "m.safetensors")
    with open_tensors(tmp_path / "m.safetensors") as source:
        assert torch.equal(source.get(f"{LAYER}.weight"), stored.float() * scale[:, None])


@pytest.mark.parametrize("dtype", [E4M3, E5M2])
def test_plain_8_bit_floats_are_what_they_are(dtype: torch.dtype, tmp_path: Path) -> None:
    save_file({f"{LAYER}.weight": WEIGHT.to(dtype)}, tmp_path / "m.safetensors")
    with open_tensors(tmp_path / "m.safetensors") as source:
        assert torch.equal(source.get(f"{LAYER}.weight").float(), WEIGHT.to(dtype).float())


@given(st.floats(1e-6, 1e4), st.integers(1, 5), st.integers(1, 5))
def test_no_scale_changes_what_is_meant(factor: float, outputs: int, inputs: int) -> None:
    weight = torch.randn((outputs, inputs), generator=torch.Generator().manual_seed(outputs)) * factor
    stored, scale = in_8_bits(weight)
    assert (unscaled(stored, scale) - weight).abs().max() <= weight.abs().max() / 16


QUANTISED: dict[str, tuple[dict[str, torch.Tensor], str]] = {
    "nf4": ({f"{LAYER}.weight.quant_state.bitsandbytes__nf4": torch.zeros(9, dtype=torch.uint8)}, "bitsandbytes' nf4"),
    "absmax": ({f"{LAYER}.weight.absmax": torch.ones(4)}, "in 4 or 8 bits by bitsandbytes"),
    "int8": ({f"{LAYER}.SCB": torch.ones(16)}, "in int8 by bitsandbytes"),
    "GPTQ": ({f"{LAYER}.qweight": torch.ones((2, 2), dtype=torch.int32)}, "by GPTQ or AWQ"),
    "whole numbers": ({f"{LAYER}.weight": torch.ones((16, 8), dtype=torch.int8)}, "whole numbers"),
    "whole numbers scaled": (
        {f"{LAYER}.weight": torch.ones((16, 8), dtype=torch.int8), f"{LAYER}.weight_scale": torch.tensor(0.1)},
        "quantised by blocks or in whole numbers",
    ),
    "by blocks": ({f"{LAYER}.weight_scale": torch.ones((4, 2))}, "quantised by blocks"),
    "ComfyUI's": ({f"{LAYER}.comfy_quant": torch.zeros(9, dtype=torch.uint8)}, "in a form of ComfyUI's own"),
    "unknown": ({f"{LAYER}.weight_zero_point": torch.zeros(1)}, f"it holds '{LAYER}.weight_zero_point', whose meaning"),
}


@pytest.mark.parametrize("case", QUANTISED)
def test_other_forms_are_refused_by_name(case: str, tmp_path: Path) -> None:
    tensors, sentence = QUANTISED[case]
    path = written(tmp_path / "m.safetensors", tensors)
    with pytest.raises(DiversityError) as caught:
        read_header(path)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("The distilled model 'm.safetensors' cannot be used: ")
    assert str(caught.value).endswith("; choose the model in fp16, bf16 or 8-bit floats.")
