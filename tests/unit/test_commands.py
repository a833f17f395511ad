"""Every command that README, CONTRIBUTING and the docs name runs in the suite, in a short form; this holds the list."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from embedded.distill import __main__ as distill
from embedded.distill import evaluate
from embedded.distill.control import CONTROLS, CUSTOM, ROLES, file_name
from embedded.distill.export import EMBEDDED_PAIR, PAIR_NAMES
from embedded.distill.recipe import ControlTraining
from extension_core.sampling.families import detect_family
from extension_core.weights.reader import read_header
from tests.unit.test_distill import TINY as RUN
from tests.unit.test_previews import TINY as PREVIEWS

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for folder in ("docs", "embedded") for page in sorted((ROOT / folder).rglob("*.md"))),
)
SERVED, BENCHES = "tests/embedded/test_commands.py", "tests/unit/test_benches.py"
# Command, without what stands for a user's own folders, addresses and choices -> the test that runs it.
HELD = {
    "run.py demo": "tests/unit/test_run.py::test_ctrl_c_ends_the_page_and_its_server",
    "run.py demo --headless": f"{SERVED}::test_the_headless_demo_writes_what_it_promises",
    "run.py test": "tests/unit/test_project.py::test_ci_runs_the_readmes_test_command",
    "run.py test --slow": "tests/unit/test_run.py::test_slow_tests_are_asked_for_alone",
    "run.py test --coverage": "tests/unit/test_run.py::test_coverage_is_asked_for_and_has_no_say",
    "run.py test tests/e2e": "tests/unit/test_run.py::test_a_part_is_tested_on_one_stack",
    "run.py lint": "tests/unit/test_run.py::test_everything_is_linted_before_it_is_tested",
    "run.py train CONFIG.toml": "tests/unit/test_run.py::test_the_trainer_runs_on_its_own_stack",
    "run.py train mine.toml": "tests/training/test_session.py::test_the_accordion_knows_what_was_trained",
    "run.py bench": f"{BENCHES}::test_quick_benchmark",
    "run.py bench --quick": f"{BENCHES}::test_quick_benchmark",
    "benches.small": f"{BENCHES}::test_quick_benchmark",
    "benches.residency": f"{BENCHES}::test_quick_benchmark",
    "benches.folder": f"{BENCHES}::test_quick_bench_of_a_large_folder",
    "benches.preview": f"{BENCHES}::test_quick_benchmark",
    "benches.ddil": f"{BENCHES}::test_a_study_that_was_ended_goes_on_where_it_was",
    "pytest": "tests/unit/test_commands.py::test_a_newcomers_first_test_is_green",
    "pytest tests/unit/test_every_option.py": "tests/unit/test_commands.py::test_a_newcomers_first_test_is_green",
    "pytest tests/e2e": f"{SERVED}::test_what_asks_a_running_webui",
    "pytest tests/e2e/test_xyz.py -k reads_nothing -s": (
        "tests/e2e/test_xyz.py::test_a_sweep_over_seeds_reads_nothing_and_merges_nothing_again"
    ),
    "embedded": f"{SERVED}::test_what_asks_a_running_webui",
    "embedded.demo.residency": f"{SERVED}::test_what_asks_a_running_webui",
    "embedded.demo.schedules": f"{SERVED}::test_what_asks_a_running_webui",
    "embedded.demo.transfer": f"{SERVED}::test_what_asks_a_running_webui",
    "tests.browser.page_load": "tests/browser/test_page_load.py::test_a_page_beside_itself_adds_nothing",
    "tests.e2e.forms": f"{SERVED}::test_forms_are_written_beside_a_pair",
    "embedded.distill install-pair": "tests/unit/test_commands.py::test_the_pair_is_installed",
    "embedded.distill train": "tests/unit/test_commands.py::test_a_pair_is_trained",
    "embedded.distill evaluate": "tests/unit/test_commands.py::test_a_pair_is_measured",
    "embedded.distill controls": "tests/unit/test_commands.py::test_controls_are_trained",
    "embedded.distill previews": "tests/unit/test_commands.py::test_preview_decoders_are_trained",
}
TINY = replace(
    RUN,
    previews=PREVIEWS.previews,
    control=ControlTraining(pictures=4, captions=1, batch=2, concept_updates=1, slider_updates=1, tune_updates=1),
)
_KEPT = ("--headless", "--slow", "--coverage", "--quick", "-k", "-s")
_CHOSEN = ("--flavour", "--port", "--url", "--plain", "--json", "--out", "--into", "--ckpt-dir", "--lora-dir")


def named() -> dict[str, str]:
    """Every command of the pages as it stands there -> as the list has it."""
    commands = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for span in (*re.findall(r"`([^`\n]+)`", text), *text.splitlines()):
            line = span.split("  ")[0] if span[:1].strip() else span.strip().split("  ")[0]
            if command := re.fullmatch(r"(?:[A-Z_]+=\S+ )*(?:python )?((?:run\.py|-m) [a-z].*)", line):
                commands[line] = _short(command[1])
    return commands


def _short(command: str) -> str:
    words = iter(command.removeprefix("run.py python ").removeprefix("-m ").split())
    kept = []
    for word in words:
        if word in _CHOSEN:
            next(words, "")
        elif word in _KEPT or (not word.startswith(("-", "http")) and not word.isupper()):
            kept.append(word)
        elif word.startswith("-"):
            raise AssertionError(f"{command}: say of {word} whether its test has it, too")
    if kept[0] == "embedded":  # with its page or without: its tests have both
        kept = [word for word in kept if word != "--headless"]
    return " ".join(kept)


def test_every_command_has_a_test_that_runs_it() -> None:
    found = named()
    lacking = {line: command for line, command in found.items() if command not in HELD}
    assert not lacking, "named, and no test runs it"
    assert set(HELD) <= set(found.values()), "no page names these any more"


def test_every_command_runs_in_an_environment_of_ours() -> None:
    """The system's Python has none of what they import."""
    for line in named():
        assert "run.py " in line, f"{line} lacks `python run.py` before it"


