"""Command line options of this host beyond what both flavours have."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No command line options of its own."""
