"""Commands: ``train``, ``evaluate``, ``controls``, ``previews`` and ``install-pair``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from . import evaluate
from .control import train_controls
from .export import EMBEDDED_PAIR, install_pair
from .previews import train_previews
from .recipe import Recipe
from .run import STAGES, Run


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m embedded.distill", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train the pair; a stopped run resumes")
    train.add_argument("--out", type=Path, required=True, help="folder of the run")
    train.add_argument("--stage", choices=STAGES, default="all")
    train.add_argument("--seed", type=int, default=0)
    measure = commands.add_parser("evaluate", help="measure a pair on held-out ambiguous prompts")
    measure.add_argument("--pair", type=Path, default=EMBEDDED_PAIR, help="folder of the pair")
    measure.add_argument("--out", type=Path, required=True, help="folder for results.json, table.md and grids")
    measure.add_argument("--images", type=int, default=64, help="seeds for each prompt")
    controls = commands.add_parser("controls", help="train LoRAs, sliders and a fine-tune on the models of the pair")
    controls.add_argument("--out", type=Path, required=True, help="folder for Lora/ and checkpoints/")
    controls.add_argument("--pair", type=Path, default=EMBEDDED_PAIR, help="folder of the pair")
    previews = commands.add_parser("previews", help="train small decoders that show the pair's latents")
    previews.add_argument(
        "--out", type=Path, required=True, help="folder for VAE-taesd/, VAE-approx/ and previews.json"
    )
    previews.add_argument("--pair", type=Path, default=EMBEDDED_PAIR, help="folder of the pair")
    install = commands.add_parser("install-pair", help="put the pair into a WebUI's models folder")
    install.add_argument("--into", type=Path, required=True, help="directory of the WebUI")
    install.add_argument("--pair", type=Path, default=EMBEDDED_PAIR)
    return top


def main() -> None:
    options = parser().parse_args()
    if options.command == "train":
        torch.set_flush_denormal(True)  # Gradients of little weight are denormal; CPUs are many times slower on them.
        written = Run(dataclasses.replace(Recipe(), seed=options.seed), options.out).train(options.stage)
    elif options.command == "evaluate":
        written = evaluate.evaluate_pair(options.pair, options.out, options.images)
    elif options.command == "controls":
        torch.set_flush_denormal(True)
        written = train_controls(Recipe(), options.out, options.pair)
    elif options.command == "previews":
        torch.set_flush_denormal(True)
        written = train_previews(Recipe(), options.out, options.pair)
    else:
        written = install_pair(options.into, options.pair)
    for path in written:
        print(path)


if __name__ == "__main__":
    main()
