"""The distilled model in every form: the same image as the equal checkpoint, or the equal prompt, makes natively."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.e2e.client import TITLE, Pair, WebUI
from tests.e2e.forms import LORA_FORMS, UNET_FORMS
from tests.e2e.test_api import PREFIX

ALIKE = {"family": "custom", "base_cfg": 5, "distilled_cfg": 5}
# By host: what makes a second set of weights, and what the host does to put networks into weights.
MAKING = {
    "a1111": "extension_core.hosts.a1111.distilled_lora.build_second_model",
    "forge": "extension_core.hosts.forge.distilled_lora.second_unet",
}
MERGING = {
    "a1111": "networks.network_restore_weights_from_backup",
    "forge": "backend.patcher.lora.merge_lora_to_weight",
}


def named(label: str, pair: Pair) -> str:
    return re.sub(r"^((?:U-Net|u-net|LoRA|lora): )?", rf"\g<1>{pair}_", label)


def settings(model: str, **values: Any) -> dict[str, Any]:
    return {"distilled_model": model, **ALIKE, **values}


@pytest.fixture(scope="module")
def choices(webui: WebUI) -> list[str]:
    """What the dropdown offers, as the host tells of it."""
    scripts = [script for script in webui.get("/sdapi/v1/script-info") if script["name"] == TITLE.lower()]
    return next(arg["choices"] for arg in scripts[0]["args"] if arg["label"] == "Distilled model")


def test_one_list_offers_every_form(choices: list[str], pair: Pair) -> None:
    shown = {re.sub(r" \[[0-9a-f]+\]$", "", choice) for choice in choices}
    wanted = {named(label, pair) for label in UNET_FORMS} | {f"LoRA: {pair}_{name}" for name in LORA_FORMS}
    assert wanted <= shown
    assert {f"{pair.base}.safetensors", f"{pair.distilled}.safetensors"} <= shown
    assert len(choices) == len(set(choices))


@pytest.mark.parametrize("label", UNET_FORMS)
def test_a_unet_in_every_form(webui: WebUI, pair: Pair, label: str) -> None:
    """Bit for bit the checkpoint it was taken from: alone as loaded natively, hybrid as with the checkpoint."""
    native = webui.generate(pair.distilled)
    hybrid = webui.generate(pair.base, settings(pair.distilled))
    assert not hybrid.same_as(native)
    for name in (label, *UNET_FORMS[label]):
        assert webui.generate(pair.base, settings(named(name, pair), switch_step=0)).same_as(native), name
    assert webui.generate(pair.base, settings(named(label, pair))).same_as(hybrid)


def test_a_unet_reads_the_prompt_with_the_bases_encoder(webui: WebUI, pair: Pair) -> None:
    """It has none; so does the distilled checkpoint without its own, and asking for its own is refused."""
    model = f"{pair}_form_unet"
    auto = webui.generate(pair.base, settings(model))
    assert webui.generate(pair.base, settings(model, text_encoder="base")).same_as(auto)
    refused = webui.generate(pair.base, settings(model, text_encoder="own"))
    assert refused.status == 422
    assert "has no text encoder" in refused.sentence


def with_lora(name: str, strength: float, text: float | None = None) -> str:
    weights = f"{strength}" if text is None else f"te={text}:unet={strength}"
    return f"a red cat <lora:{name}:{weights}>"


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M", "DDIM", "LCM"])
@pytest.mark.parametrize("strength", [1.0, 0.7])
def test_a_lora_alone_is_the_base_with_it_in_the_prompt(
    webui: WebUI, pair: Pair, strength: float, sampler: str
) -> None:
    """Bit for bit, its part in the text encoder included; hybrid is neither this nor the base."""
    model = f"LoRA: {pair}_form_lora"
    request = {"sampler_name": sampler}
    base = webui.generate(pair.base, **request)
    native = webui.generate(pair.base, prompt=with_lora(f"{pair}_form_lora", strength), **request)
    alone = webui.generate(pair.base, settings(model, switch_step=0, lora_strength=strength), **request)
    hybrid = webui.generate(pair.base, settings(model, switch_step=1, lora_strength=strength), **request)
    assert alone.same_as(native)
    assert not alone.same_as(base)
    assert not hybrid.same_as(base)
    assert not hybrid.same_as(alone)
    assert webui.generate(pair.base, settings(model, switch_step=4, lora_strength=strength), **request).same_as(base)
    assert webui.generate(pair.base, **request).same_as(base)


def test_a_lora_on_the_bases_reading_of_the_prompt(webui: WebUI, pair: Pair) -> None:
    model = f"{pair}_form_lora"
    native = webui.generate(pair.base, prompt=with_lora(model, 0.8, text=0))
    ours = webui.generate(pair.base, settings(model, switch_step=0, lora_strength=0.8, text_encoder="base"))
    both = webui.generate(pair.base, settings(model, switch_step=0, lora_strength=0.8))
    assert ours.same_as(native)
    assert not ours.same_as(both)


def test_the_prompts_loras_apply_to_both_phases(webui: WebUI, pair: Pair) -> None:
    """As with the distilled LoRA first among the prompt's, bit for bit."""
    model, own = f"{pair}_form_lora", f"<lora:{pair.lora}:0.6>"
    native = webui.generate(pair.base, prompt=f"a red cat <lora:{model}:0.8> {own}")
    request = {"prompt": f"a red cat  {own}"}
    alone = webui.generate(pair.base, settings(model, switch_step=0, lora_strength=0.8), **request)
    assert alone.same_as(native)
    hybrid = webui.generate(pair.base, settings(model, lora_strength=0.8), **request)
    assert not hybrid.same_as(webui.generate(pair.base, settings(model, lora_strength=0.8)))
    assert not hybrid.same_as(alone)


