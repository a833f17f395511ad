"""Rank and alpha in every way that trainers state them: each layer is scaled as peft, the witness, scales it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from extension_core.errors import DiversityError
from extension_core.weights.layouts import UNET_PREFIX, diffusers_table
from extension_core.weights.lora_checks import check_lora
from extension_core.weights.lora_file import LoraFile, lora_tensors, read_lora
from extension_core.weights.reader import read_header
from tests.unit.test_lora_files import TARGETS, expected_deltas, host_shapes, tiny_in_diffusers

pytestmark = pytest.mark.once

TEXT_TARGETS = ["q_proj", "out_proj", "fc1"]
ROOT = "down_blocks.0.resnets.0"
# As peft 0.13 to 0.18 agree on them; a change at 0.15 in patterns for layers at the root is not among them.
CONFIGS: dict[str, dict[str, Any]] = {
    "one rank and alpha": {},
    "ranks of some layers": {"rank_pattern": {"to_q": 2, "conv1": 6}},
    "alphas of some layers": {"alpha_pattern": {"to_k": 9, f"{ROOT}.conv2": 1.5}},
    "both by one pattern": {"rank_pattern": {"to_q": 2, "to_v": 3}, "alpha_pattern": {"to_q": 10, "to_v": 1}},
    "the first pattern counts": {"rank_pattern": {"attn1.to_q": 2, "to_q": 6}},
    "a pattern that is an expression": {"rank_pattern": {r"attn[12]\.to_[kv]": 2}, "alpha_pattern": {r"ff\..*": 7}},
    "divided by the root": {"use_rslora": True, "rank_pattern": {"to_q": 2}, "alpha_pattern": {"conv1": 3}},
    "a transposed layer's mark, which peft drops": {"fan_in_fan_out": True, "alpha_pattern": {"to_q": 2}},
}


def trained(model: torch.nn.Module, config: Any) -> Any:
    torch.manual_seed(3)
    wrapped = get_peft_model(model, config)  # pyright: ignore[reportArgumentType]
    for name, parameter in wrapped.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
            assert "lora_" in name or "hada_" in name or "lokr_" in name
    return wrapped


def unet_config(case: str) -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, **CONFIGS[case])


def tiny_text(width: int = 16) -> CLIPTextModel:
    torch.manual_seed(4)
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPTextModel(CLIPTextConfig(vocab_size=40, **sizes))


def bare(model: Any) -> dict[str, torch.Tensor]:
    """A component's LoRA as diffusers names its tensors, without prefix."""
    state = get_peft_model_state_dict(model)
    return {key.removeprefix("base_model.model."): tensor.contiguous() for key, tensor in state.items()}


def as_diffusers(folder: Path, parts: dict[str, Any]) -> Path:
    """Tensors and configurations of components as diffusers' `save_lora_weights` (0.34) keeps them in one file."""
    tensors = {f"{part}.{key}": tensor for part, model in parts.items() for key, tensor in bare(model).items()}
    config = {
        f"{part}.{key}": sorted(value) if isinstance(value, set) else value
        for part, model in parts.items()
        for key, value in model.peft_config["default"].to_dict().items()
    }
    text = json.dumps(config, indent=2, sort_keys=True, default=str)
    save_file(tensors, folder / "pytorch_lora_weights.safetensors", metadata={"lora_adapter_metadata": text})
    return folder / "pytorch_lora_weights.safetensors"


def changes(lora: LoraFile) -> dict[str, torch.Tensor]:
    """Kohya's name of a layer -> what its tensors say together, by the formulas of LoRA, LoHa and LoKr."""
    tensors = lora_tensors(lora)
    result = {}
    for layer in lora.layers:
        part = {name.removeprefix(f"{layer}."): t for name, t in tensors.items() if name.startswith(f"{layer}.")}
        if "lora_up.weight" in part:
            rank, whole = part["lora_down.weight"].shape[0], part["lora_up.weight"].flatten(1)
            whole = whole @ part["lora_down.weight"].flatten(1)
        elif "hada_w1_a" in part:
            rank = part["hada_w1_b"].shape[0]
            whole = (part["hada_w1_a"] @ part["hada_w1_b"]) * (part["hada_w2_a"] @ part["hada_w2_b"])
        else:
            rank = part["lokr_w2_b"].shape[0] if "lokr_w2_b" in part else None
            second = part["lokr_w2_a"] @ part["lokr_w2_b"] if rank else part["lokr_w2"]
            whole = torch.kron(part["lokr_w1"].reshape(*part["lokr_w1"].shape, *[1] * (second.ndim - 2)), second)
        scale = part["alpha"].item() / rank if "alpha" in part and rank else 1.0
        result[layer] = whole.flatten() * scale
    return result


