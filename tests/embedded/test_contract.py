"""Every host name that the adapter uses exists in the embedded WebUI and can be called as it is called.

The same is asked of a real A1111 tree where DD_A1111_DIR names one, and of a real Forge tree where DD_FORGE_DIR does.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from tests.embedded.host_names import HostTree, Use, call_fits, parameters, uses_in

pytestmark = pytest.mark.a1111
ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "extension_core" / "embedded" / "a1111"
FILES = [
    *sorted((ROOT / "extension_core" / "hosts").glob("*.py")),
    *sorted((ROOT / "extension_core" / "hosts" / "webui").rglob("*.py")),
    *sorted((ROOT / "extension_core" / "hosts" / "a1111").rglob("*.py")),
    *sorted((ROOT / "scripts").glob("*.py")),
]
TREES = [HostTree(EMBEDDED), *(HostTree(Path(x)) for x in [os.environ.get("DD_A1111_DIR", "")] if x)]
USES = uses_in(FILES, ("modules",))
FORGE_FILES = [
    *sorted((ROOT / "extension_core" / "hosts" / "webui").rglob("*.py")),
    *sorted((ROOT / "extension_core" / "hosts" / "forge").rglob("*.py")),
    *sorted((ROOT / "scripts").glob("*.py")),
]
FORGE_TREES = [HostTree(Path(x)) for x in [os.environ.get("DD_FORGE_DIR", "")] if x]


def _capabilities(flavour: str = "a1111") -> list[Use]:
    """Names that the adapter asks for as text before it takes the host for one that it knows."""
    path = ROOT / "extension_core" / "hosts" / flavour / "capabilities.py"
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and all(isinstance(x, ast.Constant) for x in node.elts):
            module, name = (x.value for x in node.elts if isinstance(x, ast.Constant))
            if isinstance(module, str) and isinstance(name, str) and module.startswith(("modules.", "backend.")):
                found.append(Use(module, name, f"capabilities.py:{node.lineno}"))
    return found


def _names(tree: HostTree) -> str:
    return "embedded" if tree.folder == EMBEDDED else "real"


def test_the_adapter_uses_the_host() -> None:
    assert len(USES) > 30
    assert any(use.positional is not None for use in USES)
    assert _capabilities()


@pytest.mark.parametrize("tree", TREES, ids=_names)
@pytest.mark.parametrize("use", [*USES, *_capabilities()], ids=lambda use: f"{use.where} {use.module}.{use.name}")
def test_name(tree: HostTree, use: Use) -> None:
    assert tree.find(use.module, use.name) is not None, f"{use.where} uses {use.module}.{use.name}, which is not there"


@pytest.mark.parametrize("tree", TREES, ids=_names)
@pytest.mark.parametrize(
    "use", [use for use in USES if use.positional is not None], ids=lambda use: f"{use.where} {use.module}.{use.name}"
)
def test_call(tree: HostTree, use: Use) -> None:
    arguments = tree.signature(use.module, use.name)
    assert arguments is None or call_fits(arguments, use), f"{use.where}: {ast.unparse(arguments)}"


def test_forge_has_what_its_adapter_uses() -> None:
    """Names and calls, those asked for as text included."""
    uses = [*uses_in(FORGE_FILES, ("modules", "backend")), *_capabilities("forge")]
    assert len(uses) > 60
    for tree in FORGE_TREES:
        unknown = [use for use in uses if tree.find(use.module, use.name) is None]
        assert not unknown
        called = [(use, tree.signature(use.module, use.name)) for use in uses if use.positional is not None]
        assert not [use for use, arguments in called if arguments is not None and not call_fits(arguments, use)]


# What the adapter reads from objects that the host hands to it, which no import shows.
ATTRIBUTES = {
    ("modules.processing_base", "StableDiffusionProcessing"): "sampler rng comment iteration c uc",
    ("modules.sd_samplers_common", "Sampler"): "initialize launch_sampling sampler_extra_args config",
    ("modules.sd_samplers_cfg_denoiser", "CFGDenoiser"): "step total_steps forward inner_model",
    ("modules.shared_state", "State"): "interrupted skipped sampling_step job_count textinfo",
}


@pytest.mark.parametrize(
    ("module", "name"), [(m, f"{c}.{x}") for (m, c), attributes in ATTRIBUTES.items() for x in attributes.split()]
)
def test_objects_have_what_is_read_from_them(module: str, name: str) -> None:
    assert TREES[0].find(module, name) is not None


# What the adapter reads of the host's Lora extension, which it finds among the loaded modules.
LORA_NAMES = {
    "networks": "available_networks list_available_networks load_network",
    "network": "Network.modules Network.te_multiplier Network.unet_multiplier Network.dyn_dim "
    "NetworkModule.network_key NetworkModule.calc_updown NetworkOnDisk.filename",
}


@pytest.mark.parametrize("tree", TREES, ids=_names)
@pytest.mark.parametrize(("module", "name"), [(m, x) for m, names in LORA_NAMES.items() for x in names.split()])
def test_the_lora_extension_has_what_is_read_from_it(tree: HostTree, module: str, name: str) -> None:
    assert HostTree(tree.folder / "extensions-builtin" / "Lora").find(module, name) is not None


@pytest.mark.parametrize("tree", TREES, ids=_names)
def test_a_network_is_loaded_by_name_and_file(tree: HostTree) -> None:
    arguments = HostTree(tree.folder / "extensions-builtin" / "Lora").signature("networks", "load_network")
    assert arguments is not None
    assert parameters(arguments) == ["name", "network_on_disk"]


@pytest.mark.parametrize("real", TREES, ids=_names)
@pytest.mark.parametrize("use", [u for u in USES if u.positional is not None], ids=lambda u: f"{u.module}.{u.name}")
def test_parameters_have_the_same_names_in_both(real: HostTree, use: Use) -> None:
    mine, theirs = TREES[0].signature(use.module, use.name), real.signature(use.module, use.name)
    if mine is not None and theirs is not None:
        names = parameters(mine)
        assert names == parameters(theirs)[: len(names)]