@pytest.mark.parametrize("form", LORA_FORMS[1:])
def test_a_lora_in_every_form(webui: WebUI, pair: Pair, form: str) -> None:
    """As diffusers saves it, which the host itself cannot read, and as a pickle."""
    for k in (0, 1):
        known = webui.generate(pair.base, settings(f"LoRA: {pair}_form_lora", switch_step=k, lora_strength=0.8))
        other = webui.generate(pair.base, settings(f"{pair}_{form}", switch_step=k, lora_strength=0.8))
        assert other.same_as(known), k


def test_hybrid_with_a_lora_is_hybrid_with_the_merged_checkpoint(webui: WebUI, pair: Pair) -> None:
    """Within rounding: the file rounds the merged weights once more."""
    with merged_checkpoint(webui, pair, 0.8) as merged:
        for k in (1, 2):
            by_file = webui.generate(pair.base, settings(merged, switch_step=k))
            by_lora = webui.generate(pair.base, settings(f"{pair}_form_lora", switch_step=k, lora_strength=0.8))
            rounding = by_lora.distance(by_file)
            assert rounding < 0.05
            assert rounding * 20 < by_lora.distance(webui.generate(pair.base))


@contextmanager
def merged_checkpoint(webui: WebUI, pair: Pair, strength: float) -> Iterator[str]:
    """The base with the LoRA merged in, in single precision, listed by the host."""
    base = file_of(webui, pair.base)
    lora = load_file(lora_folder(webui) / f"{pair}_form_lora.safetensors")
    tensors = {key: t.float() if t.is_floating_point() else t for key, t in load_file(base).items()}
    prefixes = {"model.diffusion_model.": "lora_unet_", "cond_stage_model.transformer.": "lora_te_"}
    changed = 0
    for key in [key for key in tensors if key.endswith(".weight")]:
        prefix = next((p for p in prefixes if key.startswith(p)), None)
        if prefix is None:
            continue
        layer = prefixes[prefix] + key.removeprefix(prefix).removesuffix(".weight").replace(".", "_")
        if f"{layer}.alpha" in lora:
            up, down = lora[f"{layer}.lora_up.weight"], lora[f"{layer}.lora_down.weight"]
            scale = strength * lora[f"{layer}.alpha"].item() / down.shape[0]
            tensors[key] += (up.flatten(1) @ down.flatten(1)).reshape(tensors[key].shape) * scale
            changed += 1
    assert changed > 10
    with placed(webui, base.with_name("ddmerged.safetensors")) as path:
        save_file(tensors, path)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        yield path.stem


