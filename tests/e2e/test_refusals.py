"""Bad input: one clear sentence over the API, and nothing changed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from extension_core.options.schema import arguments_schema
from tests.e2e.client import TITLE, Pair, WebUI

# Counted from the request on; a refused one does not come to what takes the counter away.
CALLS = "modules.sd_samplers_cfg_denoiser.CFGDenoiser.forward"

BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"swich_step": 1}, "did you mean 'switch_step'"),
    "key in capitals": ({"Switch_Step": 1}, "argument 'Switch_Step'; did you mean 'switch_step'"),
    "empty key": ({"": 1}, "does not know the argument ''; did you mean"),
    "key of the page's words": ({"distilled model": "x"}, "did you mean 'distilled_model'"),
    "preview's key outside": ({"every": 2}, "does not know the argument 'every'"),
    "enabled perhaps": ({"enabled": "perhaps"}, "enabled of Diversity Distillation is 'perhaps'; it must be true or"),
    "enabled twice": ({"enabled": 2}, "enabled of Diversity Distillation is 2; it must be true or false"),
    "unknown family": ({"family": "sdxl"}, "family of Diversity Distillation is 'sdxl'; it must be one of auto, dmd2"),
    "families in a list": ({"family": ["dmd2"]}, "family of Diversity Distillation is ['dmd2']; it must be one of"),
    "unknown mode": ({"mode": "both"}, "mode of Diversity Distillation is 'both'; it must be one of hybrid"),
    "mode of a number": ({"mode": 3}, "mode of Diversity Distillation is 3; it must be one of hybrid"),
    "mode null": ({"mode": None}, "mode of Diversity Distillation is None; it must be one of hybrid"),
    "negative k": (
        {"switch_step": -1},
        "switch_step of Diversity Distillation is -1; it must be a whole number from 0",
    ),
    "k beyond every run": ({"switch_step": 151}, "is 151; it must be a whole number from 0 to 150"),
    "k beyond the steps": ({"switch_step": 9, "family": "custom"}, "is 9 but this run has 4 steps"),
    "half a k": ({"switch_step": 1.5}, "switch_step of Diversity Distillation is 1.5; it must be a whole number"),
    "k in words": ({"switch_step": "one"}, "switch_step of Diversity Distillation is 'one'; it must be a whole number"),
    "k true": ({"switch_step": True}, "switch_step of Diversity Distillation is True; it must be a whole number"),
    "no base steps": ({"base_steps": 0}, "base_steps of Diversity Distillation is 0; it must be a whole number from 1"),
    "negative base steps": ({"base_steps": -1}, "base_steps of Diversity Distillation is -1"),
    "endless base steps": ({"base_steps": 10**400}, "it must be a whole number from 1 to 150"),
    "CFG not a number": ({"base_cfg": "high"}, "base_cfg of Diversity Distillation is 'high'; it must be a number"),
    "CFG null": ({"base_cfg": None}, "base_cfg of Diversity Distillation is None; it must be a number from 0 to 100"),
    "CFGs in a list": ({"base_cfg": [5]}, "base_cfg of Diversity Distillation is [5]; it must be a number"),
    "negative CFG": ({"distilled_cfg": -0.5}, "distilled_cfg of Diversity Distillation is -0.5; it must be a number"),
    "CFG not finite": ({"distilled_cfg": 1e999}, "distilled_cfg of Diversity Distillation is inf"),
    "CFG not a number of floats": ({"distilled_cfg": float("nan")}, "distilled_cfg of Diversity Distillation is nan"),
    "unknown sampler": ({"base_sampler": "Eulr", "family": "custom"}, "The sampler 'Eulr' is not one of the host's"),
    "sampler of a number": ({"base_sampler": 1}, "base_sampler of Diversity Distillation is 1; it must be a name"),
    "unknown schedule": ({"schedule": "karras"}, "schedule of Diversity Distillation is 'karras'; it must be one of"),
    "unknown text encoder": ({"text_encoder": "both"}, "text_encoder of Diversity Distillation is 'both'"),
    "unknown passes": ({"passes": "second"}, "passes of Diversity Distillation is 'second'; it must be one of first"),
    "LoRA too strong": ({"lora_strength": 11}, "lora_strength of Diversity Distillation is 11; it must be a number"),
    "LoRAs on nothing": ({"lora_targets": "none"}, "lora_targets of Diversity Distillation is 'none'; it must be one"),
    "negative factor": ({"base_lora_factor": -1}, "base_lora_factor of Diversity Distillation is -1; it must be a"),
    "too much style": ({"carry_strength": 5}, "carry_strength of Diversity Distillation is 5; it must be a number"),
    "no such origin": ({"carry_from": "no such model"}, "The origin to carry from 'no such model' is not among"),
    "unknown memory": ({"residency": "disk"}, "residency of Diversity Distillation is 'disk'; it must be one of auto"),
    "no model": ({"distilled_model": ""}, "distilled_model is empty"),
    "model not listed": (
        {"distilled_model": "no such model"},
        "is not among the host's checkpoints, U-Nets and LoRAs; the nearest is",
    ),
    "model not a name": ({"distilled_model": 7}, "distilled_model of Diversity Distillation is 7; it must be a name"),
    "model's path": ({"distilled_model": "../../etc/passwd"}, "'../../etc/passwd' is not among the host's"),
    "skips everything": ({"mode": "skip_first", "switch_step": 4, "family": "custom"}, "would skip all 4 steps"),
    "UniPC before another": (
        {"base_sampler": "UniPC", "family": "custom", "switch_step": 2},
        "UniPC cannot stop at a given noise level",
    ),
    "dt of a number": ({"dt": 1}, "dt of Diversity Distillation is 1; it must be a dict of the preview's arguments"),
    "dt in words": ({"dt": "yes"}, "dt of Diversity Distillation is 'yes'; it must be a dict"),
    "dt null": ({"dt": None}, "dt of Diversity Distillation is None; it must be a dict"),
    "dt's unknown key": ({"dt": {"evry": 2}}, "does not know the argument 'dt.evry'; did you mean 'dt.every'"),
    "dt's field name": ({"dt": {"returned": True}}, "argument 'dt.returned'; did you mean 'dt.return'"),
    "dt every none": ({"dt": {"every": 0}}, "every of Diversity Distillation is 0; it must be a whole number from 1"),
    "dt's timesteps too high": ({"dt": {"timesteps": [900, 2000]}}, "timesteps of Diversity Distillation is 2000"),
    "dt's timestep alone": (
        {"dt": {"timesteps": 900}},
        "timesteps of Diversity Distillation is 900; it must be a list",
    ),
    "dt's unknown decoder": (
        {"dt": {"decoder": "best"}},
        "decoder of Diversity Distillation is 'best'; it must be one",
    ),
    "dt save maybe": ({"dt": {"save": "maybe"}}, "save of Diversity Distillation is 'maybe'; it must be true or false"),
    "dt's frames in words": (
        {"dt": {"frames": "first"}},
        "frames of Diversity Distillation is 'first'; it must be \"all\"",
    ),
    "dt's half frames": (
        {"dt": {"frames": [0, 1.5]}},
        'frames of Diversity Distillation is [0, 1.5]; it must be "all"',
    ),
    "dt's short id": ({"dt": {"id": "abc"}}, "The id of the preview is not 24 random bytes in URL-safe base64"),
}

# Values by position; the host lays them over the script's own.
BAD_POSITIONS: dict[str, tuple[list[Any], str]] = {
    "no flag first": (["yes"], "enabled of Diversity Distillation is 'yes'; it must be true or false"),
    "nothing first": ([None], "enabled of Diversity Distillation is None; it must be true or false"),
    "a list in the list": ([[{"mode": "base"}]], "enabled of Diversity Distillation is [{'mode': 'base'}]; it must be"),
    "one place on": (["{distilled}", True], "enabled of Diversity Distillation is '{distilled}'; it must be true"),
    "a number as model": ([True, 7], "distilled_model of Diversity Distillation is 7; it must be a name"),
    "mode for family": (
        [True, "{distilled}", "hybrid"],
        "family of Diversity Distillation is 'hybrid'; it must be one",
    ),
    "family for mode": ([True, "{distilled}", "auto", "dmd2"], "mode of Diversity Distillation is 'dmd2'; it must be"),
    "words for k": ([True, "{distilled}", "auto", "hybrid", "k"], "switch_step of Diversity Distillation is 'k'"),
}


def assert_refused(webui: WebUI, pair: Pair, expected: str, **asked: Any) -> None:
    """HTTP 422 in one sentence; no call of a model, and the model is as it was."""
    webui.generate(pair.base).must_work()
    before = webui.fingerprint()
    reply = webui.generate(pair.base, faults={"count": [CALLS]}, **asked)
    assert reply.status == 422
    assert expected in reply.sentence
    assert reply.sentence.count("\n") == 0
    assert reply.sentence.endswith((".", "?"))
    assert webui.get("/dd-faults/counts") == {CALLS: 0}
    assert webui.fingerprint() == before


def test_there_are_many() -> None:
    sentences = [expected for _, expected in (*BAD_SETTINGS.values(), *BAD_POSITIONS.values())]
    assert len(set(sentences)) >= 60


@pytest.mark.once  # our own check of our own settings
@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_bad_settings_are_refused(webui: WebUI, pair: Pair, case: str) -> None:
    values, expected = BAD_SETTINGS[case]
    assert_refused(webui, pair, expected, settings={"distilled_model": pair.distilled, **values})


@pytest.mark.once
@pytest.mark.parametrize("case", BAD_POSITIONS)
def test_bad_values_by_position_are_refused(webui: WebUI, pair: Pair, case: str) -> None:
    values, expected = BAD_POSITIONS[case]
    named = [value.format(distilled=pair.distilled) if isinstance(value, str) else value for value in values]
    assert_refused(webui, pair, expected.replace("{distilled}", pair.distilled), scripts={TITLE: named})


def test_calls_are_counted_where_nothing_is_refused(webui: WebUI, pair: Pair) -> None:
    """What the refusals' 0 is worth."""
    good = {"distilled_model": pair.distilled, "family": "custom"}
    webui.generate(pair.base, good, faults={"count": [CALLS]}).must_work()
    assert webui.get("/dd-faults/counts")[CALLS] >= 4


