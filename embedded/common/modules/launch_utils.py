"""What extensions' `install.py` and version checks ask of the start script."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from modules.flavour import VERSION
from modules.shared_cmd_options import cmd_opts as args


def git_tag() -> str:
    return VERSION


def is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def run_pip(command: str, desc: str | None = None, live: bool = False) -> str:
    del live
    done = subprocess.run([sys.executable, "-m", "pip", *command.split()], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"Couldn't install {desc or command}: {done.stderr.strip()}")
    return done.stdout


__all__ = ["VERSION", "args", "git_tag", "is_installed", "run_pip"]
