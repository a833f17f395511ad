"""What a LoRA makes of layers of every kind, by the host's own network modules; the host's own merge is the witness."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from extension_core.errors import DiversityError
from extension_core.weights.lora_file import read_lora
from extension_core.weights.naming import NamedParameter, named_parameters
from extension_core.weights.reader import read_header
from tests.embedded.conftest import Host

pytestmark = pytest.mark.a1111


def change(layer: torch.nn.Module, weight: torch.Tensor, seed: int) -> Any:
    """A host's network module of rank 2 for a weight [out, in, ...] (its module's, or a part of it)."""
    network = sys.modules["network"]
    generator = torch.Generator().manual_seed(seed)
    net = network.Network("n", None)
    net.te_multiplier = net.unet_multiplier = 0.5
    factors = {
        "lora_up.weight": torch.randn(weight.shape[0], 2, generator=generator),
        "lora_down.weight": torch.randn(2, *weight.shape[1:], generator=generator),
    }
    return network.NetworkModule(net, network.NetworkWeights("k", "k", factors, layer))


def named(layer: torch.nn.Module) -> dict[str, NamedParameter]:
    return {parameter.name: parameter for parameter in named_parameters(layer, "")}


def merged(host: Host, layer: torch.nn.Module, modules: dict[str, Any]) -> Any:
    from extension_core.hosts.a1111.distilled_lora import _Merged

    return _Merged(modules, list(named(layer).values()))


def test_a_plain_layer_and_one_with_a_network_in_it(host: Host) -> None:
    """The prompt's network is in the live weight; what counts is the copy beside it."""
    layer: Any = torch.nn.Linear(4, 3)
    layer.network_layer_name = "x"
    module = change(layer, layer.weight, seed=1)
    clean = layer.weight.detach().clone()
    expected = clean + module.calc_updown(clean)[0]
    values = merged(host, layer, {"x": module})
    assert torch.equal(values.value("weight"), expected)
    assert values.value("bias") is None
    layer.network_weights_backup = clean.clone()
    layer.weight.data += 1
    assert torch.equal(merged(host, layer, {"x": module}).value("weight"), expected)
    assert torch.equal(layer.weight.data, clean + 1)


def test_a_layer_that_the_lora_leaves_alone(host: Host) -> None:
    layer: Any = torch.nn.Linear(4, 3)
    assert merged(host, layer, {}).value("weight") is None
    layer.network_layer_name = "x"
    assert merged(host, layer, {"y": None}).value("weight") is None


def test_fp8_is_made_from_the_half_precision_copy(host: Host) -> None:
    """As the host's loader does (network_apply_weights, 1.10.1), or every merge would lose what fp8 has lost."""
    layer: Any = torch.nn.Linear(4, 3)
    layer.network_layer_name = "x"
    layer.fp16_weight = layer.weight.detach().half()
    layer.weight.data = layer.weight.data.to(torch.float8_e4m3fn)
    module = change(layer, layer.fp16_weight, seed=2)
    value = merged(host, layer, {"x": module}).value("weight")
    change_made = module.calc_updown(layer.fp16_weight)[0]
    assert torch.equal(value, (layer.fp16_weight.to(change_made.dtype) + change_made).half())


def test_an_inpainting_models_first_layer(host: Host) -> None:
    """9 channels, of which a LoRA of the plain model changes the first 4."""
    layer: Any = torch.nn.Conv2d(9, 3, 3)
    layer.network_layer_name = "x"
    part = layer.weight.detach()[:, :4]
    module = change(layer, part, seed=3)
    update = module.calc_updown(part)[0]
    module.calc_updown = lambda _weight: (update, None)
    value = merged(host, layer, {"x": module}).value("weight")
    assert torch.equal(value[:, 4:], layer.weight[:, 4:])
    assert torch.equal(value[:, :4], part + update)


@pytest.mark.parametrize("parts", ["qkv and out", "out missing"])
def test_open_clips_attention_is_changed_in_all_its_parts_or_not_at_all(host: Host, parts: str) -> None:
    """SDXL's and SD 2.x's text encoders; the host wants all four."""
    layer: Any = torch.nn.MultiheadAttention(4, 2)
    layer.network_layer_name = "attn"
    layer.out_proj.network_layer_name = "attn_out_proj"
    thirds = layer.in_proj_weight.detach().chunk(3)
    named_thirds = list(zip("qkv", thirds, strict=True))
    modules = {f"attn_{x}_proj": change(layer, third, seed=i) for i, (x, third) in enumerate(named_thirds)}
    if parts == "qkv and out":
        modules["attn_out_proj"] = change(layer, layer.out_proj.weight.detach(), seed=9)
    values = merged(host, layer, modules)
    changed = {name: value for name in named(layer) if (value := values.value(name)) is not None}
    if parts == "out missing":
        assert changed == {}
        return
    assert changed.keys() == {"in_proj_weight", "out_proj.weight"}
    updates = [modules[f"attn_{x}_proj"].calc_updown(third)[0] for x, third in named_thirds]
    assert torch.equal(changed["in_proj_weight"], layer.in_proj_weight.detach() + torch.vstack(updates))
    out = layer.out_proj.weight.detach()
    assert torch.equal(changed["out_proj.weight"], out + modules["attn_out_proj"].calc_updown(out)[0])


