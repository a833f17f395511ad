"""Command line options of this host beyond what both flavours have."""

from __future__ import annotations

import argparse

from backend.args import parser as backend_parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("memory and number types")
    for action in backend_parser._actions:
        group.add_argument(*action.option_strings, action="store_true")
    group.add_argument("--text-encoder-dir", type=str, default=None)
    group.add_argument("--controlnet-dir", type=str, default=None)
