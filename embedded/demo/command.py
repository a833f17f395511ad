"""What the demo's commands share: their arguments, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .client import DemoError


def run_command(name: str, doc: str | None, least_seeds: int, run: Callable[[str, Path, int], object]) -> int:
    """Read `--url`, `--out` and `--seeds`, run, and say where it was written, or in one sentence why not.

    Args:
        least_seeds: what the grids show of each prompt.
    """
    parser = argparse.ArgumentParser(prog=f"python -m embedded.demo.{name}", description=doc)
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="the WebUI's address")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables and grids")
    parser.add_argument("--seeds", type=int, default=32, help="seeds of each prompt (default: 32)")
    options = parser.parse_args()
    if options.seeds < least_seeds:
        parser.error(f"--seeds is {options.seeds}, but the grids show {least_seeds} of each prompt")
    try:
        run(options.url, options.out, options.seeds)
    except DemoError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    print(f"written to {options.out}", flush=True)
    return 0
