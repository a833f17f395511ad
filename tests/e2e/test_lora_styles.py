"""A LoRA as other programs name and scale it: the same image, bit for bit, as its kohya twin makes on the host."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from extension_core.weights.layouts import diffusers_table
from tests.e2e.client import Pair, WebUI
from tests.e2e.forms import PREFIX, _text_layer
from tests.e2e.test_forms import file_of, lora_folder, placed, settings

Tensors = dict[str, torch.Tensor]
TEXT = {"lora_te_": 0, "lora_te1_": 0, "lora_te2_": 1}


def dotted(layer: str, unet: dict[str, str], unet_prefix: str, text_prefixes: tuple[str, str]) -> str:
    """A layer by kohya's name in another program's words."""
    if layer in unet:
        return unet_prefix + unet[layer]
    prefix = next(prefix for prefix in TEXT if layer.startswith(prefix))
    return text_prefixes[TEXT[prefix]] + _text_layer("lora_te_" + layer.removeprefix(prefix))


def comfyui(tensors: Tensors, unet: dict[str, str], path: Path) -> None:
    texts = ("text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer.")
    renamed(tensors, unet, "diffusion_model.", texts, path)


def onetrainer(tensors: Tensors, unet: dict[str, str], path: Path) -> None:
    renamed(tensors, unet, "unet.", ("clip_l.", "clip_g."), path)


def renamed(tensors: Tensors, unet: dict[str, str], prefix: str, texts: tuple[str, str], path: Path) -> None:
    parts = {key: key.partition(".") for key in tensors}
    save_file({f"{dotted(a, unet, prefix, texts)}.{b}": tensors[key] for key, (a, _, b) in parts.items()}, path)


def stated(tensors: Tensors, unet: dict[str, str], path: Path) -> None:
    """As diffusers states it: half of a change with twice the alpha, a quarter of the text encoder's four times."""
    texts, result, doubled = ("text_encoder.", "text_encoder_2."), {}, {}
    for key, tensor in tensors.items():
        layer, _, part = key.partition(".")
        name = dotted(layer, unet, "unet.", texts)
        if part == "lora_down.weight":
            result[f"{name}.lora_A.weight"] = tensor
        elif part == "lora_up.weight":
            is_doubled = name.startswith("unet.") and "to_q" in name
            factor = (0.5 if is_doubled else 1.0) if name.startswith("unet.") else 0.25
            result[f"{name}.lora_B.weight"] = tensor * factor
            doubled |= {name.removeprefix("unet."): 8} if is_doubled else {}
    assert doubled
    config = {"unet.r": 4, "unet.lora_alpha": 4, "unet.alpha_pattern": doubled}
    for text in texts:
        config |= {f"{text}r": 4, f"{text}lora_alpha": 16}
    save_file(result, path, metadata={"lora_adapter_metadata": json.dumps(config)})


@pytest.mark.parametrize("write", [comfyui, onetrainer, stated])
def test_a_lora_in_another_programs_style(
    webui: WebUI, pair: Pair, write: Callable[[Tensors, dict[str, str], Path], None]
) -> None:
    """Alone and after the base's first step; the twin's alphas equal its ranks."""
    known = f"LoRA: {pair}_form_lora"
    with safe_open(file_of(webui, pair.base), framework="pt") as file:
        keys = [key.removeprefix(PREFIX).removesuffix(".weight") for key in file.keys() if key.startswith(PREFIX)]  # noqa: SIM118
    unet = {"lora_unet_" + key.replace(".", "_"): key for key in keys}
    with placed(webui, lora_folder(webui) / f"dd_{write.__name__}.safetensors") as path:
        write(load_file(lora_folder(webui) / f"{pair}_form_lora.safetensors"), unet, path)
        webui.call("/sdapi/v1/refresh-loras", {})
        for k in (0, 1):
            chosen = settings(f"LoRA: {path.stem}", switch_step=k, lora_strength=0.8)
            expected = webui.generate(pair.base, settings(known, switch_step=k, lora_strength=0.8))
            assert webui.generate(pair.base, chosen).same_as(expected), k


def processors(tensors: Tensors, unet: dict[str, str], path: Path) -> None:
    """As diffusers saved attention processors, up to 0.16."""
    parts = {"lora_up.weight": "up.weight", "lora_down.weight": "down.weight"}
    save_file({
        f"{block}.processor.{place.removesuffix('.0')}_lora.{parts[part]}": tensor
        for key, tensor in tensors.items()
        for layer, _, part in [key.partition(".")]
        for block, place in [re.fullmatch(r"(.+)\.(to_.+)", unet[layer]).groups()]
        if part in parts
    }, path)  # fmt: skip


