"""The seams that the preview stands on are in each flavour of the embedded WebUI, and alike in the real hosts.

Real trees are asked where DD_A1111_DIR and DD_FORGE_DIR name them; only sources are read.
"""

from __future__ import annotations

import ast

import pytest

from tests.embedded.host_names import HostTree, parameters
from tests.embedded.host_seams import TABLES, hosts_alone, seams
from tests.embedded.test_contract import MINE, REAL

pytestmark = pytest.mark.a1111  # sources alone are read, so once for both
TREES = [(x, kind) for kind, trees in (("embedded", MINE), ("real", REAL)) for x in trees]
CASES = [(x, kind, *seam) for x, kind in TREES for seam in seams(x)]


def _tree(flavour: str, kind: str) -> HostTree:
    return {"embedded": MINE, "real": REAL}[kind][flavour]


@pytest.mark.parametrize(("flavour", "kind", "module", "name"), CASES)
def test_seam(flavour: str, kind: str, module: str, name: str) -> None:
    assert _tree(flavour, kind).find(module, name) is not None


@pytest.mark.parametrize(("flavour", "module", "name"), [(x, *seam) for x in REAL for seam in hosts_alone(x)])
def test_seam_of_the_hosts_own_features(flavour: str, module: str, name: str) -> None:
    assert REAL[flavour].find(module, name) is not None


@pytest.mark.parametrize(("flavour", "module", "name"), [(x, *seam) for x in REAL for seam in seams(x)])
def test_parameters_are_the_hosts(flavour: str, module: str, name: str) -> None:
    """By name and order, as far as the embedded one has them."""
    mine, theirs = MINE[flavour].signature(module, name), REAL[flavour].signature(module, name)
    if mine is not None and theirs is not None:
        assert parameters(mine) == parameters(theirs)[: len(parameters(mine))]


# Lists in a patcher's `model_options` under which Forge looks for functions around guidance.
CFG_LISTS = ("sampler_pre_cfg_function", "sampler_post_cfg_function")


@pytest.mark.parametrize("name", CFG_LISTS)
@pytest.mark.parametrize("kind", [kind for flavour, kind in TREES if flavour == "forge"])
def test_forge_looks_for_functions_around_guidance(kind: str, name: str) -> None:
    tree = _tree("forge", kind).module("backend.sampling.sampling_function")
    assert tree is not None
    assert any(isinstance(x, ast.Constant) and x.value == name for x in ast.walk(tree))


@pytest.mark.parametrize(("flavour", "kind"), TREES)
def test_an_interrupted_sampling_ends_in_the_last_latent(flavour: str, kind: str) -> None:
    """`launch_sampling` catches the exception, and that is no Exception that a hook's guard would swallow."""
    tree = _tree(flavour, kind)
    launch = tree.find("modules.sd_samplers_common", "Sampler.launch_sampling")
    assert isinstance(launch, ast.FunctionDef)
    handlers = [x for x in ast.walk(launch) if isinstance(x, ast.ExceptHandler)]
    caught = [x for x in handlers if x.type is not None and "InterruptedException" in ast.unparse(x.type)]
    assert any("last_latent" in ast.unparse(x) for x in caught)
    interrupted = tree.find("modules.sd_samplers_common", "InterruptedException")
    assert isinstance(interrupted, ast.ClassDef)
    assert [ast.unparse(base) for base in interrupted.bases] == ["BaseException"]


def test_the_tables_are_no_empty_promise() -> None:
    assert all(len(seams(flavour)) > 50 for flavour in TABLES)