def test_a_second_image_merges_nothing_and_another_strength_merges_anew(webui: WebUI, pair: Pair) -> None:
    """Neither the distilled LoRA nor the prompt's: counted inside the host."""
    request = {"prompt": f"a red cat <lora:{pair.lora}:0.6>"}

    making, merging = MAKING[webui.flavour], MERGING[webui.flavour]

    def counts(strength: float, seed: int) -> dict[str, int]:
        chosen = settings(f"{pair}_form_lora", lora_strength=strength)
        webui.generate(pair.base, chosen, faults={"count": [making, merging]}, seed=seed, **request).must_work()
        return webui.get("/dd-faults/counts")

    webui.generate(pair.base, **request).must_work()
    first = counts(0.9, seed=1)
    assert first[making] == 1
    assert first[merging] > 0
    assert counts(0.9, seed=2) == {making: 0, merging: 0}
    assert counts(0.5, seed=2)[making] == 1


def test_strength_is_followed_there_and_back(webui: WebUI, pair: Pair) -> None:
    model = f"{pair}_form_lora"
    webui.generate(pair.base).must_work()  # the host's Lora leaves the last prompt's networks in the weights
    before = webui.fingerprint()
    images = {s: webui.generate(pair.base, settings(model, lora_strength=s)) for s in (0.0, 0.5, 1.0)}
    assert images[0.0].same_as(webui.generate(pair.base))
    assert not images[0.5].same_as(images[1.0])
    assert webui.generate(pair.base, settings(model, lora_strength=0.5)).same_as(images[0.5])
    assert webui.fingerprint() == before


INSIDE = {
    "a1111": {
        "while it is read": "extension_core.hosts.a1111.distilled_lora.load_lora",
        "while it is merged": "extension_core.hosts.a1111.distilled_lora._Merged.value",
    },
    "forge": {
        "while it is read": "extension_core.hosts.forge.model.load_lora",
        "while it is merged": "backend.patcher.lora.merge_lora_to_weight",
    },
}
CALLS: dict[str, dict[str, Any]] = {
    "out of memory in the base's step": {"call": 1, "kind": "oom"},
    "error in the LoRA's step": {"call": 3, "kind": "error"},
    "interrupt": {"call": 3, "kind": "interrupt"},
}


@pytest.mark.parametrize("fault", [*INSIDE["a1111"], *CALLS])
def test_whatever_ends_a_request_with_a_lora_leaves_the_base_as_it_was(webui: WebUI, pair: Pair, fault: str) -> None:
    model, prompt = f"{pair}_form_lora", f"a red cat <lora:{pair.lora}:0.6>"
    hybrid = webui.generate(pair.base, settings(model, lora_strength=0.9), prompt=prompt)
    off = webui.generate(pair.base)
    before = webui.fingerprint()
    strength = 0.9 if fault in CALLS else 0.4
    injected = CALLS.get(fault) or {"inside": INSIDE[webui.flavour][fault]}
    reply = webui.generate(pair.base, settings(model, lora_strength=strength), faults=injected, prompt=prompt)
    assert (reply.status == 200) == (fault == "interrupt"), reply.sentence
    assert webui.generate(pair.base).same_as(off)
    assert webui.fingerprint() == before
    assert webui.generate(pair.base, settings(model, lora_strength=0.9), prompt=prompt).same_as(hybrid)


def test_the_infotext_tells_the_lora_and_its_strength(webui: WebUI, pair: Pair) -> None:
    reply = webui.generate(pair.base, settings(f"{pair}_form_lora.safetensors", lora_strength=0.8)).must_work()
    assert f'DD distilled model: "LoRA: {pair}_form_lora"' in reply.infotext
    assert "DD LoRA strength: 0.8" in reply.infotext


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("{pair}_form_lorra", "LoRA: {pair}_form_lora"), ("U-Net: {pair}_form_full.pin", "U-Net: {pair}_form_full.bin")],
)
def test_a_misspelled_name_gets_the_nearest(webui: WebUI, pair: Pair, name: str, nearest: str) -> None:
    reply = webui.generate(pair.base, settings(name.format(pair=pair)))
    assert reply.status == 422
    assert f"the nearest is '{nearest.format(pair=pair)}" in reply.sentence