def peft(tensors: Tensors, unet: dict[str, str], path: Path) -> None:
    """As peft saves a U-Net's adapter: rank and alpha stand beside it, and here alpha is twice the rank."""
    parts = {"lora_up.weight": ("lora_B", 0.5), "lora_down.weight": ("lora_A", 1.0)}
    save_file({
        f"base_model.model.{unet[layer]}.{parts[part][0]}.weight": tensor * parts[part][1]
        for key, tensor in tensors.items()
        for layer, _, part in [key.partition(".")]
        if part in parts
    }, path)  # fmt: skip
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": {}, "alpha_pattern": {}}
    path.with_name("adapter_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("write", [pytest.param(processors, marks=pytest.mark.slow), peft])
def test_a_lora_of_the_attentions_alone(
    webui: WebUI, pair: Pair, write: Callable[[Tensors, dict[str, str], Path], None]
) -> None:
    """In diffusers' names, in a folder of its own; the twin has kohya's of the same layers."""
    with safe_open(file_of(webui, pair.base), framework="pt") as file:
        table = diffusers_table([key for key in file.keys() if key.startswith(PREFIX)])  # noqa: SIM118
    unet = {
        "lora_unet_" + ours.removeprefix(PREFIX).removesuffix(".weight").replace(".", "_"): name.removesuffix(".weight")
        for name, ours in table.items()
    }
    whole = load_file(lora_folder(webui) / f"{pair}_form_lora.safetensors")
    tensors = {key: t for key, t in whole.items() if re.search(r"_attn\d_to_", key) and key.partition(".")[0] in unet}
    assert tensors
    folder = lora_folder(webui) / "dd_adapter"
    folder.mkdir(exist_ok=True)
    try:
        with (
            placed(webui, folder / "adapter_model.safetensors") as path,
            placed(webui, lora_folder(webui) / "dd_twin.safetensors") as twin,
        ):
            save_file(tensors, twin)
            write(tensors, unet, path)
            webui.call("/sdapi/v1/refresh-loras", {})
            expected, made = (
                webui.generate(pair.base, settings(f"LoRA: {each.stem}", switch_step=1)) for each in (twin, path)
            )
            assert made.same_as(expected)
            assert not made.same_as(webui.generate(pair.base))
    finally:
        shutil.rmtree(folder)


def test_changes_of_biases_beside_a_lora(webui: WebUI, pair: Pair) -> None:
    """As ComfyUI extracts them: within rounding the checkpoint that has them; A1111's own loader passes over them."""
    base, name = load_file(file_of(webui, pair.base)), f"{PREFIX}input_blocks.0.0"
    change = torch.linspace(-2, 2, base[f"{name}.bias"].numel())
    layer = name.removeprefix("model.")
    up, down = torch.zeros(change.numel(), 4, 1, 1), torch.zeros(4, *base[f"{name}.weight"].shape[1:])
    lora = {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down, f"{layer}.diff_b": change}
    folder, other = lora_folder(webui), f"{PREFIX}time_embed.0"
    lora[f"{other.removeprefix('model.')}.diff_b"] = torch.full_like(base[f"{other}.bias"], 0.5)  # and of nothing else
    for key, added in ((f"{name}.bias", change), (f"{other}.bias", 0.5)):
        base[key] = base[key].float() + added
    checkpoint = file_of(webui, pair.base).with_name("ddbiased.safetensors")
    with placed(webui, folder / "dd_biases.safetensors") as path, placed(webui, checkpoint):
        save_file(lora, path)
        save_file(base, checkpoint)
        webui.call("/sdapi/v1/refresh-loras", {})
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        ours = webui.generate(pair.base, settings(f"LoRA: {path.stem}", switch_step=1)).must_work()
        theirs = webui.generate(pair.base, settings("ddbiased", switch_step=1)).must_work()
        assert ours.distance(theirs) * 50 < ours.distance(webui.generate(pair.base))


@pytest.mark.parametrize("name", ["{pair}_form_lora", "dd_copy"])
def test_the_distilled_lora_in_the_prompt_gets_a_note_under_any_name(webui: WebUI, pair: Pair, name: str) -> None:
    original = lora_folder(webui) / f"{pair}_form_lora.safetensors"
    with placed(webui, lora_folder(webui) / "dd_copy.safetensors") as copy:
        shutil.copy(original, copy)
        webui.call("/sdapi/v1/refresh-loras", {})
        chosen = settings(f"LoRA: {pair}_form_lora")
        prompt = f"a red cat <lora:{name.format(pair=pair)}:0.5>"
        note = "twice on the distilled ones; take it out of the prompt"
        assert note in webui.generate(pair.base, chosen, prompt=prompt).must_work().infotext
        other = f"a red cat <lora:{pair.lora}:0.5>"
        assert note not in webui.generate(pair.base, chosen, prompt=other).must_work().infotext
