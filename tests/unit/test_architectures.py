"""What a model was made for, told by its names and shapes: SDXL's smaller relatives, other levels, other channels."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from extension_core.errors import DiversityError
from extension_core.weights.architectures import architecture
from extension_core.weights.choices import unet_choices
from extension_core.weights.compatibility import check_unet, prediction_type
from extension_core.weights.layouts import UNET_PREFIX
from extension_core.weights.lora_checks import check_lora, prediction_note
from extension_core.weights.lora_file import read_lora
from extension_core.weights.naming import file_keys
from extension_core.weights.reader import read_header
from tests.unit.unets import (
    BK,
    CONFIGS,
    DEPTHS,
    KOALA,
    SIZES,
    Shapes,
    called,
    in_diffusers,
    original,
    published,
    sdxl,
)

pytestmark = pytest.mark.once

RANK = 4


@pytest.mark.parametrize("name", CONFIGS)
def test_published_names_and_shapes(name: str) -> None:
    """By both kinds of names; what the tables here say has as many numbers as the models' pages do."""
    theirs, ours = in_diffusers(original(name)), published(name)
    assert {key: theirs[key] for key in ours} == ours
    assert len(original(name)) == len(ours)
    assert name not in SIZES or round(sum(prod(shape) for shape in ours.values()) / 1e6, -1) == round(SIZES[name], -1)
    assert architecture(original(name)) == called(name)


@pytest.mark.parametrize("name", [*BK, *KOALA])
def test_a_model_with_blocks_removed_is_refused_by_name_on_either_side(name: str) -> None:
    whole = "SD 2.1" if "v2" in name else "SD 1.5"
    base, small = (sdxl(), original(name)) if name in KOALA else (original(whole), original(name))
    of_base = published(whole) if name in BK else in_diffusers(sdxl())
    for file in (small, published(name)):
        assert f"is {called(name)} but the loaded checkpoint is {architecture(base)}; choose two" in refusal(file, base)
    for file in (base, of_base):
        found = refusal(file, small)
        assert f"is {architecture(base)} but the loaded checkpoint is {called(name)}; choose two" in found
    for file in (small, published(name)):
        canonical = {key: file[found] for key, found in file_keys(list(file), list(small)).items()}
        check_unet("x.safetensors", canonical, small)


def refusal(file: Shapes, host: Shapes) -> str:
    canonical = {name: file[key] for name, key in file_keys(list(file), list(host)).items()}
    with pytest.raises(DiversityError) as caught:
        check_unet("x.safetensors", canonical, host)
    return str(caught.value)


@pytest.mark.parametrize("name", DEPTHS)
def test_sdxls_relatives_are_called_by_their_names(name: str) -> None:
    assert architecture(sdxl(name)) == name


@pytest.mark.parametrize("base", ["SDXL", "SSD-1B"])
@pytest.mark.parametrize("other", ["SSD-1B", "Segmind Vega", "SDXL"])
def test_a_smaller_relative_beside_another_is_refused_by_name(base: str, other: str) -> None:
    if base == other:
        check_unet("x.safetensors", sdxl(other), sdxl(base))
        return
    for file in (sdxl(other), in_diffusers(sdxl(other))):
        assert f"is {other} but the loaded checkpoint is {base}; choose two models" in refusal(file, sdxl(base))


def lora_of(shapes: Shapes, keep: str, folder: Path, metadata: dict[str, str] | None = None) -> Path:
    """A kohya LoRA on the attentions of a U-Net whose names contain `keep`."""
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith(("to_q.weight", "attn2.to_k.weight")) and keep in name:
            layer = "lora_unet_" + name.removeprefix(UNET_PREFIX).removesuffix(".weight").replace(".", "_")
            tensors[f"{layer}.lora_down.weight"] = torch.zeros(RANK, shape[1])
            tensors[f"{layer}.lora_up.weight"] = torch.zeros(shape[0], RANK)
    save_file(tensors, folder / "x.safetensors", metadata=metadata)
    return folder / "x.safetensors"


@pytest.mark.parametrize(("made_for", "base"), [("SSD-1B", "SDXL"), ("Segmind Vega", "SDXL"), ("SDXL", "SSD-1B")])
def test_a_lora_for_a_smaller_relative_is_refused_by_name(made_for: str, base: str, tmp_path: Path) -> None:
    """All its layers have a place, or the host would leave out those that have none, and both without a word."""
    path = lora_of(sdxl(made_for), "", tmp_path)
    lora = read_lora(read_header(path), list(sdxl(base)))
    with pytest.raises(DiversityError, match=f"is {made_for} but the loaded checkpoint is {base}; choose a LoRA for"):
        check_lora(lora, sdxl(base))
    check_lora(read_lora(read_header(path), list(sdxl(made_for))), sdxl(made_for))


@pytest.mark.parametrize("part", ["input_blocks.7.1.transformer_blocks.3.", "transformer_blocks.0.", "output_blocks."])
def test_a_lora_of_a_few_layers_says_nothing_of_depth(part: str, tmp_path: Path) -> None:
    for base in ("SDXL", "SSD-1B"):
        path = lora_of(sdxl("SDXL" if part == "output_blocks." and base == "SDXL" else base), part, tmp_path)
        check_lora(read_lora(read_header(path), list(sdxl(base))), sdxl(base))