def check_unet_changes(lora: LoraFile, model: Any) -> None:
    shapes = host_shapes()
    theirs = {
        "lora_unet_" + name.removeprefix("model.diffusion_model.").removesuffix(".weight").replace(".", "_"): change
        for name, change in expected_deltas(model, shapes).items()
    }
    ours = {layer: change for layer, change in changes(lora).items() if layer.startswith("lora_unet_")}
    assert ours.keys() == theirs.keys()
    for layer, change in theirs.items():
        assert torch.allclose(ours[layer], change.flatten(), atol=2e-5), layer


def check_text_changes(lora: LoraFile, prefix: str, model: Any) -> None:
    before = {key: tensor.clone() for key, tensor in tiny_text().state_dict().items()}
    after = model.merge_and_unload().state_dict()
    theirs = {
        prefix + key.removesuffix(".weight").replace(".", "_"): after[key] - before[key]
        for key in before
        if not torch.equal(after[key], before[key])
    }
    ours = {layer: change for layer, change in changes(lora).items() if layer.startswith(prefix)}
    assert ours.keys() == theirs.keys()
    assert len(theirs) == 6
    for layer, change in theirs.items():
        assert torch.allclose(ours[layer], change.flatten(), atol=2e-5), layer


@pytest.mark.parametrize("case", CONFIGS)
@pytest.mark.parametrize("form", ["peft", "diffusers"])
def test_every_layer_gets_its_own_scale(form: str, case: str, tmp_path: Path) -> None:
    model = trained(tiny_in_diffusers(), unet_config(case))
    if form == "peft":
        model.save_pretrained(tmp_path)
        path = tmp_path / "adapter_model.safetensors"
    else:
        path = as_diffusers(tmp_path, {"unet": model})
    lora = read_lora(read_header(path), list(host_shapes()))
    check_lora(lora, host_shapes())
    assert not lora.is_for_hosts
    check_unet_changes(lora, model)


@pytest.mark.parametrize("sdxl", [False, True])
def test_every_component_gets_its_own_scale(sdxl: bool, tmp_path: Path) -> None:
    """The U-Net, and each text encoder with another rank, alpha and pattern."""
    configs = {
        "text_encoder": LoraConfig(r=2, lora_alpha=7, target_modules=TEXT_TARGETS, alpha_pattern={"fc1": 3}),
        "text_encoder_2": LoraConfig(r=3, lora_alpha=1, target_modules=TEXT_TARGETS, use_rslora=True),
    }
    chosen = configs if sdxl else {"text_encoder": configs["text_encoder"]}
    parts = {"unet": trained(tiny_in_diffusers(), unet_config("both by one pattern"))}
    parts |= {part: trained(tiny_text(), config) for part, config in chosen.items()}
    path = as_diffusers(tmp_path, parts)
    shapes = host_shapes(**({"adm_in_channels": 8} if sdxl else {}))
    lora = read_lora(read_header(path), list(shapes))
    check_lora(lora, shapes)
    check_unet_changes(lora, parts["unet"])
    check_text_changes(lora, "lora_te1_" if sdxl else "lora_te_", parts["text_encoder"])
    if sdxl:
        check_text_changes(lora, "lora_te2_", parts["text_encoder_2"])


def test_a_text_encoder_of_which_nothing_is_stated_has_alpha_equal_to_rank(tmp_path: Path) -> None:
    unet = trained(tiny_in_diffusers(), unet_config("one rank and alpha"))
    text = trained(tiny_text(), LoraConfig(r=2, lora_alpha=2, target_modules=TEXT_TARGETS))
    path = as_diffusers(tmp_path, {"unet": unet})
    stated = read_header(path).metadata["lora_adapter_metadata"]
    tensors = {f"unet.{key}": tensor for key, tensor in bare(unet).items()}
    tensors |= {f"text_encoder.{key}": tensor for key, tensor in bare(text).items()}
    save_file(tensors, path, metadata={"lora_adapter_metadata": stated})
    lora = read_lora(read_header(path), list(host_shapes()))
    check_unet_changes(lora, unet)
    check_text_changes(lora, "lora_te_", text)


