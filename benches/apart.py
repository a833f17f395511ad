"""Benches in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def figures_of(module: str, flavour: str, threads: int | None, more: Sequence[str]) -> dict[str, Any]:
    """What `python -m module` writes into its JSON file; what it prints goes to standard error."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "figures.json"
        command = [sys.executable, "-m", module, "--flavour", flavour, "--json", str(target), *more]
        subprocess.run([*command, *(["--threads", str(threads)] if threads else [])], check=True, stdout=sys.stderr)
        return json.loads(target.read_text(encoding="utf-8"))
