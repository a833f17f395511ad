"""Names of U-Nets: ours against diffusers' own conversion and saver, for whole key lists of published models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from safetensors.torch import save_file

from embedded.networks import UNetModel
from extension_core.errors import DiversityError
from extension_core.weights.compatibility import check_unet, extra_tensors_note
from extension_core.weights.layouts import (
    UNET_PREFIX,
    canonical_unet_keys,
    check_named_once,
    diffusers_table,
    layers_per_block,
)
from extension_core.weights.naming import file_keys, named_parameters
from extension_core.weights.reader import open_tensors, read_header
from extension_core.weights.second_model import load_second_model

COMMON: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "model_channels": 320, "num_res_blocks": 2}
# The U-Nets of the published configurations (v1-inference.yaml, v2-inference.yaml, sd_xl_base.yaml).
FULL: dict[str, dict[str, Any]] = {
    "SD 1.5": {"attention_resolutions": (4, 2, 1), "channel_mult": (1, 2, 4, 4), "num_heads": 8, "context_dim": 768},
    "SD 2.1": {
        "attention_resolutions": (4, 2, 1),
        "channel_mult": (1, 2, 4, 4),
        "num_head_channels": 64,
        "context_dim": 1024,
        "use_linear_in_transformer": True,
    },
    "SDXL": {
        "attention_resolutions": (4, 2),
        "channel_mult": (1, 2, 4),
        "num_head_channels": 64,
        "context_dim": 2048,
        "use_linear_in_transformer": True,
        "transformer_depth": (1, 2, 10),
        "num_classes": "sequential",
        "adm_in_channels": 2816,
    },
}
SDXL_CONFIG = {"class_embed_type": None, "addition_embed_type": "text_time", "layers_per_block": 2}
PLAIN_CONFIG = {"class_embed_type": None, "addition_embed_type": None, "layers_per_block": 2}
COUNTS = {"SD 1.5": 686, "SD 2.1": 686, "SDXL": 1680}


def full_unet(name: str) -> dict[str, torch.Tensor]:
    """The state dict of a full-size U-Net without memory, under the names of full checkpoints."""
    with torch.device("meta"):
        unet = UNetModel(**COMMON, **FULL[name])
    return {UNET_PREFIX + key: tensor for key, tensor in unet.state_dict().items()}


@pytest.mark.parametrize("name", FULL)
def test_whole_key_lists_are_mapped_as_diffusers_maps_them(name: str) -> None:
    ours = full_unet(name)
    assert len(ours) == COUNTS[name]
    config = SDXL_CONFIG if name == "SDXL" else PLAIN_CONFIG
    theirs = convert_ldm_unet_checkpoint(dict(ours), config)
    by_tensor = {id(tensor): key for key, tensor in ours.items()}
    expected = {key: by_tensor[id(tensor)] for key, tensor in theirs.items()}
    assert len(expected) == len(ours)
    assert canonical_unet_keys(list(theirs), list(ours)) == expected
    assert canonical_unet_keys([f"unet.{key}" for key in theirs], list(ours)) == {
        f"unet.{key}": canonical for key, canonical in expected.items()
    }


TINY = {"block_out_channels": (32, 64), "norm_num_groups": 8, "cross_attention_dim": 16, "sample_size": 8}
TINY_BLOCKS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}


@pytest.fixture(scope="module")
def live() -> UNetModel:
    """A tiny U-Net as a host holds it, of the same shape as `tiny_in_diffusers`."""
    torch.manual_seed(0)
    return UNetModel(
        4, 4, model_channels=32, num_res_blocks=2, attention_resolutions=(1,), channel_mult=(1, 2), num_heads=2,
        context_dim=16,
    )  # fmt: skip


@pytest.fixture(scope="module")
def theirs() -> UNet2DConditionModel:
    torch.manual_seed(1)
    return UNet2DConditionModel(**TINY, **TINY_BLOCKS, layers_per_block=2, attention_head_dim=2)


def canonical(theirs: UNet2DConditionModel, live: UNetModel) -> dict[str, torch.Tensor]:
    """diffusers' tensors under canonical names, by diffusers' own conversion in the other direction."""
    keys = {UNET_PREFIX + key: torch.zeros(()) for key in live.state_dict()}
    by_tensor = {id(tensor): key for key, tensor in keys.items()}
    state = theirs.state_dict()
    return {
        by_tensor[id(tensor)]: state[key]
        for key, tensor in convert_ldm_unet_checkpoint(dict(keys), dict(theirs.config)).items()
    }


def saved(form: str, theirs: UNet2DConditionModel, live: UNetModel, folder: Path) -> Path:
    """The same U-Net in every form in which users find one."""
    if form in ("diffusers safetensors", "diffusers bin"):
        theirs.save_pretrained(folder, safe_serialization=form.endswith("safetensors"))
        return next(path for path in folder.iterdir() if path.stem == "diffusion_pytorch_model")
    named = canonical(theirs, live)
    variants = {
        "full": named,
        "bare": {key.removeprefix(UNET_PREFIX): t for key, t in named.items()},
        "diffusion_model": {key.removeprefix("model."): t for key, t in named.items()},
        "unet.": {f"unet.{key}": t for key, t in theirs.state_dict().items()},
        "EMA only": {
            **{"model_ema." + key.removeprefix("model.").replace(".", ""): t for key, t in named.items()},
            "model_ema.decay": torch.tensor(0.9),
            "model_ema.num_updates": torch.tensor(1),
        },
        "EMA beside": {
            **named,
            **{"model_ema." + key.removeprefix("model.").replace(".", ""): t + 1 for key, t in named.items()},
        },
    }
    kind, _, suffix = form.partition(" as ")
    path = folder / f"model.{suffix or 'safetensors'}"
    tensors = {key: tensor.clone().contiguous() for key, tensor in variants[kind].items()}
    if suffix:
        torch.save({"state_dict": tensors} if suffix == "ckpt" else tensors, path)
    else:
        save_file(tensors, path)
    return path


FORMS = (
    *("full", "bare", "diffusion_model", "unet.", "EMA only", "EMA beside", "diffusers safetensors", "diffusers bin"),
    *("bare as pt", "bare as bin", "full as ckpt", "unet. as bin"),
)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_second_set(
    form: str, theirs: UNet2DConditionModel, live: UNetModel, tmp_path: Path
) -> None:
    """Bit for bit, read back through the live module."""
    path = saved(form, theirs, live, tmp_path)
    parameters = list(named_parameters(live, UNET_PREFIX))
    expected = canonical(theirs, live)
    header = read_header(path)
    shapes = {name: header.shapes[key] for name, key in file_keys(list(header.shapes), list(expected)).items()}
    check_unet(path.name, shapes, {named.name: tuple(named.tensor.shape) for named in parameters})
    second = load_second_model(read_header(path), parameters, [])
    second.unet.activate(True)
    try:
        assert all(torch.equal(named.tensor, expected[named.name]) for named in parameters)
    finally:
        second.restore()


def shapes_of(live: UNetModel) -> dict[str, tuple[int, ...]]:
    return {UNET_PREFIX + key: tuple(tensor.shape) for key, tensor in live.state_dict().items()}


def canonical_shapes(path: Path, live: UNetModel) -> dict[str, tuple[int, ...]]:
    header = read_header(path)
    return {name: header.shapes[key] for name, key in file_keys(list(header.shapes), list(shapes_of(live))).items()}


def test_missing_tensors_are_counted_and_named_by_their_canonical_names(
    theirs: UNet2DConditionModel, live: UNetModel, tmp_path: Path
) -> None:
    state = {key: t.contiguous() for key, t in theirs.state_dict().items() if not key.startswith("mid_block.resnets.1")}
    save_file(state, tmp_path / "holes.safetensors")
    with pytest.raises(
        DiversityError, match=r"lacks 10 U-Net tensors .* first model\.diffusion_model\.middle_block\.2"
    ):
        check_unet("holes", canonical_shapes(tmp_path / "holes.safetensors", live), shapes_of(live))


def test_extra_tensors_are_told_and_left_out(theirs: UNet2DConditionModel, live: UNetModel, tmp_path: Path) -> None:
    extra = {f"down_blocks.7.attentions.{i}.norm.weight": torch.ones(2) for i in range(4)}
    save_file({key: t.contiguous() for key, t in {**theirs.state_dict(), **extra}.items()}, tmp_path / "m.safetensors")
    found = canonical_shapes(tmp_path / "m.safetensors", live)
    check_unet("m", found, shapes_of(live))
    (note,) = extra_tensors_note("m", found, shapes_of(live))
    assert "has 4 U-Net tensors" in note
    assert note.count("down_blocks.7") == 3


def test_mixed_layouts_are_joined_and_refused_where_they_overlap(live: UNetModel) -> None:
    names = list(shapes_of(live))
    table = {canonical_name: key for key, canonical_name in diffusers_table(names).items()}
    mixed = [table[name] if index % 2 else name for index, name in enumerate(names)]
    found = canonical_unet_keys(mixed, names)
    check_named_once("mixed", found)
    assert sorted(found.values()) == sorted(names)
    twice = canonical_unet_keys([*mixed, *(table[name] for name in names)], names)
    with pytest.raises(DiversityError, match=f"holds {len(names) - len(names) // 2} U-Net tensors under two names"):
        check_named_once("mixed", twice)


def test_a_guidance_embedding_is_refused(live: UNetModel) -> None:
    """The full LCM U-Nets (diffusers: time_embedding.cond_proj) want an input that WebUIs do not feed."""
    torch.manual_seed(2)
    lcm = UNet2DConditionModel(**TINY, **TINY_BLOCKS, layers_per_block=2, attention_head_dim=2, time_cond_proj_dim=8)
    shapes = {name: tuple(lcm.state_dict()[key].shape) for name, key in
              file_keys(list(lcm.state_dict()), list(shapes_of(live))).items()}  # fmt: skip
    with pytest.raises(DiversityError, match="guidance scale as an input"):
        check_unet("lcm", shapes, shapes_of(live))


def test_another_architecture_in_diffusers_names_is_named() -> None:
    sdxl = full_unet("SDXL")
    converted = convert_ldm_unet_checkpoint(dict(sdxl), SDXL_CONFIG)
    host = {key: tuple(tensor.shape) for key, tensor in full_unet("SD 1.5").items()}
    shapes = {name: tuple(converted[key].shape) for name, key in file_keys(list(converted), list(host)).items()}
    with pytest.raises(DiversityError, match=r"is SDXL but the loaded checkpoint is SD 1\.x"):
        check_unet("sdxl", shapes, host)


def test_blocks_per_level_come_from_the_host() -> None:
    assert layers_per_block(full_unet("SDXL")) == 2
    one = UNetModel(4, 4, 32, 1, (2,), channel_mult=(1, 2), num_heads=2, context_dim=16).state_dict()
    assert layers_per_block([UNET_PREFIX + key for key in one]) == 1


def test_a_vae_is_no_unet(tmp_path: Path, live: UNetModel) -> None:
    save_file(
        {"encoder.conv_in.weight": torch.ones(2), "decoder.conv_out.bias": torch.ones(2)}, tmp_path / "v.safetensors"
    )
    with pytest.raises(DiversityError, match="holds no U-Net"):
        check_unet("vae", canonical_shapes(tmp_path / "v.safetensors", live), shapes_of(live))
    with open_tensors(tmp_path / "v.safetensors") as source:
        assert len(list(source.keys())) == 2


def test_a_corrupt_header_is_refused(tmp_path: Path, live: UNetModel) -> None:
    path = saved("bare", UNet2DConditionModel(**TINY, **TINY_BLOCKS, attention_head_dim=2), live, tmp_path)
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    first = next(name for name in header if name != "__metadata__")
    header[first]["data_offsets"][1] += 4
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data[8 + length :]))
    with pytest.raises(DiversityError, match="cannot be read"):
        read_header(path)
