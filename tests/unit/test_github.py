"""What GitHub reads of the project: the workflow and the forms for issues."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import run

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

ROOT = Path(__file__).resolve().parents[2]
FORMS = {path.stem: path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"}
KINDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}
ASKED = {"host", "host_version", "version", "infotext", "plan", "console"}
# What no report of the kind is of use without.
REQUIRED = {
    "bug": {"host", "host_version", "version", "happened", "console"},
    "image": {"host", "host_version", "version", "models", "infotext", "plan", "images"},
    "question": {"question", "host"},
}


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_there_is_a_form_for_each_kind() -> None:
    assert set(FORMS) == set(REQUIRED)


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_form_asks_what_we_need(name: str) -> None:
    form = read(FORMS[name])
    assert all(form[key] for key in ("name", "description", "labels"))
    asking = [part for part in form["body"] if part["type"] != "markdown"]
    ids = [part["id"] for part in asking]
    assert len(set(ids)) == len(ids)
    assert set(ids) >= ASKED
    assert {part["type"] for part in form["body"]} <= KINDS
    assert all(re.fullmatch(r"[a-zA-Z_-][\w-]*", each) for each in ids)
    assert all(part["attributes"]["label"] for part in asking)
    assert {part["id"] for part in asking if part.get("validations", {}).get("required")} == REQUIRED[name]


@pytest.fixture
def jobs() -> dict[str, Any]:
    return read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]


def test_every_check_runs_on_each_python_that_the_pins_are_for(jobs: dict[str, Any]) -> None:
    job = jobs["everything"]
    assert set(job["strategy"]["matrix"]["python"]) == {".".join(map(str, version)) for version in run.PYTHONS}
    commands = [step for step in job["steps"] if "run" in step]
    assert [step["run"] for step in commands] == [".ci/run"]
    assert commands[0]["env"]["DD_PYTHON"] == "python"
    assert "DD_PYTHON" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_what_runs_on_windows_is_there(jobs: dict[str, Any]) -> None:
    commands = [step["run"] for step in jobs["windows"]["steps"] if "run" in step]
    assert all(command.startswith("python run.py ") for command in commands)
    for path in re.findall(r"\btests/\S+", " ".join(commands)):
        assert (ROOT / path).is_file()


def test_nothing_of_the_workflow_may_write() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads `on` as true
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
