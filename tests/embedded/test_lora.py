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