def test_a_family_told_by_a_loras_name_and_told_twice(webui: WebUI, pair: Pair) -> None:
    """Auto takes sampler and steps from the name; a base that is of the family already gets a note."""
    lora = lora_folder(webui) / f"{pair}_form_lora.safetensors"
    base = file_of(webui, pair.base)
    with (
        placed(webui, lora.with_name("dd_dmd2_4step_lora.safetensors")) as copy,
        placed(webui, base.with_name("ddbase_dmd2.safetensors")) as merged,
    ):
        shutil.copy(lora, copy)
        shutil.copy(base, merged)
        webui.call("/sdapi/v1/refresh-loras", {})
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        chosen = {"distilled_model": copy.stem}
        plain = webui.generate(pair.base, chosen, steps=20).must_work()
        assert "Steps: 4, Sampler: LCM" in plain.infotext
        assert "once more" not in plain.infotext
        assert "DMD2 already" in webui.generate("ddbase_dmd2", chosen).must_work().infotext
        own = webui.generate(pair.base, {**chosen, "family": "custom"}, steps=6).must_work()
        assert "Steps: 6, Sampler: Euler" in own.infotext


def file_of(webui: WebUI, name: str) -> Path:
    files = {Path(m["filename"]).stem: Path(m["filename"]) for m in webui.get("/sdapi/v1/sd-models")}
    return files[name]


def lora_folder(webui: WebUI) -> Path:
    return Path(webui.get("/sdapi/v1/loras")[0]["path"]).parent


@contextmanager
def placed(webui: WebUI, path: Path) -> Iterator[Path]:
    """A file that is gone again afterwards, from the disk and from the host's lists."""
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        webui.call("/sdapi/v1/refresh-loras", {})
        webui.call("/sdapi/v1/refresh-checkpoints", {})


