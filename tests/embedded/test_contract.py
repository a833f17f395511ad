"""Every host name that an adapter uses exists in its flavour of the embedded WebUI and can be called as it is called.

The same is asked of real trees where DD_A1111_DIR and DD_FORGE_DIR name them.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from tests.embedded.host_names import HostTree, Use, call_fits, parameters, uses_in

pytestmark = pytest.mark.a1111  # sources alone are read, so once for both
ROOT = Path(__file__).resolve().parents[2]
HOSTS = ROOT / "extension_core" / "hosts"
FLAVOURS = ("a1111", "forge")
PACKAGES = ("modules", "backend", "modules_forge")
COMMON_FILES = [
    *sorted(HOSTS.glob("*.py")),
    *sorted((HOSTS / "webui").rglob("*.py")),
    *sorted((ROOT / "scripts").glob("*.py")),
]


def _embedded(flavour: str) -> HostTree:
    return HostTree(*(ROOT / "embedded" / name for name in (flavour, "common")))


def _capabilities(flavour: str) -> list[Use]:
    """Names that the adapter asks for as text before it takes the host for one that it knows."""
    path = HOSTS / flavour / "capabilities.py"
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and all(isinstance(x, ast.Constant) for x in node.elts):
            module, name = (x.value for x in node.elts if isinstance(x, ast.Constant))
            if isinstance(module, str) and isinstance(name, str) and module.split(".")[0] in PACKAGES:
                found.append(Use(module, name, f"{flavour}/capabilities.py:{node.lineno}"))
    return found


MINE = {flavour: _embedded(flavour) for flavour in FLAVOURS}
REAL = {x: HostTree(Path(folder)) for x in FLAVOURS if (folder := os.environ.get(f"DD_{x.upper()}_DIR"))}
USES = {x: uses_in([*COMMON_FILES, *sorted((HOSTS / x).rglob("*.py"))], PACKAGES) for x in FLAVOURS}
ASKED = {flavour: [*USES[flavour], *_capabilities(flavour)] for flavour in FLAVOURS}
TREES = [(x, kind) for kind, trees in (("embedded", MINE), ("real", REAL)) for x in trees]


def _tree(flavour: str, kind: str) -> HostTree:
    return {"embedded": MINE, "real": REAL}[kind][flavour]


def _cases(calls: bool) -> list[tuple[str, str, Use]]:
    return [(x, kind, use) for x, kind in TREES for use in ASKED[x] if not calls or use.positional is not None]


def _name(value: object) -> str:
    return f"{value.where} {value.module}.{value.name}" if isinstance(value, Use) else str(value)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_adapter_uses_the_host(flavour: str) -> None:
    assert len(USES[flavour]) > 60
    assert any(use.positional is not None for use in USES[flavour])
    assert _capabilities(flavour)


@pytest.mark.parametrize(("flavour", "kind", "use"), _cases(calls=False), ids=_name)
def test_name(flavour: str, kind: str, use: Use) -> None:
    found = _tree(flavour, kind).find(use.module, use.name)
    assert found is not None, f"{use.where} uses {use.module}.{use.name}, which is not there"


@pytest.mark.parametrize(("flavour", "kind", "use"), _cases(calls=True), ids=_name)
def test_call(flavour: str, kind: str, use: Use) -> None:
    arguments = _tree(flavour, kind).signature(use.module, use.name)
    assert arguments is None or call_fits(arguments, use), f"{use.where}: {ast.unparse(arguments)}"


# What the adapters read from objects that the host hands to them, which no import shows.
ATTRIBUTES = {
    ("modules.processing_base", "StableDiffusionProcessing"): "sampler rng comment iteration c uc",
    ("modules.sd_samplers_common", "Sampler"): "initialize launch_sampling sampler_extra_args config",
    ("modules.sd_samplers_cfg_denoiser", "CFGDenoiser"): "step total_steps forward inner_model",
    ("modules.shared_state", "State"): "interrupted skipped sampling_step job_count textinfo",
    ("modules.sd_vae_taesd", "TAESDDecoder"): "decoder",
    ("modules.fifo_lock", "FIFOLock"): "acquire release",
}
FORGE_ATTRIBUTES = {
    ("backend.patcher.base", "ModelPatcher"): "model lora_patches lora_loader model_options object_patches load_device "
    "current_device offload_device forge_unpatch_model model_patches_to model_dtype memory_required has_online_lora",
    ("backend.patcher.controlnet", "ControlBase"): "get_models inference_memory_requirements",
    ("backend.memory_management", "LoadedModel"): "model",
    ("modules.rng", "ImageRNG"): "shape seeds",
    ("backend.patcher.unet", "UnetPatcher"): "extra_model_patchers_during_sampling controlnet_linked_list "
    "extra_concat_condition extra_preserved_memory_during_sampling clone",
    ("backend.patcher.lora", "LoraLoader"): "backup loaded_hash refresh",
    ("backend.modules.k_model", "KModel"): "diffusion_model predictor storage_dtype computation_dtype",
    ("backend.modules.k_prediction", "Prediction"): "set_sigmas prediction_type percent_to_sigma",
    ("backend.diffusion_engine.base", "ForgeDiffusionEngine"): "model_config forge_objects set_clip_skip "
    "is_sd3 is_sdxl is_webui_legacy_model",
}


def _attributes() -> list[tuple[str, str, str]]:
    tables = [(x, ATTRIBUTES) for x in FLAVOURS] + [("forge", FORGE_ATTRIBUTES)]
    return [(x, m, f"{c}.{name}") for x, table in tables for (m, c), names in table.items() for name in names.split()]


# What the A1111 adapter reads of the host's Lora extension, which it finds among the loaded modules.
LORA_NAMES = {
    "networks": "available_networks list_available_networks load_network",
    "network": "Network.modules Network.te_multiplier Network.unet_multiplier Network.dyn_dim "
    "NetworkModule.network_key NetworkModule.calc_updown NetworkOnDisk.filename",
}
_LORA = Path("extensions-builtin") / "Lora"
LORA_TREES = {
    kind: HostTree(*(folder / _LORA for folder in trees["a1111"].folders), *trees["a1111"].folders)
    for kind, trees in (("embedded", MINE), ("real", REAL))
    if "a1111" in trees
}


@pytest.mark.parametrize("kind", LORA_TREES)
@pytest.mark.parametrize(("module", "name"), [(m, x) for m, names in LORA_NAMES.items() for x in names.split()])
def test_the_lora_extension_has_what_is_read_from_it(kind: str, module: str, name: str) -> None:
    assert LORA_TREES[kind].find(module, name) is not None


@pytest.mark.parametrize("kind", LORA_TREES)
def test_a_network_is_loaded_by_name_and_file(kind: str) -> None:
    arguments = LORA_TREES[kind].signature("networks", "load_network")
    assert arguments is not None
    assert parameters(arguments) == ["name", "network_on_disk"]


# What is used of the hosts' X/Y/Z plot, whose file is found among the scripts and never imported by name.
PLOT_NAMES = {
    "scripts.xyz_grid": "axis_options AxisOption AxisOptionTxt2Img AxisOptionImg2Img Script.title Script.ui Script.run "
    "AxisOption.label AxisOption.type AxisOption.apply AxisOption.format_value AxisOption.confirm AxisOption.cost "
    "AxisOption.choices AxisOption.prepare",
    "modules.scripts": "scripts_data ScriptClassData.module ScriptClassData.path ScriptRunner.selectable_scripts",
    "modules.script_callbacks": "on_before_ui on_image_grid ImageGridLoopParams.imgs ImageGridLoopParams.cols "
    "ImageGridLoopParams.rows",
    "modules.images": "image_grid draw_grid_annotations GridAnnotation.text",
}


@pytest.mark.parametrize(("flavour", "kind"), TREES)
@pytest.mark.parametrize(("module", "name"), [(m, x) for m, names in PLOT_NAMES.items() for x in names.split()])
def test_the_plot_has_what_is_used_of_it(flavour: str, kind: str, module: str, name: str) -> None:
    assert _tree(flavour, kind).find(module, name) is not None


@pytest.mark.parametrize(("flavour", "kind"), TREES)
def test_the_plot_takes_its_arguments_in_one_order(flavour: str, kind: str) -> None:
    mine, theirs = (tree.signature("scripts.xyz_grid", "Script.run") for tree in (MINE[flavour], _tree(flavour, kind)))
    assert mine is not None
    assert theirs is not None
    assert parameters(mine) == parameters(theirs)


@pytest.mark.parametrize(("flavour", "module", "name"), _attributes())
def test_objects_have_what_is_read_from_them(flavour: str, module: str, name: str) -> None:
    assert MINE[flavour].find(module, name) is not None


@pytest.mark.parametrize(("flavour", "kind", "use"), _cases(calls=True), ids=_name)
def test_parameters_have_the_same_names_in_both(flavour: str, kind: str, use: Use) -> None:
    mine, theirs = MINE[flavour].signature(use.module, use.name), _tree(flavour, kind).signature(use.module, use.name)
    if mine is not None and theirs is not None:
        names = parameters(mine)
        assert names == parameters(theirs)[: len(names)]
