"""Which cases of the end-to-end suite's tables each stack takes: seen as pytest collects a table of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
import pytest
from tests.e2e.turns import left_out

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in left_out(items, {stack!r}):
        item.add_marker("slow")
"""
TABLES = """
import pytest

@pytest.mark.parametrize("case", range(10))
def test_on_both(case): pass

@pytest.mark.once
@pytest.mark.parametrize("case", range(4))
def test_on_one(case): pass

@pytest.mark.parametrize("case", [pytest.param(0, marks=pytest.mark.slow), 1, 2])
def test_with_a_slow_one(case): pass

def test_alone(): pass
"""


def taken(folder: Path, stack: str) -> dict[str, list[int]]:
    """Cases by test, as chosen by `-m "not slow"`; a test that is no table has none."""
    (folder / "conftest.py").write_text(CONFTEST.format(stack=stack))
    (folder / "test_tables.py").write_text(TABLES)
    options = ["--collect-only", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    cases: dict[str, list[int]] = {}
    for name, case in re.findall(r"::(\w+)(?:\[(\d+)\])?$", listed, re.MULTILINE):
        cases.setdefault(name, []).extend([int(case)] if case else [])
    return cases


def test_the_first_everywhere_and_each_other_in_its_turn(tmp_path: Path) -> None:
    a1111, forge = (taken(tmp_path, stack) for stack in ("a1111", "forge"))
    assert a1111["test_on_both"] == [0, 1, 9], "a file's first test runs on both"
    assert forge["test_on_both"] == [0, 5]
    assert a1111["test_on_one"] == [0, 1, 3]
    assert a1111["test_with_a_slow_one"] == [2], "its first case is Forge's, the next A1111's"
    assert forge["test_with_a_slow_one"] == [1]
    assert "test_alone" in a1111
    assert "test_alone" not in forge
