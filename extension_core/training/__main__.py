"""`python -m extension_core.training CONFIG.toml`: train a few-step student, or go on where a run was ended."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from extension_core.errors import DiversityError


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status: 0 finished, 2 refused, 128 + n ended by signal n."""
    parser = argparse.ArgumentParser(prog="python run.py train", description=__doc__)
    parser.add_argument("config", type=Path, help="a TOML file (docs/training.md)")
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from extension_core.training.run.session import train  # after --help, for which nobody waits for torch

    try:
        ended = train(asked.config)
    except DiversityError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    if ended.signal is not None:
        return 128 + ended.signal
    return 0


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # what starts us in the background may have switched it off
    sys.exit(main())
