"""install.py run for real, by the Python of a throw-away environment, on wheels made here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.unit.wheels import make_wheel

pytestmark = pytest.mark.once  # imports nothing whose version differs between the stacks

ROOT = Path(__file__).resolve().parents[2]


class Host:
    """A host's environment and an extension folder with a pyproject.toml of the test's choice."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        self.extension = folder / "extension"
        self.extension.mkdir()
        shutil.copy(ROOT / "install.py", self.extension)
        venv.create(folder / "venv", with_pip=True)
        self.python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        self.environ.pop("PYTHONPATH", None)

    def pip(self, *arguments: str) -> None:
        subprocess.run([str(self.python), "-m", "pip", *arguments], env=self.environ, check=True, capture_output=True)

    def version(self, name: str) -> str | None:
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        done = subprocess.run([str(self.python), "-c", code], env=self.environ, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    def install(self, *dependencies: str, text: str | None = None, before: str = "") -> list[str]:
        """Run install.py as the hosts' launcher does; return what it printed, line by line."""
        text = text if text is not None else f"[project]\ndependencies = {list(dependencies)!r}\n"
        (self.extension / "pyproject.toml").write_text(text)
        command = [str(self.python), str(self.extension / "install.py")]
        if before:
            code = (
                f"{before}; import runpy; runpy.run_path({str(self.extension / 'install.py')!r}, run_name='__main__')"
            )
            command = [str(self.python), "-c", code]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stderr == ""
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    host = Host(tmp_path_factory.mktemp("host"))
    for name, version, requires in [
        ("ddheld", "1.0", ()),
        ("ddheld", "2.0", ()),
        ("ddplain", "1.0", ("ddheld",)),
        ("ddgreedy", "1.0", ("ddheld>=2",)),
        ("ddother", "3.1", ()),
    ]:
        make_wheel(host.wheels, name, version, requires)
    host.pip("install", "ddheld==1.0")
    return host


def test_nothing_is_said_or_done_when_the_host_has_everything(host: Host) -> None:
    assert host.install("ddheld>=1.0", "DDheld") == []


def test_what_is_missing_is_installed_and_the_hosts_versions_stay(host: Host) -> None:
    assert host.install("ddplain>=1.0", "ddheld>=1") == ["Diversity Distillation: installed ddplain>=1.0."]
    assert host.version("ddplain") == "1.0"
    assert host.version("ddheld") == "1.0"
    assert host.install("ddplain>=1.0") == []


def test_a_too_old_version_is_named_and_left(host: Host) -> None:
    (line,) = host.install("ddheld>=2.0")
    assert line.startswith("Diversity Distillation: ddheld>=2.0 is needed and this host has 1.0, which was left")
    assert host.version("ddheld") == "1.0"


def test_a_package_that_would_change_the_host_is_refused_in_one_sentence(host: Host) -> None:
    (line,) = host.install("ddgreedy")
    assert line.startswith("Diversity Distillation: ddgreedy could not be installed (")
    assert "pip install" in line
    assert host.version("ddgreedy") is None
    assert host.version("ddheld") == "1.0"


def test_a_package_that_does_not_exist_is_one_sentence(host: Host) -> None:
    (line,) = host.install("ddabsent==9.9")
    assert "ddabsent==9.9 could not be installed" in line


def test_what_makes_a_host_is_never_installed(host: Host) -> None:
    make_wheel(host.wheels, "torch", "2.13.0")
    (line,) = host.install("torch>=2.0")
    assert line.startswith("Diversity Distillation: torch>=2.0 is needed and this Python has none")
    assert host.version("torch") is None


def test_markers_of_other_platforms_do_not_count(host: Host) -> None:
    assert host.install("ddabsent; sys_platform == 'plan9'") == []


@pytest.mark.parametrize("text", ["[project", "[project]\n", "[project]\ndependencies = ['==bad==']\n"])
def test_a_damaged_pyproject_does_not_keep_the_host_from_starting(host: Host, text: str) -> None:
    (line,) = host.install(text=text)
    assert line.startswith("Diversity Distillation: install.py could not check its requirements (")
    assert line.endswith("the host starts without.")


def test_python_3_10_has_no_tomllib_and_a_bare_host_no_packaging(host: Host) -> None:
    before = "import sys; sys.modules['tomllib'] = None; sys.modules['packaging'] = None"
    assert host.install("ddother>=3", before=before) == ["Diversity Distillation: installed ddother>=3."]
    assert host.version("ddother") == "3.1"


def test_this_environment_meets_the_extensions_own_requirements() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "install.py")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
