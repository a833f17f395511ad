"""Sweeps by the host's own X/Y/Z plot: every option is an axis, and a cell is the image made by itself."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from extension_core.measures import distance_matrix, pairwise_mean
from extension_core.options.axes import AXES
from tests.e2e.client import Pair, Reply, WebUI
from tests.e2e.plots import Along, axis_labels, plot, told

LABELS = [axis.label for axis in AXES]
# What reads a distilled model, and what puts networks into a layer.
READS = {
    "a1111": ["extension_core.hosts.a1111.model.load_second_model", "modules.sd_models.load_model_weights"],
    "forge": ["extension_core.hosts.forge.model.load_model", "modules.sd_models.forge_loader"],
}
MERGES = {
    "a1111": ["networks.network_restore_weights_from_backup"],
    "forge": ["backend.patcher.lora.merge_lora_to_weight"],
}


def label(name: str) -> str:
    return next(axis.label for axis in AXES if axis.spec.name == name)


def settings(pair: Pair, **values: Any) -> dict[str, Any]:
    return {"distilled_model": pair.distilled, "family": "custom", **values}


def equal(cells: list[np.ndarray], singles: list[Reply]) -> list[bool]:
    return [np.array_equal(cell, single.must_work().images[0]) for cell, single in zip(cells, singles, strict=True)]


@pytest.mark.parametrize("tab", ["txt2img", "img2img"])
def test_every_option_is_an_axis_once_and_in_order(webui: WebUI, tab: str) -> None:
    listed = axis_labels(webui, tab)
    assert [known for known in listed if known.startswith("[Diversity]")] == LABELS
    first = listed.index(LABELS[0])
    assert listed[first : first + len(LABELS)] == LABELS


def test_a_sweep_of_the_switch_step_is_the_images_made_one_by_one(webui: WebUI, pair: Pair) -> None:
    """Without the box ticked: whoever sweeps an option wants it to act."""
    swept = plot(
        webui, pair.base, Along(label("switch_step"), "0-4"), settings=settings(pair, enabled=False)
    ).must_work()
    singles = [webui.generate(pair.base, settings(pair, switch_step=k)) for k in range(5)]
    assert equal(swept.images[1:], singles) == [True] * 5
    texts = swept.info["infotexts"][1:]
    assert [told(text) for text in texts] == [told(single.infotext) for single in singles]
    assert ["DD switch step" in text for text in texts] == [True, False, True, True, True]


def two_values(webui: WebUI, pair: Pair) -> dict[str, tuple[Any, Any]]:
    """Two values of each option that make two different requests."""
    return {
        "enabled": ("True", "False"),
        "distilled_model": (pair.distilled, pair.base),
        "family": ("custom", "lcm"),
        "mode": ("distilled", "skip_first"),
        "switch_step": ("1", "3"),
        "base_steps": ("same", "3"),
        "base_cfg": ("1", "4.5"),
        "distilled_cfg": ("1", "2.25"),
        "base_sampler": ("same", "Heun"),
        "schedule": ("family", "host"),
        "text_encoder": ("base", "auto"),
        "passes": ("first", "both"),
        "lora_strength": ("0.5", "1"),
        "lora_targets": ("base", "both"),
        "base_lora_factor": ("0", "1"),
        "distilled_lora_factor": ("0.5", "1"),
        "carry_from": ("None", pair.distilled),
        "carry_strength": ("0.5", "1"),
        "residency": ("both", "ram"),
        "grid_diversity": ("True", "False"),
        "file_steps": ("auto", "3"),
        "loaded_is": ("base", "distilled"),
    }


@pytest.mark.once  # its two values come from the host's script, which all hosts share
@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.spec.name)
def test_each_axis_acts_as_its_option(webui: WebUI, pair: Pair, axis: Any) -> None:
    name = axis.spec.name
    values = two_values(webui, pair)[name]
    others = {"switch_step": 2, "base_cfg": 3, "carry_from": pair.base if name == "carry_strength" else ""}
    if name == "file_steps":  # of no effect on custom ones
        others["family"] = "lcm"
    asked = settings(pair, **{key: value for key, value in others.items() if key != name})
    along = Along(axis.label, ", ".join(values) if axis.is_number else values)
    request = {"prompt": f"a red cat <lora:{pair.lora}:1>"}
    swept = plot(webui, pair.base, along, settings=asked, **request).must_work()
    singles = [webui.generate(pair.base, {**asked, name: value}, **request) for value in values]
    assert equal(swept.images[1:], singles) == [True, True]
    assert [told(text) for text in swept.info["infotexts"][1:]] == [told(single.infotext) for single in singles]


def test_two_axes_and_a_host_axis(webui: WebUI, pair: Pair) -> None:
    axes = (Along(label("switch_step"), "1-2"), Along("Seed", "5,6"), Along(label("base_cfg"), "1.0-4.0 (+3)"))
    swept = plot(webui, pair.base, *axes, settings=settings(pair)).must_work()
    singles = [
        webui.generate(pair.base, settings(pair, switch_step=k, base_cfg=cfg), seed=seed)
        for cfg in (1, 4)
        for seed in (5, 6)
        for k in (1, 2)
    ]
    assert equal(swept.images[1:], singles) == [True] * 8


def test_on_img2img(webui: WebUI, pair: Pair) -> None:
    from tests.e2e.client import png_base64

    image = png_base64(webui.generate(pair.base).images[0])
    request = {"path": "/sdapi/v1/img2img", "init_images": [image], "denoising_strength": 0.8}
    # The VAE's encoder draws from what the image before has left of random numbers, so both begin after the same.
    webui.generate(pair.base, settings(pair, switch_step=2), **request).must_work()
    swept = plot(webui, pair.base, Along(label("switch_step"), "0-2"), settings=settings(pair), **request).must_work()
    singles = [webui.generate(pair.base, settings(pair, switch_step=k), **request) for k in range(3)]
    assert equal(swept.images[1:], singles) == [True] * 3


@pytest.mark.parametrize("with_lora", [False, True], ids=["plain", "lora"])
def test_a_sweep_over_seeds_reads_nothing_and_merges_nothing_again(webui: WebUI, pair: Pair, with_lora: bool) -> None:
    """Switch steps 0 to 4 of eight seeds; the models and the LoRA are those of the image before."""
    prompt = f"a red cat <lora:{pair.lora}:1>" if with_lora else "a red cat"
    names = [*READS[webui.flavour], *MERGES[webui.flavour]]
    axes = (Along(label("switch_step"), "0-4"), Along("Seed", "1-8"))

    def counted(together: str, *along: Along) -> dict[str, int]:
        faults = {"count": names, "together": together}
        plot(webui, pair.base, *along, settings=settings(pair), prompt=prompt, faults=faults).must_work()
        return webui.get("/dd-faults/counts")

    webui.generate(pair.base, settings(pair), prompt=prompt).must_work()
    swept = counted(f"swept {with_lora}", *axes)
    print("40 cells:", swept)
    assert swept == dict.fromkeys(names, 0)
    # The counters count: another distilled model is read once, and another weight of the LoRA is merged.
    other = counted(f"other {with_lora}", Along(label("carry_from"), ["None", pair.base]))
    assert sum(other[name] for name in READS[webui.flavour]) >= 1
    if with_lora:
        factors = counted("factors", Along(label("base_lora_factor"), "0.5, 0.7"))
        assert sum(factors[name] for name in MERGES[webui.flavour]) >= 1


def test_each_model_of_a_sweep_is_read_once(webui: WebUI, pair: Pair) -> None:
    """Its axis is outermost, though it is the first, which hosts put innermost."""
    webui.generate(pair.base).must_work()
    reads = READS[webui.flavour][:1]
    axes = (Along(label("distilled_model"), [pair.base, pair.distilled]), Along(label("switch_step"), "0-2"))
    faults = {"count": reads, "together": "models"}
    swept = plot(webui, pair.base, *axes, settings=settings(pair), faults=faults).must_work()
    counts = webui.get("/dd-faults/counts")
    assert 1 <= counts[reads[0]] <= 2
    assert len(swept.images) == 1 + 6


def test_a_refused_cell_shows_its_sentence_and_the_others_their_images(webui: WebUI, pair: Pair) -> None:
    webui.generate(pair.base).must_work()
    before = webui.fingerprint()
    swept = plot(webui, pair.base, Along(label("switch_step"), "5, 3, 4"), settings=settings(pair)).must_work()
    singles = [webui.generate(pair.base, settings(pair, switch_step=k)) for k in (3, 4)]
    assert equal(swept.images[2:], singles) == [True, True]
    assert swept.images[1].shape == swept.images[2].shape
    assert 1 < len(np.unique(swept.images[1])) < 256
    texts = swept.info["infotexts"][1:]
    assert ["DD refused: Switch step k is 5 " in text for text in texts] == [True, False, False]
    assert [told(text) for text in texts[1:]] == [told(single.infotext) for single in singles]
    webui.generate(pair.base).must_work()
    assert webui.fingerprint() == before


def test_the_host_refuses_nothing_that_is_not_ours(webui: WebUI, pair: Pair) -> None:
    """A plot without us is the host's: a cell that fails is black, and the plot is there."""
    swept = plot(webui, pair.base, Along("Steps", "3,4")).must_work()
    assert equal(swept.images[1:], [webui.generate(pair.base, steps=steps) for steps in (3, 4)]) == [True, True]


