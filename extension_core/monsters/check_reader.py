"""Checks the reader on monsters that went through a trained pair's autoencoder.

python -m extension_core.monsters.check_reader --checkpoint monsters_base.safetensors adds "accuracy_autoencoder" to the
JSON beside the reader.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .dataset import make_dataset
from .reader import READER_FILE, load_reader
from .train_reader import HELD_OUT_SEED, accuracy, through


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help=".safetensors with its .yaml beside")
    parser.add_argument("--held-out", type=int, default=1000)
    options = parser.parse_args()
    from extension_core.embedded.networks import load_checkpoint

    model = load_checkpoint(options.checkpoint).eval()
    images, indices, _ = make_dataset(options.held_out, HELD_OUT_SEED)
    rebuilt = through(lambda pictures: model.decode_latent(model.encode_image(pictures)), images)
    stated = READER_FILE.with_suffix(".json")
    report = json.loads(stated.read_text(encoding="utf-8"))
    report["autoencoder_images"] = options.held_out
    report["accuracy_autoencoder"] = accuracy(load_reader(), rebuilt, indices)
    stated.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report["accuracy_autoencoder"], indent=2))


if __name__ == "__main__":
    main()