def test_a_bias_change(host: Host) -> None:
    layer: Any = torch.nn.Linear(4, 3)
    layer.network_layer_name = "x"
    module = change(layer, layer.weight, seed=4)
    module.calc_updown = lambda weight: (torch.ones_like(weight), torch.full((3,), 0.25))
    assert torch.equal(merged(host, layer, {"x": module}).value("bias"), layer.bias.detach() + 0.25)
    bare: Any = torch.nn.Linear(4, 3, bias=False)
    bare.network_layer_name = "x"
    values = merged(host, bare, {"x": module})
    assert values.value("weight") is None
    with pytest.raises(DiversityError, match=r"does not fit 1 layers .* first x \(it adds a bias"):
        values.check("lora")


def test_a_bias_that_the_hosts_loader_passes_over(host: Host) -> None:
    """Beside a plain LoRA; and in an attention that keeps its biases in one it is refused."""
    from extension_core.hosts.a1111.distilled_lora import _Merged, _without_biases

    layer: Any = torch.nn.Linear(4, 3)
    layer.network_layer_name = "x"
    module = change(layer, layer.weight, seed=4)
    values = _Merged({"x": module}, list(named(layer).values()), {"k": torch.full((3,), 0.25)})
    assert torch.equal(values.value("bias"), layer.bias.detach() + 0.25)
    plain = merged(host, layer, {"x": module})
    assert torch.equal(values.value("weight"), plain.value("weight"))
    layers = ("lora_unet_a", "lora_unet_b", "lora_te_c")
    tensors = {f"{layer}.diff_b": torch.ones(2) for layer in layers}
    rest, biases = _without_biases({**tensors, "lora_unet_a.lora_up.weight": torch.ones(2)})
    assert set(rest) == {"lora_unet_a.lora_up.weight", "lora_te_c.diff"}
    assert set(biases) == set(layers)
    alone = [NamedParameter(f"model.diffusion_model.out.2.{kind}", layer, kind, layer) for kind in ("weight", "bias")]
    values = _Merged({}, alone, {"lora_unet_out_2": torch.full((3,), 0.5)})
    assert values.value(alone[0].name) is None
    bias = values.value(alone[1].name)
    assert bias is not None
    assert torch.equal(bias, layer.bias.detach() + 0.5)
    attention: Any = torch.nn.MultiheadAttention(4, 2)
    attention.network_layer_name = "attn"
    parts = {f"attn_{x}_proj": change(attention, torch.zeros(4, 4), seed=1) for x in ("q", "k", "v", "out")}
    refused = _Merged(parts, list(named(attention).values()), {"k": torch.ones(4)})
    assert refused.value("in_proj_weight") is None
    with pytest.raises(DiversityError, match="it changes biases that the model keeps in one with others"):
        refused.check("lora")


def test_shapes_that_do_not_fit_are_told(host: Host) -> None:
    layer: Any = torch.nn.Linear(4, 3)
    layer.network_layer_name = "x"
    values = merged(host, layer, {"x": change(layer, torch.zeros(7, 5), seed=5)})
    assert values.value("weight") is None
    with pytest.raises(DiversityError, match="does not fit 1 layers of the loaded checkpoint, first x"):
        values.check("lora")


def test_layers_that_the_host_leaves_out_are_told(host: Host, tmp_path: Path) -> None:
    """It passes over them without a word."""
    from modules import shared

    from extension_core.hosts.a1111 import distilled_lora as merging
    from extension_core.hosts.a1111 import model

    query = next(named.name for named in model.unet_parameters() if named.name.endswith("attn1.to_q.weight"))
    layer = "lora_unet_" + query.removeprefix("model.diffusion_model.").removesuffix(".weight").replace(".", "_")
    out, inputs = next(named.tensor.shape for named in model.unet_parameters() if named.name == query)
    tensors = {f"{layer}.lora_up.weight": torch.ones(out, 2), f"{layer}.lora_down.weight": torch.ones(2, inputs)}
    for i in range(5):
        tensors |= {f"lora_unet_elsewhere_{i}.lora_{x}.weight": torch.ones(2, 2) for x in ("up", "down")}
    save_file(tensors, tmp_path / "l.safetensors")
    assert shared.sd_model is not None
    unet = model.unet_parameters()
    lora = read_lora(read_header(tmp_path / "l.safetensors"), [named.name for named in unet])
    assert model.live_model().check_file(tmp_path / "l.safetensors", "auto") is False
    second = merging.load_lora(lora, 0.5, unet, [])
    assert len(second.unet) == 1
    (note,) = second.notes
    assert "has 5 of 6 layers that the loaded checkpoint lacks, first lora_unet_elsewhere_0, " in note
