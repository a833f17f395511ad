"""The styles in which programs name a LoRA's tensors: each is read as its kohya twin, or refused by its right name.

`key_styles/*.tsv` hold keys as public trainers and converters write them, and which of them do.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from embedded.networks import UNetModel
from extension_core.errors import DiversityError
from extension_core.weights.architectures import other_architecture
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table
from extension_core.weights.lora_checks import check_lora
from extension_core.weights.lora_file import is_lora, lora_tensors, read_lora
from extension_core.weights.reader import read_header

pytestmark = pytest.mark.once

STYLES = Path(__file__).with_name("key_styles")
RANK = 4


def rows(name: str) -> list[list[str]]:
    lines = (STYLES / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines[1:]]


READ = rows("read.tsv")
OTHERS = rows("others.tsv")


@cache
def unet_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Canonical shapes of SD 1.5's U-Net, and of one with SDXL's added conditions."""
    extra: dict[str, Any] = {"adm_in_channels": 2816} if model == "sdxl" else {}
    with torch.device("meta"):
        unet = UNetModel(4, 4, 320, 2, (1, 2, 4), (1, 2, 4, 4), num_heads=8, context_dim=768, **extra)
    return {UNET_PREFIX + name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}


def shape_of(name: str, model: str) -> tuple[int, ...]:
    """Shape of a tensor by kohya's name, at rank 4 and factor 4."""
    layer, _, part = name.partition(".")
    weight = layer_shape(layer, model)
    out, inputs = weight[0], weight[1] if len(weight) > 1 else 1
    kernel = weight[2:]
    return {
        "lora_down.weight": (RANK, inputs, *kernel),
        "lora_up.weight": (out, RANK, *(1 for _ in kernel)),
        "alpha": (),
        "hada_w1_a": (out, RANK),
        "hada_w2_a": (out, RANK),
        "hada_w1_b": (RANK, inputs * 9 if kernel else inputs),
        "hada_w2_b": (RANK, inputs * 9 if kernel else inputs),
        "lokr_w1": (4, 4),
        "lokr_w2_a": (out // 4, RANK),
        "lokr_w2_b": (RANK, inputs // 4),
        "diff": weight,
        "diff_b": (out,),
        "w_norm": weight,
        "b_norm": (out,),
    }[part]


def layer_shape(layer: str, model: str) -> tuple[int, ...]:
    if layer.startswith("lora_te"):
        return (768, 768) if "self_attn" in layer else (3072, 768)
    shapes = unet_shapes(model)
    weights = {name: shape for name, shape in shapes.items() if name.endswith(".weight")}
    named = {name.removeprefix(UNET_PREFIX): shape for name, shape in weights.items()}
    named |= {theirs: weights[ours] for theirs, ours in diffusers_table(weights).items()}
    flat = {name.removesuffix(".weight").replace(".", "_"): shape for name, shape in named.items()}
    return flat[layer.removeprefix("lora_unet_")]


def written(style: str, folder: Path) -> tuple[Path, Path, str]:
    """The same tensors in one style and under kohya's names."""
    chosen = [(model, key, kohya) for found, model, key, kohya, _ in READ if found == style]
    generator = torch.Generator().manual_seed(7)
    tensors = {kohya: torch.randn(shape_of(kohya, model), generator=generator) for model, _, kohya in chosen}
    save_file({key: tensors[kohya] for _, key, kohya in chosen}, folder / "style.safetensors")
    save_file(tensors, folder / "kohya.safetensors")
    return folder / "style.safetensors", folder / "kohya.safetensors", chosen[0][0]


@pytest.mark.parametrize("style", dict.fromkeys(row[0] for row in READ))
def test_each_style_is_read_as_its_kohya_twin(style: str, tmp_path: Path) -> None:
    """The same tensors under the same names, alphas among them; nothing is left out."""
    path, twin, model = written(style, tmp_path)
    shapes = unet_shapes(model)
    header = read_header(path)
    assert is_lora(header.shapes)
    loras = [read_lora(read_header(file), list(shapes)) for file in (path, twin)]
    for lora in loras:
        check_lora(lora, shapes)
    ours, theirs = (lora_tensors(lora) for lora in loras)
    assert ours.keys() == theirs.keys() == set(loras[1].header.shapes)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("architecture", "key", "source"), OTHERS, ids=[f"{row[0]}, {row[2]}" for row in OTHERS])
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_loras_for_others_are_refused_by_their_right_names(
    architecture: str, key: str, source: str, model: str, tmp_path: Path
) -> None:
    """A file of one such key among the text encoder's, which Flux and SD 3 share with SDXL."""
    text = "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"
    save_file({key: torch.ones(4, 64), text: torch.ones(4, 768)}, tmp_path / "x.safetensors")
    lora, shapes = read_lora(read_header(tmp_path / "x.safetensors"), list(unet_shapes(model))), unet_shapes(model)
    with pytest.raises(DiversityError) as caught:
        check_lora(lora, shapes)
    assert str(caught.value) == (
        f"The LoRA 'x.safetensors' is for {architecture} but the loaded checkpoint is SD 1.x; choose a LoRA for SD 1.x."
    )
    assert source


def test_no_layer_of_stable_diffusions_unets_is_taken_for_another_architecture(tmp_path: Path) -> None:
    """Every layer, as a norm and as a LoRA, in both layouts."""
    shapes = unet_shapes("sdxl")
    weights = [name.removeprefix(UNET_PREFIX) for name in shapes if name.endswith(".weight")]
    table = [name for name in diffusers_table(shapes) if name.endswith(".weight")]
    for prefix in ("", "unet.", "diffusion_model.", "model.diffusion_model.", "base_model.model."):
        assert other_architecture(prefix + name for name in weights + table) is None
    flat = [f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}.w_norm" for name in weights + table]
    assert other_architecture(flat) is None


@pytest.mark.parametrize(("key", "sentence"), [
    ("unet:0:up", "is in the form of cloneofsimo's trainer, which numbers layers"),
    ("lora_unet_conv_in.bias_indices", "bias_indices, of a kind that Diversity Distillation does not know; convert it"),
    ("unet.conv_in.lora_magnitude_vector", "is a DoRA with a magnitude for each output"),
    ("unet.conv_in.lora_magnitude_vector.weight", "is a DoRA with a magnitude for each output"),
    ("base_model.model.conv_in.weight", "first base_model.model.conv_in.weight, of layers that were trained as a wh"),
])  # fmt: skip
def test_what_no_host_would_read_is_refused_by_name(key: str, sentence: str, tmp_path: Path) -> None:
    good = {"lora_unet_conv_in.lora_up.weight": torch.ones(320, 4, 1, 1),
            "lora_unet_conv_in.lora_down.weight": torch.ones(4, 4, 3, 3)}  # fmt: skip
    save_file({key: torch.ones(320), **({} if ":" in key else good)}, tmp_path / "x.safetensors")
    shapes = unet_shapes("sd1")
    assert is_lora(read_header(tmp_path / "x.safetensors").shapes)
    with pytest.raises(DiversityError) as caught:
        check_lora(read_lora(read_header(tmp_path / "x.safetensors"), list(shapes)), shapes)
    assert sentence in str(caught.value)


def test_a_tensor_under_two_styles_names(tmp_path: Path) -> None:
    names = ["lora_unet_input_blocks_0_0.alpha", "unet.conv_in.alpha"]
    down = {
        "unet.conv_in.lora_A.weight": torch.ones(4, 4, 3, 3),
        "unet.conv_in.lora_B.weight": torch.ones(320, 4, 1, 1),
    }
    save_file({**down, **{name: torch.tensor(1.0) for name in names}}, tmp_path / "x.safetensors")
    shapes = unet_shapes("sd1")
    with pytest.raises(
        DiversityError, match=r"holds 1 tensors, first lora_unet_input_blocks_0_0\.alpha, under two names"
    ):
        check_lora(read_lora(read_header(tmp_path / "x.safetensors"), list(shapes)), shapes)


@pytest.mark.parametrize(("shape", "is_read"), [((1, 320, 1, 1), True), ((320, 1, 1, 1), False), ((320,), False)])
def test_magnitudes_by_input_are_the_hosts_and_others_refused(
    shape: tuple[int, ...], is_read: bool, tmp_path: Path
) -> None:
    layer = "lora_unet_output_blocks_3_0_out_layers_3"
    tensors = {f"{layer}.lora_up.weight": torch.ones(1280, 4, 1, 1), f"{layer}.dora_scale": torch.ones(shape),
               f"{layer}.lora_down.weight": torch.ones(4, 1280, 3, 3)}  # fmt: skip
    save_file(tensors, tmp_path / "x.safetensors")
    shapes = unet_shapes("sd1")
    lora = read_lora(read_header(tmp_path / "x.safetensors"), list(shapes))
    if is_read:
        check_lora(lora, shapes)
        assert lora.is_for_hosts
        return
    with pytest.raises(DiversityError, match="is a DoRA with a magnitude for each output"):
        check_lora(lora, shapes)
