"""What the project's own files say about it, held together."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
from pathlib import Path

import pytest

import extension_core
from tools.environments import pins, project

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

ROOT = Path(__file__).resolve().parents[2]
PROJECT = project()
GROUPS = PROJECT["dependency-groups"]
AGPL_3_0 = "0d96a4ff68ad6d4b6f1f30f713b18d5184912ba8dd389f86aa7710db079abcb0"  # agpl-3.0.txt of gnu.org


def name_of(pin: str) -> str:
    return re.split(r"[<>=!~; \[]", pin)[0].lower().replace("_", "-")


def test_the_version_is_the_same_everywhere() -> None:
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heading is not None
    assert PROJECT["project"]["version"] == extension_core.__version__ == heading[1]


def test_the_licence_is_verbatim() -> None:
    text = (ROOT / "LICENSE").read_bytes().replace(b"\r\n", b"\n")
    assert hashlib.sha256(text).hexdigest() == AGPL_3_0


def test_the_hosts_can_read_the_metadata() -> None:
    ini = configparser.ConfigParser()
    ini.read(ROOT / "metadata.ini", encoding="utf-8")
    name = ini.get("Extension", "Name")
    assert name == name.lower().strip()
    assert not [s for s in ini.sections() if s.startswith("callbacks/")]  # would have to carry the folder's name


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_pin_is_exact_and_named_once(group: str) -> None:
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in GROUPS[group])
    names = [name_of(pin) for pin in GROUPS[group]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("stack", ["a1111", "forge"])
def test_the_stacks_bring_what_the_extension_needs_and_agree_with_the_test_tools(stack: str) -> None:
    pins = {name_of(pin): pin for pin in GROUPS[stack]}
    assert {name_of(line) for line in PROJECT["project"]["dependencies"]} <= set(pins)
    assert pins["torch"] == "torch==2.13.0"
    tools = [pin for group in ("test", "host-test", "lint") for pin in GROUPS[group]]
    shared = {name_of(pin): pin for pin in tools if name_of(pin) in pins}
    assert shared == {name: pins[name] for name in shared}


def test_what_python_3_10_has_instead_takes_a_pins_place() -> None:
    newer, older = pins((3, 11)), pins((3, 10))
    assert set(newer) == set(older) == set(GROUPS) - {"python310"}
    assert newer == {group: GROUPS[group] for group in newer}
    replaced = {now for group, pinned in newer.items() for now in pinned if now not in older[group]}
    assert {name_of(pin) for pin in replaced} == {name_of(pin) for pin in GROUPS["python310"]}
    for group, pinned in newer.items():
        assert [name_of(pin) for pin in older[group]] == [name_of(pin) for pin in pinned]
    assert {pin for pinned in older.values() for pin in pinned} >= set(GROUPS["python310"])


def test_what_needs_no_host_is_typed_strictly() -> None:
    """A new file is, from its beginning, unless it is named here: what draws with Pillow or measures with torch."""
    core = ROOT / "extension_core"
    listed = [path for name in PROJECT["tool"]["pyright"]["strict"] for path in ROOT.glob(name)]
    strict = {found for path in listed for found in (path.rglob("*.py") if path.is_dir() else [path])}
    loose = {
        path.relative_to(core).as_posix()
        for path in core.rglob("*.py")
        if path not in strict and path.name != "__init__.py" and not path.is_relative_to(core / "hosts")
    }
    drawing = {f"trajectory/{name}.py" for name in ("animation", "frame_pictures", "sheet")}
    drawing |= {f"measures/{name}.py" for name in ("captions", "grids", "lettering", "rows")}
    assert loose == {*drawing, "measures/perceptual.py"}


@pytest.mark.parametrize("folder", ["common", "a1111", "forge"])
def test_the_embedded_webui_is_an_independent_witness(folder: str) -> None:
    """Its packages have the hosts' names, by which import rules do not find them."""
    files = sorted((ROOT / "embedded" / folder).rglob("*.py"))
    assert files
    borrowed = re.compile(r"^\s*(from|import) (extension_core|embedded\.(demo|distill|monsters))\b", re.MULTILINE)
    assert [file.name for file in files if borrowed.search(file.read_text(encoding="utf-8"))] == []


def test_ci_runs_the_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.name == "nt" or os.access(script, os.X_OK)
    assert "run.py test" in script.read_text(encoding="utf-8")
