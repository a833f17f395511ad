"""What the parts' command lines share."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.a1111 import A1111
from benches.forge import Forge
from benches.host import Host

HOSTS: dict[str, type[Host]] = {"a1111": A1111, "forge": Forge}


def parser(module: str, description: str | None, quick: str) -> argparse.ArgumentParser:
    """The options of every such bench.

    Args:
        quick: what `--quick` makes of it.
    """
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    made.add_argument("--flavour", choices=HOSTS, default="a1111", help="the host to be like (default: a1111)")
    made.add_argument("--json", type=Path, help="write the figures to this file too")
    made.add_argument("--threads", type=int, help="torch's threads (default: torch's own choice)")
    made.add_argument("--quick", action="store_true", help=f"{quick}: shows that it runs")
    return made


def tell(target: Path | None, measure: Callable[[Path], dict[str, Any]]) -> int:
    """Measure in a temporary folder, print the figures alone, and write them."""
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory(prefix="bench") as folder:
        figures = measure(Path(folder))
    width = max(map(len, figures))
    print("\n".join(f"{name:<{width}}  {_shown(value)}" for name, value in figures.items()))
    if target is not None:
        target.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _shown(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
