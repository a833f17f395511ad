"""The files of the preview decoders. Hosts fetch those that are missing from GitHub; nothing is fetched here."""

from __future__ import annotations

import os
import shutil

from modules import paths, paths_internal
from modules.shared_cmd_options import cmd_opts


def path_of(folder: str, name: str) -> str:
    """A file of the models folder, else of those that come with the stage. RuntimeError where a host would fetch it."""
    places = [os.path.join(root, folder, name) for root in (paths.models_path, paths_internal.default_ckpt_dir)]
    found = next(filter(os.path.exists, places[: 1 if folder == "VAE-taesd" else 2]), None)
    if found is None:
        raise RuntimeError(f"A real WebUI would now download {name} to {places[0]}; this one downloads nothing.")
    return found


def install() -> None:
    """The trained pair brings its TAESD along, where users of a host find the one that the host has fetched."""
    source, target = (os.path.join(x, "VAE-taesd") for x in (paths_internal.default_ckpt_dir, paths.models_path))
    if cmd_opts.ckpt_dir == paths_internal.default_ckpt_dir and not os.path.exists(target):
        shutil.copytree(source, target)
