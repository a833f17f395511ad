"""Networks of LyCORIS' kinds: what their shapes tell of the model that they were made for."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

import pytest

from extension_core.errors import DiversityError
from extension_core.weights.architectures import architecture
from extension_core.weights.file_state import FileState
from extension_core.weights.layouts import UNET_PREFIX
from extension_core.weights.lora_checks import check_lora
from extension_core.weights.lora_file import read_lora
from extension_core.weights.reader import Header
from tests.unit.unets import DEPTHS, Shapes, in_diffusers, shapes_of

pytestmark = pytest.mark.once

KINDS = ("lora", "loha", "loha with cores", "lokr", "diff")


def network_of(shapes: Shapes, kind: str, keep: str = "attn", to_diffusers: bool = False) -> Header:
    """A network of one of LyCORIS' kinds on every layer of a U-Net that has `keep` in its name."""
    named = in_diffusers(shapes) if to_diffusers else shapes
    tensors: Shapes = {}
    for name, shape in named.items():
        if keep in name and name.endswith(".weight") and len(shape) > 1:
            outputs, inputs, *kernel = shape
            layer = "lora_unet_" + name.removeprefix(UNET_PREFIX).removesuffix(".weight").replace(".", "_")
            tensors |= {f"{layer}.{part}": size for part, size in parts(kind, outputs, inputs, kernel)}
    assert tensors
    return Header(Path("x.safetensors"), tensors, {}, FileState(0, 0, 0))


def parts(kind: str, outputs: int, inputs: int, kernel: list[int]) -> list[tuple[str, tuple[int, ...]]]:
    """Tensors of a layer's change (lycoris/modules, 3.1); a core stands for a kernel, and linear layers have none."""
    flat = inputs * prod(kernel)
    pair, core = [("a", (outputs, 1)), ("b", (1, flat))], [("a", (1, outputs)), ("b", (1, inputs))]
    if kind == "lora":
        return [("lora_up.weight", (outputs, 1, *[1] * len(kernel))), ("lora_down.weight", (1, inputs, *kernel))]
    if kind == "diff":
        return [("diff", (outputs, inputs, *kernel))]
    if kind == "lokr":
        return [("lokr_w1", (4, 4)), ("lokr_w2_a", (outputs // 4, 1)), ("lokr_w2_b", (1, flat // 4))]
    if kind == "loha" or not kernel:
        return [(f"hada_w{i}_{side}", shape) for i in (1, 2) for side, shape in pair]
    cores = [(f"hada_t{i}", (1, 1, *kernel)) for i in (1, 2)]
    return [*cores, *((f"hada_w{i}_{side}", shape) for i in (1, 2) for side, shape in core)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("made_for", "base"), [
    ("SDXL", "SSD-1B"), ("KOALA-700M", "SDXL"), ("BK-SDM-Base", "SD 1.5"), ("BK-SDM-Tiny", "SD 1.5"),
    ("SD 1.5", "BK-SDM-Base"), ("SD 2.1", "BK-SDM-v2-Tiny"),
])  # fmt: skip
def test_networks_of_every_kind_tell_for_what_they_were_made(made_for: str, base: str, kind: str) -> None:
    """Fitting their own, and refused by name elsewhere; by ldm's names where the model has SDXL's, else diffusers'."""
    theirs, live = shapes_of(made_for), shapes_of(base)
    header = network_of(theirs, kind, to_diffusers=made_for not in DEPTHS)
    lora = read_lora(header, list(theirs))
    check_lora(lora, theirs)
    with pytest.raises(DiversityError, match=re.escape(f"is {architecture(theirs)} but the loaded checkpoint is ")):
        check_lora(read_lora(header, list(live)), live)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", ["attn1", "attn2.to_q", ".ff.", "proj_in", "in_layers.2"])
@pytest.mark.parametrize("base", ["SDXL", "SSD-1B", "SD 1.5", "SD 2.1", "BK-SDM-Base"])
def test_networks_that_say_nothing_of_the_prompts_width_are_taken(base: str, keep: str, kind: str) -> None:
    """As all that fits; a network on every attention of SDXL tells its depth and nothing else."""
    live = shapes_of(base)
    header = network_of(live, kind, keep)
    check_lora(read_lora(header, list(live)), live)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("made_for", "base"), [("SD 1.5", "SDXL"), ("SD 2.1", "SD 1.5"), ("SDXL", "SD 1.5")])
def test_networks_of_every_kind_for_another_width_are_refused(made_for: str, base: str, kind: str) -> None:
    """The hosts' loaders fail at them in the middle of merging, or leave the layers out."""
    live, header = shapes_of(base), network_of(shapes_of(made_for), kind)
    with pytest.raises(DiversityError, match=re.escape(f"is {architecture(shapes_of(made_for))} but the loaded")):
        check_lora(read_lora(header, list(live)), live)