@pytest.mark.parametrize(
    ("name", "values", "asked", "sentence"),
    [
        ("switch_step", "nope", {}, "switch_step of Diversity Distillation is 'nope'; it must be a whole number"),
        ("switch_step", "", {}, "The axis '[Diversity] Switch step' has no values"),
        ("switch_step", "0-4 (-1)", {}, "a range must lead from its first value to its last"),
        ("base_cfg", "1, 200", {}, "base_cfg of Diversity Distillation is '200'; it must be a number from 0 to 100"),
        ("mode", ["hybrid", "both"], {}, "mode of Diversity Distillation is 'both'; it must be one of"),
        ("mode", [], {}, "has no values; choose some"),
        ("distilled_model", ["no such model"], {}, "The distilled model 'no such model' is not among"),
        ("base_sampler", ["Eulr"], {}, "The sampler 'Eulr' is not one of the host's"),
        ("switch_step", "0-2", {"distilled_model": ""}, "distilled_model is empty"),
        ("switch_step", "5-7", {}, "switch_step of Diversity Distillation is 5 "),
        ("switch_step", "0-2", {"swich": 1}, "does not know the argument 'swich'"),
    ],
)
def test_a_plot_that_cannot_be_made_is_refused(
    webui: WebUI, pair: Pair, name: str, values: Any, asked: dict[str, Any], sentence: str
) -> None:
    webui.generate(pair.base).must_work()
    before = webui.fingerprint()
    reply = plot(webui, pair.base, Along(label(name), values), settings=settings(pair, **asked))
    assert (reply.status, sentence in reply.sentence) == (422, True), reply.sentence
    webui.generate(pair.base).must_work()  # after a plot hosts load the checkpoint of their settings again
    assert webui.fingerprint() == before


