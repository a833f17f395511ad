"""Run by the host's launcher at each start, in the host's own Python: adds what the extension needs and it lacks.

The requirements are those of pyproject.toml. A version that the host has is never changed, not even a too old one:
hosts pin theirs, and other extensions count on them. Nothing here may keep the host from starting.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TITLE = "Diversity Distillation"
THE_HOSTS = (
    "torch",
    "gradio",
    "fastapi",
    "pydantic",
)  # a host that lacks one is no host; ours would be the wrong build
PYPROJECT = Path(__file__).resolve().parent / "pyproject.toml"


def say(sentence: str) -> None:
    print(f"{TITLE}: {sentence}", flush=True)


def requirements(pyproject: Path = PYPROJECT) -> list[Any]:
    """Return the extension's own requirements (`packaging` objects) that apply to this Python and platform."""
    try:
        import tomllib as toml  # pyright: ignore[reportMissingImports]
    except ImportError:  # Python 3.10
        from pip._vendor import tomli as toml
    try:
        from packaging.requirements import Requirement
    except ImportError:
        from pip._vendor.packaging.requirements import Requirement
    project = toml.loads(pyproject.read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    return [r for r in wanted if r.marker is None or r.marker.evaluate()]


def host_versions() -> dict[str, str]:
    """Return the version of every distribution that this Python has, by its name as pip writes it."""
    found = ((d.metadata["Name"], d.version) for d in importlib.metadata.distributions())
    return {name: version for name, version in found if name and version}


def sort_out(wanted: list[Any], has: dict[str, str]) -> tuple[list[Any], list[str]]:
    """Return what may be installed, and a sentence for each requirement that is the host's to meet."""
    versions = {name.lower().replace("_", "-"): version for name, version in has.items()}
    missing, unfit = [], []
    for requirement in wanted:
        version = versions.get(requirement.name.lower().replace("_", "-"))
        if version is None and requirement.name in THE_HOSTS:
            unfit.append(
                f"{requirement} is needed and this Python has none; install.py is run by the host, in its own Python."
            )
        elif version is None:
            missing.append(requirement)
        elif not requirement.specifier.contains(version, prereleases=True):
            unfit.append(
                f"{requirement} is needed and this host has {version}, which was left as it is; update the host."
            )
    return missing, unfit


def pip_install(missing: list[Any], has: dict[str, str]) -> str | None:
    """Install what is missing with every version of the host held fast; return a sentence if that failed."""
    names = ", ".join(str(r) for r in missing)
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "host-versions.txt"
        held.write_text("".join(f"{name}=={version}\n" for name, version in sorted(has.items())), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--prefer-binary", "--disable-pip-version-check", "-q"]
        command += ["-c", str(held), *(str(r) for r in missing)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        say(f"installed {names}.")
        return None
    last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
    return (
        f"{names} could not be installed ({last}); install by hand with {sys.executable} -m pip install, then restart."
    )


def main() -> None:
    has = host_versions()
    missing, unfit = sort_out(requirements(), has)
    for sentence in unfit:
        say(sentence)
    if missing and (sentence := pip_install(missing, has)):
        say(sentence)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001 - whatever is wrong here, the host starts and the reason is in its log
        say(f"install.py could not check its requirements ({type(error).__name__}: {error}); the host starts without.")