@pytest.mark.parametrize(("config", "rank", "alpha"), [(LoHaConfig, 4, 6), (LoKrConfig, 2, 2), (LoKrConfig, 4, 4)])
def test_pefts_loha_and_lokr(config: Any, rank: int, alpha: int, tmp_path: Path) -> None:
    patterns: dict[str, Any] = {"rank_pattern": {"to_k": 1}, "alpha_pattern": {"to_k": 5, "conv1": 9}}
    patterns = patterns if config is LoHaConfig else {}
    model = trained(
        tiny_in_diffusers(), config(r=rank, alpha=alpha, target_modules=["to_q", "to_k", "conv1"], **patterns)
    )
    model.save_pretrained(tmp_path)
    lora = read_lora(read_header(tmp_path / "adapter_model.safetensors"), list(host_shapes()))
    check_lora(lora, host_shapes())
    table, before = flat_names(), {key: tensor.clone() for key, tensor in tiny_in_diffusers().state_dict().items()}
    after = model.merge_and_unload().state_dict()
    theirs = {table[key]: after[key] - before[key] for key in before if not torch.equal(after[key], before[key])}
    ours = changes(lora)
    assert ours.keys() == theirs.keys()
    for layer, change in theirs.items():
        assert torch.allclose(ours[layer], change.flatten(), atol=2e-5), layer


@pytest.mark.parametrize("rank", [2, 4])
def test_a_lokr_of_a_newer_peft_has_its_scale(rank: int, tmp_path: Path) -> None:
    """peft 0.13 did not scale LoKr at all, 0.18 does and writes its version; of a high rank both matrices are whole."""
    model = trained(tiny_in_diffusers(), LoKrConfig(r=rank, alpha=6, target_modules=["to_q"]))
    model.save_pretrained(tmp_path)
    header, config = read_header(tmp_path / "adapter_model.safetensors"), tmp_path / "adapter_config.json"
    stated = json.loads(config.read_text(encoding="utf-8"))
    stated.pop("peft_version", None)
    config.write_text(json.dumps(stated), encoding="utf-8")
    with pytest.raises(DiversityError, match=r"adapter_config\.json beside it in a form that cannot be read"):
        read_lora(header, list(host_shapes()))
    config.write_text(json.dumps({**stated, "alpha": rank}), encoding="utf-8")
    plain = changes(read_lora(header, list(host_shapes())))
    config.write_text(json.dumps({**stated, "peft_version": "0.18.1"}), encoding="utf-8")
    scaled = changes(read_lora(header, list(host_shapes())))
    assert all(torch.allclose(scaled[layer], change * 6 / rank, atol=1e-6) for layer, change in plain.items())


def flat_names() -> dict[str, str]:
    return {
        theirs: "lora_unet_" + ours.removeprefix(UNET_PREFIX).removesuffix(".weight").replace(".", "_")
        for theirs, ours in diffusers_table(host_shapes()).items()
    }


def test_pefts_bias_is_scaled_as_its_matrices(tmp_path: Path) -> None:
    """`lora_bias` came with peft 0.14, and its merge was mended in 0.15.2: b + (alpha / rank) * bias, as it trains."""
    tensors = {"conv_in.lora_A.weight": torch.ones(4, 4, 3, 3), "conv_in.lora_B.weight": torch.ones(32, 4, 1, 1),
               "conv_in.lora_B.bias": torch.arange(32.0)}  # fmt: skip
    save_file({f"base_model.model.{key}": t for key, t in tensors.items()}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 10, "lora_bias": True}))
    lora = read_lora(read_header(tmp_path / "adapter_model.safetensors"), list(host_shapes()))
    check_lora(lora, host_shapes())
    found = lora_tensors(lora)
    assert torch.allclose(found["lora_unet_input_blocks_0_0.diff_b"], torch.arange(32.0) * 10 / 4)
    assert found["lora_unet_input_blocks_0_0.alpha"] == 10