@pytest.mark.parametrize("test", sorted(set(HELD.values())))
def test_the_tests_are_there_and_run_every_time(test: str) -> None:
    path, _, name = test.partition("::")
    source = (ROOT / path).read_text(encoding="utf-8")
    found = re.search(rf"((?:^@.*\n)*)^def {name}\(", source, re.MULTILINE)
    assert found, f"{path} has no {name}"
    assert "slow" not in found[1], f"{test} is not run by `run.py test`"


def test_a_newcomers_first_test_is_green() -> None:
    command = [sys.executable, "run.py", "python", "-m", "pytest", "-q", "tests/unit/test_every_option.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = re.search(r"these (\d+) tests", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert told is not None
    assert f"{told[1]} passed" in done.stdout


def _distill(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["distill", *map(str, arguments)])
    distill.main()


def test_the_pair_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    _distill(monkeypatch, "install-pair", "--into", tmp_path)
    base, distilled = (folder / f"{name}.safetensors" for name in PAIR_NAMES)
    assert base.read_bytes() == (EMBEDDED_PAIR / base.name).read_bytes()
    whole = {**load_file(base), **load_file(EMBEDDED_PAIR / distilled.name)}
    installed = load_file(distilled)
    assert set(installed) == set(whole) > set(load_file(EMBEDDED_PAIR / distilled.name))
    assert all(torch.equal(value, whole[name]) for name, value in installed.items())
    assert detect_family(distilled.stem, read_header(distilled).metadata).family.name == "dmd2"
    assert distilled.with_suffix(".yaml").read_bytes() == base.with_suffix(".yaml").read_bytes()


def test_a_pair_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "Recipe", lambda: TINY)
    _distill(monkeypatch, "train", "--out", tmp_path)
    assert {path.stem for path in tmp_path.rglob("*.safetensors")} >= set(PAIR_NAMES)


def test_controls_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "Recipe", lambda: TINY)
    _distill(monkeypatch, "controls", "--out", tmp_path)
    loras = {path.stem for path in (tmp_path / "Lora").glob("*.safetensors")}
    assert loras == {file_name(control, role) for control in CONTROLS for role in ROLES}
    assert (tmp_path / "checkpoints" / f"{CUSTOM}.safetensors").is_file()


def test_a_pair_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One prompt, one attribute, and the ways that every other is compared with."""
    whole = evaluate.plans()
    monkeypatch.setattr(evaluate, "PROMPTS", evaluate.PROMPTS[:1])
    monkeypatch.setattr(evaluate, "ATTRIBUTES", {"body": evaluate.ATTRIBUTES["body"][:1]})
    monkeypatch.setattr(evaluate, "plans", lambda: {name: whole[name] for name in list(whole)[:4]})
    _distill(monkeypatch, "evaluate", "--out", tmp_path, "--images", 2)
    assert {path.name for path in tmp_path.iterdir()} >= {"results.json", "table.md"}


def test_preview_decoders_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "Recipe", lambda: TINY)
    _distill(monkeypatch, "previews", "--out", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"VAE-taesd", "VAE-approx", "previews.json"}