def test_several_seeds_in_a_cell_and_their_diversity_below_it(webui: WebUI, pair: Pair) -> None:
    """Measured on the images made one by one; over the API hosts make a cell's grid where images are saved."""
    request = {"batch_size": 2, "n_iter": 2, "save_images": True, "options": {"return_grid": True}}
    along = Along(label("switch_step"), "0, 2")
    plain = plot(webui, pair.base, along, settings=settings(pair), **request).must_work()
    measured = plot(webui, pair.base, along, settings=settings(pair, grid_diversity=True), **request).must_work()
    for cell, k in ((1, 0), (2, 2)):
        bare, shown = plain.images[cell], measured.images[cell]
        assert shown.shape[0] > bare.shape[0]
        assert np.array_equal(shown[: bare.shape[0]], bare[..., :3])  # Forge hides the infotext in an alpha channel
        assert len(np.unique(shown[bare.shape[0] :])) > 1
        singles = webui.generate(pair.base, settings(pair, switch_step=k), batch_size=2, n_iter=2).must_work()
        expected = pairwise_mean(distance_matrix(np.stack(singles.images[-4:])))
        said = re.search(
            r"DD diversity: ([\d.]+) \(structural distance of 4 images\)", measured.info["infotexts"][cell]
        )
        assert said is not None, measured.info["infotexts"][cell]
        assert float(said[1]) == pytest.approx(expected, abs=6e-4)


def test_diversity_without_a_grid_is_in_the_infotexts(webui: WebUI, pair: Pair) -> None:
    reply = webui.generate(pair.base, settings(pair, grid_diversity=True), batch_size=3).must_work()
    plain = webui.generate(pair.base, settings(pair), batch_size=3)
    assert reply.same_as(plain)
    assert all("DD diversity: " in text and "of 3 images" in text for text in reply.info["infotexts"])
    assert "DD diversity" not in json.dumps(plain.info)
    off = webui.generate(pair.base, {"enabled": False, "grid_diversity": True}, batch_size=2).must_work()
    assert "DD diversity: " in off.infotext
    assert "DD mode" not in off.infotext
