"""LoRAs: parsing, and the bookkeeping on each layer that swapped weights need to take with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.embedded.conftest import Host

pytestmark = pytest.mark.a1111
LORA = "a red cat <lora:tiny:1>"


def _layer() -> Any:
    """The query projection of the U-Net's first self-attention, one of those the LoRA changes."""
    from modules import shared

    mapping = shared.sd_model.network_layer_mapping
    return next(mapping[name] for name in mapping if name.startswith("diffusion_model") and name.endswith("attn1_to_q"))


def test_a_lora_changes_the_image_and_is_taken_out_again(host: Host) -> None:
    plain = host.txt2img()
    changed = host.txt2img(prompt=LORA)
    assert not changed.equals(host.txt2img(prompt="a red cat "))
    assert "Lora hashes" in changed.infotext
    assert host.txt2img().equals(plain)


def test_bookkeeping_lies_on_the_layer(host: Host) -> None:
    host.txt2img(steps=1)
    original = _layer().weight.detach().clone()
    host.txt2img(prompt=LORA, steps=1)
    layer = _layer()
    assert layer.network_layer_name.startswith("diffusion_model_input_blocks_")
    assert layer.network_current_names == (("tiny", 1.0, 1.0, None),)
    assert torch.equal(layer.network_weights_backup, original)
    assert not torch.equal(layer.weight, original)
    host.txt2img(steps=1)
    assert _layer().network_current_names == ()
    assert torch.equal(_layer().weight, original)


def test_the_weight_is_rewritten_in_place(host: Host) -> None:
    host.txt2img(steps=1)
    place = _layer().weight.data_ptr()
    host.txt2img(prompt=LORA, steps=1)
    assert _layer().weight.data_ptr() == place


def test_weights_swapped_without_their_bookkeeping_lose_the_lora(host: Host) -> None:
    """The layer believes that it holds the networks already."""
    import networks

    host.txt2img(prompt=LORA, steps=1)
    layer = _layer()
    with torch.no_grad():
        layer.weight.copy_(layer.network_weights_backup)
        layer(torch.zeros(1, layer.weight.shape[1]))
        assert torch.equal(layer.weight, layer.network_weights_backup)
        networks.network_reset_cached_weight(layer)
        layer(torch.zeros(1, layer.weight.shape[1]))
    assert not torch.equal(layer.weight, layer.network_weights_backup)
    host.txt2img(steps=1)


def test_a_changed_weight_without_backup_is_an_error(host: Host) -> None:
    import networks

    host.txt2img(prompt=LORA, steps=1)
    layer = _layer()
    backup, layer.network_weights_backup = layer.network_weights_backup, None
    with pytest.raises(RuntimeError, match="no backup weights found"):
        networks.network_apply_weights(layer)
    layer.network_weights_backup = backup


def test_reading_weights_clears_the_bookkeeping(host: Host) -> None:
    host.txt2img(prompt=LORA, steps=1)
    layer = _layer()
    layer.load_state_dict({k: v.clone() for k, v in layer.state_dict().items()})
    assert layer.network_current_names == ()
    assert layer.network_weights_backup is None
    host.txt2img(steps=1, override_settings={"sd_model_checkpoint": "second"})


@pytest.mark.parametrize(
    ("text", "te", "unet"),
    [("tiny", 1, 1), ("tiny:0.5", 0.5, 0.5), ("tiny:0.5:0.25", 0.5, 0.25), ("tiny:te=0.1:unet=2", 0.1, 2)],
)
def test_multipliers(host: Host, text: str, te: float, unet: float) -> None:
    import networks

    host.txt2img(prompt=f"a red cat <lora:{text}>", steps=1)
    net = networks.loaded_networks[0]
    assert (net.te_multiplier, net.unet_multiplier) == (te, unet)


def test_a_lora_that_is_not_there_is_a_comment(host: Host) -> None:
    from modules import sd_hijack

    plain = host.txt2img(prompt="a red cat")
    assert host.txt2img(prompt="a red cat<lora:nix:1>").equals(plain)
    assert "Lora not found: nix" in sd_hijack.model_hijack.comments


def test_all_layer_kinds_are_patched_at_class_level(host: Host) -> None:
    import networks

    for layer in (
        torch.nn.Linear,
        torch.nn.Conv2d,
        torch.nn.GroupNorm,
        torch.nn.LayerNorm,
        torch.nn.MultiheadAttention,
    ):
        assert getattr(networks.originals, f"{layer.__name__}_forward") is not layer.forward


def test_diffusers_names_are_understood(host: Host) -> None:
    from modules.network_keys import convert_diffusers_name_to_compvis as convert

    assert convert("lora_unet_down_blocks_0_attentions_1_proj_in") == "diffusion_model_input_blocks_2_1_proj_in"
    assert convert("lora_unet_mid_block_resnets_1_conv1") == "diffusion_model_middle_block_2_in_layers_2"
    assert (
        convert("lora_unet_up_blocks_1_resnets_2_conv_shortcut") == "diffusion_model_output_blocks_5_0_skip_connection"
    )
    assert convert("lora_unet_up_blocks_1_upsamplers_0_conv") == "diffusion_model_output_blocks_5_2_conv"
    te = "lora_te_text_model_encoder_layers_3_mlp_fc1"
    assert convert(te) == "transformer_text_model_encoder_layers_3_mlp_fc1"
