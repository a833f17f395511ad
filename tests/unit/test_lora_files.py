"""LoRA files as peft, diffusers and kohya's trainers save them: every tensor finds its layer, with its strength."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from embedded.networks import UNetModel
from extension_core.errors import DiversityError
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table
from extension_core.weights.lora_checks import check_lora
from extension_core.weights.lora_file import LoraFile, is_lora, lora_tensors, read_lora, uses_text_encoder
from extension_core.weights.reader import read_header

pytestmark = pytest.mark.once

RANK, ALPHA = 4, 6
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
           "time_emb_proj", "conv_shortcut", "conv_in", "conv_out", "linear_1", "downsamplers.0.conv",
           "upsamplers.0.conv"]  # fmt: skip


def tiny_in_diffusers(blocks: int = 2, width: int = 16) -> UNet2DConditionModel:
    torch.manual_seed(1)
    return UNet2DConditionModel(
        block_out_channels=(32, 64),
        norm_num_groups=8,
        cross_attention_dim=width,
        layers_per_block=blocks,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )


def host_shapes(blocks: int = 2, width: int = 16, **extra: Any) -> dict[str, tuple[int, ...]]:
    """Canonical shapes of the same U-Net as a host has it."""
    with torch.device("meta"):
        unet = UNetModel(4, 4, 32, blocks, (1,), (1, 2), num_heads=2, context_dim=width, **extra)
    return {UNET_PREFIX + name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}


def trained(blocks: int = 2, width: int = 16, alpha: int = ALPHA) -> PeftModel:
    """peft's LoRA on every kind of layer, with random instead of zero weights."""
    torch.manual_seed(2)
    model = get_peft_model(
        tiny_in_diffusers(blocks, width), LoraConfig(r=RANK, lora_alpha=alpha, target_modules=TARGETS)
    )
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def expected_deltas(model: PeftModel, shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Canonical name -> what peft's own merging adds to the weight."""
    before = {key: t.clone() for key, t in tiny_like(model).state_dict().items()}
    merged = model.merge_and_unload().state_dict()
    table = diffusers_table(shapes)
    changes = {table[key]: merged[key] - before[key] for key in before if not torch.equal(merged[key], before[key])}
    assert len(changes) > 40
    return changes


def tiny_like(model: PeftModel) -> UNet2DConditionModel:
    config = model.base_model.model.config
    return tiny_in_diffusers(config.layers_per_block, config.cross_attention_dim)


def saved(form: str, model: PeftModel, folder: Path) -> Path:
    """One LoRA as each program saves it."""
    state = {key.removeprefix("base_model.model."): t for key, t in get_peft_model_state_dict(model).items()}
    if form == "peft":
        model.save_pretrained(folder)
        return folder / "adapter_model.safetensors"
    if form == "diffusers":
        StableDiffusionLoraLoaderMixin.save_lora_weights(folder, unet_lora_layers=state)
        return folder / "pytorch_lora_weights.safetensors"
    if form == "diffusers bin":
        StableDiffusionLoraLoaderMixin.save_lora_weights(folder, unet_lora_layers=state, safe_serialization=False)
        return folder / "pytorch_lora_weights.bin"
    if form == "kohya":
        kohya = convert_state_dict_to_kohya({f"unet.{key}": t for key, t in get_peft_model_state_dict(model).items()})
        kohya = {key.replace("lora_unet_base_model_model_", "lora_unet_"): t for key, t in kohya.items()}
        save_file({key: t.contiguous() for key, t in kohya.items()}, folder / "kohya.safetensors")
        return folder / "kohya.safetensors"
    old = {}
    for key, tensor in state.items():
        layer, _, part = key.rpartition(".lora_")
        side = {"A.weight": "down.weight", "B.weight": "up.weight"}[part]
        if layer.endswith((".to_q", ".to_k", ".to_v")):
            path, _, name = layer.rpartition(".")
            old[f"unet.{path}.processor.{name}_lora.{side}"] = tensor
        elif layer.endswith(".to_out.0"):
            old[f"unet.{layer.removesuffix('.to_out.0')}.processor.to_out_lora.{side}"] = tensor
        else:
            old[f"unet.{layer}.lora.{side}"] = tensor
    torch.save(old, folder / "old.pt")
    return folder / "old.pt"


def deltas(lora: LoraFile, shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Canonical name -> up @ down * alpha / rank, each layer found by either of its underscored names."""
    tensors = lora_tensors(lora)
    named = {name.removeprefix(UNET_PREFIX).removesuffix(".weight").replace(".", "_"): name for name in shapes}
    named |= {key.removesuffix(".weight").replace(".", "_"): name for key, name in diffusers_table(shapes).items()}
    result = {}
    for layer in lora.unet_layers:
        up, down = tensors[f"{layer}.lora_up.weight"], tensors[f"{layer}.lora_down.weight"]
        scale = tensors[f"{layer}.alpha"].item() / down.shape[0] if f"{layer}.alpha" in tensors else 1.0
        name = named[layer.removeprefix("lora_unet_")]
        result[name] = (up.flatten(1) @ down.flatten(1)).reshape(shapes[name]) * scale
    return result


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("form", ["peft", "diffusers", "diffusers bin", "diffusers of old", "kohya"])
def test_every_form_changes_the_layers_that_peft_changes(form: str, blocks: int, tmp_path: Path) -> None:
    """By as much as peft's own merge, within rounding; only peft's own file states another alpha than its rank."""
    shapes = host_shapes(blocks)
    model = trained(blocks, alpha=ALPHA if form == "peft" else RANK)
    lora = read_lora(read_header(saved(form, model, tmp_path)), list(shapes))
    check_lora(lora, shapes)
    ours, theirs = deltas(lora, shapes), expected_deltas(model, shapes)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)
    assert not lora.changes_text_encoder


def test_files_that_hosts_read_themselves_are_left_to_them(tmp_path: Path) -> None:
    model = trained(alpha=RANK)
    (tmp_path / "d").mkdir()
    kohya = read_lora(read_header(saved("kohya", model, tmp_path)), list(host_shapes()))
    other = read_lora(read_header(saved("diffusers", model, tmp_path / "d")), list(host_shapes()))
    assert kohya.is_for_hosts
    assert not other.is_for_hosts
    # A host counts blocks as in published models, two a level, so a U-Net with one needs ldm's names.
    assert not read_lora(kohya.header, list(host_shapes(1))).is_for_hosts


def test_stated_alpha_of_newer_diffusers(tmp_path: Path) -> None:
    path = saved("diffusers", trained(alpha=RANK), tmp_path)
    config = {"unet.r": RANK, "unet.lora_alpha": 2 * RANK}
    other = tmp_path / "stated.safetensors"
    save_file(load_file(path), other, metadata={"lora_adapter_metadata": json.dumps(config)})
    shapes = host_shapes()
    plain, stated = (deltas(read_lora(read_header(file), list(shapes)), shapes) for file in (path, other))
    assert all(torch.allclose(stated[name], 2 * plain[name]) for name in plain)


TEXT = "text_model.encoder.layers.0.self_attn"


@pytest.mark.parametrize(("sdxl", "first"), [(False, "lora_te_"), (True, "lora_te1_")])
def test_text_encoders_as_diffusers_saves_them(sdxl: bool, first: str, tmp_path: Path) -> None:
    text = {f"{TEXT}.q_proj.lora_{x}.weight": torch.ones(4, 4) for x in "AB"}
    old = {f"{TEXT}.to_out_lora.{x}.weight": torch.ones(4, 4) for x in ("up", "down")}
    state = {"conv_in.lora_A.weight": torch.ones(RANK, 4, 3, 3), "conv_in.lora_B.weight": torch.ones(32, RANK, 1, 1)}
    if sdxl:
        second = {key: tensor.clone() for key, tensor in text.items()}
        StableDiffusionXLLoraLoaderMixin.save_lora_weights(tmp_path, state, {**text, **old}, second)
    else:
        StableDiffusionLoraLoaderMixin.save_lora_weights(tmp_path, state, {**text, **old})
    shapes = host_shapes(**({"adm_in_channels": 8} if sdxl else {}))
    lora = read_lora(read_header(tmp_path / "pytorch_lora_weights.safetensors"), list(shapes))
    check_lora(lora, shapes)
    layer = "text_model_encoder_layers_0_self_attn"
    wanted = {"lora_unet_input_blocks_0_0", f"{first}{layer}_q_proj", f"{first}{layer}_out_proj"}
    assert set(lora.layers) == (wanted | {f"lora_te2_{layer}_q_proj"} if sdxl else wanted)
    assert lora.changes_text_encoder


@pytest.mark.parametrize(("choice", "changes", "uses"), [
    ("auto", True, True), ("auto", False, False), ("base", True, False), ("own", True, True)])  # fmt: skip
def test_whose_reading_of_the_prompt(choice: str, changes: bool, uses: bool, tmp_path: Path) -> None:
    layers = ["lora_unet_conv_in", *(["lora_te_text_model_encoder_layers_0_mlp_fc1"] if changes else [])]
    save_file({f"{layer}.lora_up.weight": torch.ones(2) for layer in layers}, tmp_path / "l.safetensors")
    assert uses_text_encoder(read_lora(read_header(tmp_path / "l.safetensors"), []), choice) == uses


def test_own_text_encoder_of_a_lora_without_one_is_refused(tmp_path: Path) -> None:
    save_file({"lora_unet_conv_in.lora_up.weight": torch.ones(2)}, tmp_path / "l.safetensors")
    with pytest.raises(DiversityError, match="does not change the text encoder"):
        uses_text_encoder(read_lora(read_header(tmp_path / "l.safetensors"), []), "own")


def test_a_lora_for_another_architecture_is_refused_with_counts_and_names(tmp_path: Path) -> None:
    path = saved("diffusers", trained(width=2048, alpha=RANK), tmp_path)
    shapes = host_shapes(width=768)
    with pytest.raises(DiversityError) as caught:
        check_lora(read_lora(read_header(path), list(shapes)), shapes)
    sentence = str(caught.value)
    assert "is SDXL but the loaded checkpoint is SD 1.x" in sentence
    layers = [part for part in sentence.replace(";", ",").split(", ") if "lora_unet_" in part]
    assert len(layers) == 3
    assert "other shapes for 12 of its" in sentence
    assert "\n" not in sentence


def test_a_lora_of_which_no_layer_is_there_is_refused(tmp_path: Path) -> None:
    layers = [f"lora_unet_strange_blocks_{i}_attn" for i in range(5)]
    tensors = {f"{layer}.lora_{side}.weight": torch.ones(4, 4) for layer in layers for side in ("up", "down")}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(
        DiversityError, match=r"none of its 5 layers, first lora_unet_strange_blocks_0_attn, .*_1_.*_2_"
    ):
        check_lora(read_lora(read_header(tmp_path / "x.safetensors"), list(host_shapes())), host_shapes())


def test_tensors_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    """peft's DoRA measures its magnitudes otherwise than the hosts' loaders, so it must not pass for a LoRA."""
    model = get_peft_model(tiny_in_diffusers(), LoraConfig(r=RANK, target_modules=["to_q"], use_dora=True))
    model.save_pretrained(tmp_path)
    lora = read_lora(read_header(tmp_path / "adapter_model.safetensors"), list(host_shapes()))
    with pytest.raises(DiversityError, match=r"is a DoRA with a magnitude for each output, .*; choose a plain LoRA"):
        check_lora(lora, host_shapes())


def test_layers_that_peft_saves_as_a_whole_are_refused(tmp_path: Path) -> None:
    config = LoraConfig(r=RANK, target_modules=["to_q"], modules_to_save=["conv_in"])
    get_peft_model(tiny_in_diffusers(), config).save_pretrained(tmp_path)
    lora = read_lora(read_header(tmp_path / "adapter_model.safetensors"), list(host_shapes()))
    with pytest.raises(DiversityError, match=r"holds 2 tensors, first base_model\.model\.conv_in.* trained as a whole"):
        check_lora(lora, host_shapes())


def test_bundled_embeddings_are_passed_over(tmp_path: Path) -> None:
    tensors = {"lora_unet_conv_in.lora_up.weight": torch.ones(32, 4), "bundle_emb.x.string_to_param.*": torch.ones(1)}
    save_file(tensors, tmp_path / "l.safetensors")
    lora = read_lora(read_header(tmp_path / "l.safetensors"), list(host_shapes()))
    check_lora(lora, host_shapes())
    assert lora.layers == ("lora_unet_conv_in",)


@pytest.mark.parametrize(("keys", "expected"), [
    (["lora_unet_conv_in.alpha"], True),
    (["lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"], True),
    (["oft_unet_input_blocks_0_0.oft_blocks"], True),
    (["unet.conv_in.lora_A.weight"], True),
    (["base_model.model.conv_in.lora_A.default.weight"], True),
    (["model.diffusion_model.input_blocks.0.0.weight"], False),
    (["down_blocks.0.resnets.0.norm1.weight"], False),
    (["emb_params"], False),
])  # fmt: skip
def test_telling_a_lora_by_its_keys(keys: list[str], expected: bool) -> None:
    assert is_lora(keys) == expected