def _other_architecture(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = "lora_unet_{}_1_transformer_blocks_0_attn2_to_k"
    layers = [key.partition("_1_transformer")[0] for key in tensors if "transformer_blocks_0_attn1_to_q.alpha" in key]
    blocks = [layer.removeprefix("lora_unet_") for layer in layers if layer.startswith("lora_unet_")]
    down = {f"{name.format(block)}.lora_down.weight": torch.ones(4, 2048) for block in blocks}
    return {**down, **{key.replace("lora_down", "lora_up"): torch.ones(32, 4) for key in down}}


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD_LORAS = {
    "other architecture": "is SDXL but the loaded checkpoint is",
    "no layer matches": "none of its 4 layers, first lora_unet_joint_0, lora_unet_joint_1, lora_unet_joint_2,",
    "truncated": "cannot be read",
    "not a model": "cannot be read",
    "an embedding": "holds no U-Net",
    "magnitudes of peft": "is a DoRA with a magnitude for each output",
    "another kind of model": "is for SD 3 but the loaded checkpoint is",
}


@pytest.mark.parametrize("kind", BAD_LORAS)
def test_bad_loras_are_refused(webui: WebUI, pair: Pair, kind: str) -> None:
    """Found, said in one sentence, nothing changed; and the next image is the right one."""
    good = load_file(lora_folder(webui) / f"{pair}_form_lora.safetensors")
    tensors = {
        "other architecture": _other_architecture(good),
        "no layer matches": {f"lora_unet_joint_{i}.lora_up.weight": torch.ones(2, 2) for i in range(4)},
        "an embedding": {"emb_params": torch.ones(2, 64)},
        "another kind of model": {"lora_unet_joint_blocks_0_x_block_attn_qkv.lora_up.weight": torch.ones(2, 2)},
        "magnitudes of peft": {f"unet.conv_in.lora_{x}": torch.ones(32) for x in ("A.weight", "magnitude_vector")},
    }.get(kind, good)
    clean = webui.generate(pair.base)
    before = webui.fingerprint()
    with placed(webui, lora_folder(webui) / "ddbad.safetensors") as path:
        save_file(tensors, path)
        if kind == "truncated":
            _truncated(path)
        elif kind == "not a model":
            path.write_bytes(b"only some words, and no tensors at all\n" * 30)
        webui.call("/sdapi/v1/refresh-loras", {})
        reply = webui.generate(pair.base, settings("LoRA: ddbad"))
        assert reply.status == 422, reply.sentence
        assert BAD_LORAS[kind] in reply.sentence
        assert "\n" not in reply.sentence
        assert webui.fingerprint() == before
        assert webui.generate(pair.base).same_as(clean)


@pytest.mark.parametrize("place", ["LoRA", "U-Net"])
def test_a_pickle_that_runs_code_is_refused_wherever_it_lies(
    webui: WebUI, pair: Pair, place: str, tmp_path: Path
) -> None:
    """Nothing in it is run, though the host itself might run it as a LoRA of the prompt."""
    witness = tmp_path / "witness"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (witness,)

    folder = lora_folder(webui) if place == "LoRA" else file_of(webui, pair.distilled).parent
    with placed(webui, folder / f"ddevil.{'pt' if place == 'LoRA' else 'bin'}") as path:
        path.write_bytes(pickle.dumps({"lora_unet_conv_in.alpha": Evil()}))
        webui.call("/sdapi/v1/refresh-loras", {})
        reply = webui.generate(pair.base, settings("ddevil"))
        assert reply.status == 422
        assert "beside its tensors, and may run code by it; choose a safetensors file" in reply.sentence
    assert not witness.exists()


def test_a_model_with_noise_levels_of_its_own_is_refused_by_name(webui: WebUI, pair: Pair) -> None:
    """CosXL, told by a key beside its weights; both hosts load it as any other, and their own images are noise."""
    path = file_of(webui, pair.base).with_name("zz_dd_cosxl.safetensors")
    save_file({**load_file(file_of(webui, pair.base)), "edm_vpred.sigma_max": torch.tensor(120.0)}, path)
    try:
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        webui.generate(pair.base).must_work()
        levels = "is CosXL, which predicts v over noise levels of its own (EDM's, 'edm_vpred.sigma_max')"
        reply = webui.generate(pair.base, settings("zz_dd_cosxl"))
        assert reply.status == 422
        assert f"The distilled model 'zz_dd_cosxl.safetensors' {levels}" in reply.sentence
        webui.generate("zz_dd_cosxl").must_work()
        for chosen in (settings(pair.distilled), settings(pair.distilled, mode="base")):
            reply = webui.generate("zz_dd_cosxl", chosen)
            status, told = webui.call(f"{PREFIX}/plan", {"args": [chosen]})
            assert reply.status == status == 422
            assert reply.sentence == told["detail"]
            assert f"The loaded checkpoint 'zz_dd_cosxl.safetensors' {levels}, for which no" in reply.sentence
        path.unlink()  # what is loaded is that model all the same
        assert "is CosXL" in webui.generate("zz_dd_cosxl", settings(pair.distilled)).sentence
    finally:
        path.unlink(missing_ok=True)
        webui.generate(pair.base).must_work()
        webui.call("/sdapi/v1/refresh-checkpoints", {})


def test_missing_unet_tensors_in_diffusers_names_are_counted(webui: WebUI, pair: Pair) -> None:
    bare = load_file(file_of(webui, f"{pair}_form_bare"))
    holes = {key: tensor for key, tensor in bare.items() if not key.startswith(("time_embed", "out."))}
    with placed(webui, file_of(webui, pair.base).with_name("ddholes.bin")) as path:
        torch.save(holes, path)
        reply = webui.generate(pair.base, settings("U-Net: ddholes"))
        assert reply.status == 422
        assert "lacks 8 U-Net tensors" in reply.sentence
        assert reply.sentence.count("model.diffusion_model.") == 3


def test_extra_unet_tensors_are_told_in_the_infotext(webui: WebUI, pair: Pair) -> None:
    bare = load_file(file_of(webui, f"{pair}_form_bare"))
    extra = {f"input_blocks.99.0.part{i}.weight": torch.ones(2) for i in range(5)}
    with placed(webui, file_of(webui, pair.base).with_name("ddextra.bin")) as path:
        torch.save({**bare, **extra}, path)
        reply = webui.generate(pair.base, settings("ddextra"))
        assert reply.same_as(webui.generate(pair.base, settings(pair.distilled)))
        assert "has 5 U-Net tensors that the loaded checkpoint lacks" in reply.infotext