def test_a_bias_for_a_layer_without_one_is_refused(tmp_path: Path) -> None:
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {f"{layer}.lora_A.weight": torch.ones(4, 32), f"{layer}.lora_B.weight": torch.ones(32, 4),
               f"{layer}.lora_B.bias": torch.ones(32)}  # fmt: skip
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(DiversityError, match=r"changes the bias of 1 layers, first lora_unet_input_blocks_1_1_.* none"):
        check_lora(read_lora(read_header(tmp_path / "x.safetensors"), list(host_shapes())), host_shapes())


KOHYA = {"lora_unet_input_blocks_0_0.lora_up.weight": torch.ones(32, 4, 1, 1),
         "lora_unet_input_blocks_0_0.lora_down.weight": torch.ones(4, 4, 3, 3)}  # fmt: skip


def scale_of(tensors: dict[str, torch.Tensor], metadata: dict[str, str], path: Path) -> float:
    save_file(tensors, path, metadata=metadata)
    found = lora_tensors(read_lora(read_header(path), list(host_shapes())))
    alpha = found.get("lora_unet_input_blocks_0_0.alpha")
    return 1.0 if alpha is None else alpha.item() / 4


@pytest.mark.parametrize(("alpha", "metadata", "scale"), [
    # Of what is stated beside, kohya's own loader reads nothing: without an alpha a layer has its rank.
    (None, {"ss_network_alpha": "1", "ss_network_dim": "4"}, 1.0),
    (2.0, {"ss_network_alpha": "1"}, 0.5),
    (2.0, {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 16})}, 0.5),
    (None, {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 16})}, 4.0),
    (None, {"lora_adapter_metadata": json.dumps({"r": 4, "lora_alpha": 2})}, 0.5),
    (None, {"lora_adapter_metadata": json.dumps({"transformer.r": 4, "transformer.lora_alpha": 2})}, 1.0),
    (None, {"lora_adapter_metadata": json.dumps({"unet.r": 4})}, 1.0),
])  # fmt: skip
def test_what_counts_where_several_things_are_stated(
    alpha: float | None, metadata: dict[str, str], scale: float, tmp_path: Path
) -> None:
    own = {} if alpha is None else {"lora_unet_input_blocks_0_0.alpha": torch.tensor(alpha)}
    assert scale_of({**KOHYA, **own}, metadata, tmp_path / "x.safetensors") == scale


def test_a_scale_in_place_of_alpha_is_given_to_every_host(tmp_path: Path) -> None:
    own = {"lora_unet_input_blocks_0_0.scale": torch.tensor(0.25)}
    assert scale_of({**KOHYA, **own}, {}, tmp_path / "x.safetensors") == 0.25


@pytest.mark.parametrize("text", [
    "{", "[]", "null", '{"unet.r": 0, "unet.lora_alpha": 1}', '{"unet.r": "x", "unet.lora_alpha": 1}',
    '{"unet.r": 4, "unet.lora_alpha": 1, "unet.rank_pattern": ["to_q"]}',
    '{"unet.r": 4, "unet.lora_alpha": 1, "unet.rank_pattern": {"(a+)+x": 1}}',
    '{"unet.r": 4, "unet.lora_alpha": 1, "unet.rank_pattern": {".*.*.*.*x": 1}}',
    '{"unet.r": 4, "unet.lora_alpha": 1, "unet.alpha_pattern": {"to_q(": 1}}',
])  # fmt: skip
def test_a_scale_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    save_file(KOHYA, tmp_path / "x.safetensors", metadata={"lora_adapter_metadata": text})
    with pytest.raises(DiversityError, match="states rank and alpha in its header in a form that cannot be read"):
        read_lora(read_header(tmp_path / "x.safetensors"), list(host_shapes()))


def test_tensors_of_another_rank_than_is_stated_are_refused(tmp_path: Path) -> None:
    stated = {"lora_adapter_metadata": json.dumps({"unet.r": 8, "unet.lora_alpha": 16})}
    save_file(KOHYA, tmp_path / "x.safetensors", metadata=stated)
    with pytest.raises(DiversityError, match="states rank 8 for 'input_blocks_0_0', whose tensors have rank 4, so"):
        check_lora(read_lora(read_header(tmp_path / "x.safetensors"), list(host_shapes())), host_shapes())