@pytest.mark.parametrize(("key", "sentence"), [
    ("edm_vpred.sigma_max", "is CosXL, which predicts v over noise levels of its own"),
    ("edm_mean", "is Playground 2.5, which predicts x0 over noise levels of its own"),
])  # fmt: skip
def test_models_with_other_noise_levels_are_refused_by_name(key: str, sentence: str) -> None:
    assert sentence in refusal({**sdxl(), key: ()}, sdxl())


@pytest.mark.parametrize(("second", "base", "kinds"), [
    (8, 4, "an InstructPix2Pix model (8 input channels) but the loaded checkpoint is a text-to-image model (4"),
    (4, 8, "a text-to-image model (4 input channels) but the loaded checkpoint is an InstructPix2Pix model (8"),
    (9, 4, "an inpainting model (9 input channels) but the loaded checkpoint is a text-to-image model (4"),
])  # fmt: skip
def test_other_channels_are_said_of_models_and_of_loras(second: int, base: int, kinds: str, tmp_path: Path) -> None:
    assert f"'x.safetensors' is {kinds}" in refusal(sdxl(channels=second), sdxl(channels=base))
    tensors = {"lora_unet_input_blocks_0_0.lora_down.weight": torch.zeros(RANK, second, 3, 3),
               "lora_unet_input_blocks_0_0.lora_up.weight": torch.zeros(320, RANK, 1, 1)}  # fmt: skip
    save_file(tensors, tmp_path / "x.safetensors")
    lora = read_lora(read_header(tmp_path / "x.safetensors"), list(sdxl()))
    with pytest.raises(DiversityError) as caught:
        check_lora(lora, sdxl(channels=base))
    assert f"'x.safetensors' is for {kinds}" in str(caught.value)


def test_a_lora_of_four_channels_for_an_inpainting_model_is_padded_by_hosts(tmp_path: Path) -> None:
    tensors = {"lora_unet_input_blocks_0_0.lora_down.weight": torch.zeros(RANK, 4, 3, 3),
               "lora_unet_input_blocks_0_0.lora_up.weight": torch.zeros(320, RANK, 1, 1)}  # fmt: skip
    save_file(tensors, tmp_path / "x.safetensors")
    check_lora(read_lora(read_header(tmp_path / "x.safetensors"), list(sdxl())), sdxl(channels=9))


def test_latents_of_another_vae() -> None:
    wide = {**sdxl(), UNET_PREFIX + "out.2.weight": (16, 320, 3, 3), UNET_PREFIX + "out.2.bias": (16,)}
    assert "makes latents of 16 channels but the loaded checkpoint 4; choose two models" in refusal(wide, sdxl())


@pytest.mark.parametrize(("keys", "name"), [
    (["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"], "Flux or a relative of it"),
    (["model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight"], "SD 3"),
    (["blocks.0.self_attn.q.weight"], "Wan"),
    (["control_model.input_blocks.0.0.weight", "control_model.zero_convs.0.0.weight"], "ControlNet"),
    (["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"], "ControlNet"),
    (["lora_controlnet", "input_blocks.1.1.proj_in.up", "input_blocks.1.1.proj_in.down"], "ControlNet"),
    (["ip_adapter.1.to_k_ip.weight", "image_proj.proj.weight"], "IP-Adapter"),
])  # fmt: skip
def test_models_of_other_kinds_are_refused_by_name(keys: list[str], name: str) -> None:
    sentence = refusal(dict.fromkeys(keys, (8, 8)), sdxl())
    assert f"'x.safetensors' is for {name} but" in sentence or f"'x.safetensors' is {name} but" in sentence
    assert sentence.endswith("the loaded checkpoint is SDXL; choose two models of the same architecture.")


@pytest.mark.parametrize(("metadata", "stated"), [
    ({"modelspec.prediction_type": "epsilon"}, "eps"),
    ({"modelspec.prediction_type": "v"}, "v"),
    ({"modelspec.predict_key": "v"}, "v"),
    ({"ss_v_parameterization": "True"}, "v"),
    ({"ss_v_parameterization": "None", "modelspec.prediction_type": ""}, None),
    ({}, None),
])  # fmt: skip
def test_a_lora_for_another_prediction_gets_a_note(
    metadata: dict[str, str], stated: str | None, tmp_path: Path
) -> None:
    assert prediction_type(metadata, {}, None) == stated
    header = read_header(lora_of(sdxl(), "input_blocks.4", tmp_path, metadata))
    check_lora(read_lora(header, list(sdxl())), sdxl())
    for base in ("eps", "v"):
        note = prediction_note(header, base)
        assert bool(note) == (stated is not None and stated != base)
        assert (
            not note
            or f"trained on a model that predicts {stated}, but the loaded checkpoint predicts {base}" in note[0]
        )


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_model_in_parts_is_one_entry_and_refused_by_that_name(suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    stem = "diffusion_pytorch_model.fp16"
    parts = [folder / f"{stem}-0000{i}-of-00003{suffix}" for i in (1, 2, 3)]
    for path in parts:
        save_file({"down_blocks.0.resnets.0.norm1.weight": torch.ones(2)}, path)
    listed = unet_choices([tmp_path], [])
    assert [choice.path for choice in listed] == parts[:1]
    for i, path in enumerate(parts, 1):
        with pytest.raises(DiversityError, match=f"it is part {i} of 3 of a model; download the model as one file"):
            read_header(path)


def test_a_model_in_one_part_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model-00001-of-00001.safetensors"
    save_file({"a": torch.ones(2)}, path)
    assert list(read_header(path).shapes) == ["a"]