def test_the_host_drops_what_comes_after_the_last_position(webui: WebUI, pair: Pair) -> None:
    """It lays no more values than there are places (modules/api/api.py, 1.10.1), so ours never sees the surplus."""
    schema = arguments_schema()
    preview = schema["properties"]["dt"]["anyOf"][1]["properties"]
    known = {**schema["properties"], **{f"dt.{key}": entry for key, entry in preview.items()}}
    values = {name: known[name]["default"] for name in schema["positions"]}
    values |= {"distilled_model": pair.distilled, "family": "custom"}
    reply = webui.generate(pair.base, scripts={TITLE: [*values.values(), "surplus", {"swich_step": 1}]})
    assert reply.same_as(webui.generate(pair.base, {"distilled_model": pair.distilled, "family": "custom"}))


@pytest.mark.parametrize("args", [5, None], ids=["number", "null"])
def test_args_of_no_list_are_the_hosts_own_error(webui: WebUI, pair: Pair, args: Any) -> None:
    """It counts them before any script is asked (modules/api/api.py `init_script_args`, 1.10.1)."""
    webui.generate(pair.base).must_work()
    before = webui.fingerprint()
    reply = webui.generate(pair.base, scripts={TITLE: args})
    assert reply.status == 500
    assert "Type" in str(reply.body)
    assert webui.fingerprint() == before


def test_text_instead_of_a_list_is_values_by_position_to_the_host(webui: WebUI, pair: Pair) -> None:
    assert_refused(webui, pair, "enabled of Diversity Distillation is 'b'; it must be", scripts={TITLE: "base"})


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
