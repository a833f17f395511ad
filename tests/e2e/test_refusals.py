"""Bad input: one clear sentence over the API, and nothing changed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.e2e.client import Pair, WebUI

BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"swich_step": 1}, "did you mean 'switch_step'"),
    "unknown family": ({"family": "sdxl"}, "family of Diversity Distillation is 'sdxl'"),
    "unknown mode": ({"mode": "both"}, "mode of Diversity Distillation is 'both'"),
    "negative k": ({"switch_step": -1}, "switch_step of Diversity Distillation is -1"),
    "k beyond the steps": ({"switch_step": 9, "family": "custom"}, "switch_step of Diversity Distillation is 9"),
    "half a k": ({"switch_step": 1.5}, "whole number"),
    "no base steps": ({"base_steps": 0}, "base_steps of Diversity Distillation is 0"),
    "negative base steps": ({"base_steps": -1}, "base_steps of Diversity Distillation is -1"),
    "CFG not a number": ({"base_cfg": "high"}, "base_cfg of Diversity Distillation is 'high'"),
    "CFG not finite": ({"distilled_cfg": 1e999}, "distilled_cfg of Diversity Distillation is inf"),
    "unknown sampler": ({"base_sampler": "Eulr", "family": "custom"}, "The sampler 'Eulr'"),
    "unknown schedule": ({"schedule": "karras"}, "schedule of Diversity Distillation"),
    "unknown text encoder": ({"text_encoder": "both"}, "text_encoder of Diversity Distillation"),
    "unknown passes": ({"passes": "second"}, "passes of Diversity Distillation"),
    "no model": ({"distilled_model": ""}, "distilled_model is empty"),
    "model not listed": (
        {"distilled_model": "no such model"},
        "is not among the host's checkpoints, U-Nets and LoRAs; the nearest is",
    ),
    "model not a name": ({"distilled_model": 7}, "must be a name"),
    "skips everything": ({"mode": "skip_first", "switch_step": 4, "family": "custom"}, "would skip all 4 steps"),
    "UniPC before another": (
        {"base_sampler": "UniPC", "family": "custom", "switch_step": 2},
        "UniPC cannot stop at a given noise level",
    ),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_bad_settings_are_refused(webui: WebUI, pair: Pair, case: str) -> None:
    values, expected = BAD_SETTINGS[case]
    webui.generate(pair.base).must_work()
    before = webui.fingerprint()
    reply = webui.generate(pair.base, {"distilled_model": pair.distilled, **values})
    assert reply.status == 422
    assert expected in reply.sentence
    assert reply.sentence.count("\n") == 0
    assert webui.fingerprint() == before


@pytest.mark.parametrize(
    ("request_fields", "expected"),
    [
        ({"refiner_checkpoint": "{distilled}", "refiner_switch_at": 0.5}, "both switch models"),
        ({"enable_hr": True, "hr_checkpoint_name": "{distilled}", "denoising_strength": 0.7}, "both switch models"),
    ],
    ids=["refiner", "hires checkpoint"],
)
def test_other_model_switches_are_refused(
    webui: WebUI, pair: Pair, request_fields: dict[str, Any], expected: str
) -> None:
    fields = {k: v.format(distilled=pair.distilled) if isinstance(v, str) else v for k, v in request_fields.items()}
    reply = webui.generate(pair.base, {"distilled_model": pair.distilled}, **fields)
    assert reply.status == 422
    assert expected in reply.sentence


def _model_folder(webui: WebUI, pair: Pair) -> Path:
    files = {Path(m["filename"]).stem: Path(m["filename"]) for m in webui.get("/sdapi/v1/sd-models")}
    return files[pair.distilled]


def _write_bad_file(kind: str, good: Path, path: Path) -> None:
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
        return
    if kind == "not a model":
        path.write_bytes(b"this is no model at all, only some words\n" * 40)
        return
    if kind == "header lies":
        header = json.dumps({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        return
    tensors = load_file(good)
    unet = [key for key in tensors if key.startswith("model.diffusion_model.")]
    if kind == "no U-Net":
        tensors = {key: value for key, value in tensors.items() if key not in unet}
    elif kind == "missing tensors":
        tensors = {key: value for key, value in tensors.items() if key not in unet[:4]}
    elif kind == "other architecture":
        for key in unet:
            if "attn2.to_k.weight" in key or "attn2.to_v.weight" in key:
                width = 768 if tensors[key].shape[1] == 2048 else 2048
                tensors[key] = torch.zeros(tensors[key].shape[0], width, dtype=tensors[key].dtype)
    elif kind == "inpainting":
        key = "model.diffusion_model.input_blocks.0.0.weight"
        tensors[key] = torch.cat([tensors[key], torch.zeros_like(tensors[key]), tensors[key][:, :1]], 1)
    elif kind == "v-prediction":
        tensors["v_pred"] = torch.tensor(1.0)
    save_file(tensors, path)


BAD_FILES = {
    "truncated": "cannot be read",
    "not a model": "cannot be read",
    "header lies": "cannot be read",
    "no U-Net": "holds no U-Net",
    "missing tensors": "lacks 4 U-Net tensors",
    "other architecture": "but the loaded checkpoint is",
    "inpainting": "an inpainting model (9 input channels)",
    "v-prediction": "predicts v but the loaded checkpoint predicts eps",
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_are_refused(webui: WebUI, pair: Pair, kind: str) -> None:
    """Found, said in one sentence, nothing changed; and the next image is the right one."""
    good = _model_folder(webui, pair)
    bad = good.with_name(f"ddbad_{kind.replace(' ', '_')}.safetensors")
    clean = webui.generate(pair.base)
    before = webui.fingerprint()
    try:
        _write_bad_file(kind, good, bad)
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        reply = webui.generate(pair.base, {"distilled_model": bad.stem})
        assert reply.status == 422, reply.sentence
        assert BAD_FILES[kind] in reply.sentence
        assert reply.sentence.count("\n") == 0
        assert webui.fingerprint() == before
        assert webui.generate(pair.base).same_as(clean)
    finally:
        bad.unlink(missing_ok=True)
        webui.call("/sdapi/v1/refresh-checkpoints", {})


def test_missing_file_is_refused(webui: WebUI, pair: Pair) -> None:
    """Listed by the host, but gone from the disk since."""
    good = _model_folder(webui, pair)
    gone = good.with_name("ddgone.safetensors")
    gone.write_bytes(good.read_bytes())
    webui.call("/sdapi/v1/refresh-checkpoints", {})
    gone.unlink()
    try:
        reply = webui.generate(pair.base, {"distilled_model": "ddgone"})
        assert reply.status == 422
        assert "'ddgone.safetensors' is missing" in reply.sentence
    finally:
        webui.call("/sdapi/v1/refresh-checkpoints", {})


def test_a_pickle_that_runs_code_is_refused(webui: WebUI, pair: Pair, tmp_path: Path) -> None:
    """Nothing in it is run."""
    import pickle

    witness = tmp_path / "witness"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (witness,)

    bad = _model_folder(webui, pair).with_name("ddevil.ckpt")
    try:
        bad.write_bytes(pickle.dumps({"state_dict": Evil()}))
        webui.call("/sdapi/v1/refresh-checkpoints", {})
        reply = webui.generate(pair.base, {"distilled_model": "ddevil"})
        assert reply.status == 422
        assert "cannot be read" in reply.sentence
        assert not witness.exists()
    finally:
        bad.unlink(missing_ok=True)
        webui.call("/sdapi/v1/refresh-checkpoints", {})


def test_the_same_checkpoint_is_allowed_and_said_to_have_no_effect(webui: WebUI, pair: Pair) -> None:
    settings = {"distilled_model": pair.base, "family": "custom", "base_cfg": 5, "distilled_cfg": 5}
    reply = webui.generate(pair.base, settings)
    assert reply.same_as(webui.generate(pair.base))
    assert "is the loaded checkpoint itself" in reply.infotext
