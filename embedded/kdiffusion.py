"""Makes `k_diffusion.sampling`, `.external` and `.utils` importable without k-diffusion's training half.

k-diffusion's `__init__` imports augmentation, evaluation and model code, and with them wandb, kornia, clip, clean-fid
and torchvision. A WebUI needs three modules of it, none of which uses those. So the package is entered into
`sys.modules` as an empty package that knows its own path; submodules are then found as usual and its `__init__` never
runs. `utils` asks for `torchvision.transforms.functional` for converting images alone, which no sampler does: where
torchvision is absent, an empty stand-in takes the place of that one import.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


def _package_without_init(name: str, folder: Path) -> ModuleType:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    return package


def _stand_in_for_torchvision() -> list[str]:
    if importlib.util.find_spec("torchvision") is not None:
        return []
    names = ["torchvision", "torchvision.transforms", "torchvision.transforms.functional"]
    for name in names:
        sys.modules[name] = ModuleType(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    return names


def load_k_diffusion() -> ModuleType:
    """Imports the three modules once and returns the package; later `import k_diffusion.sampling` finds them. Raises
    ImportError where k-diffusion is not installed.
    """
    if "k_diffusion" in sys.modules:
        return sys.modules["k_diffusion"]
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("k-diffusion is not installed; install it with `pip install --no-deps k-diffusion`.")
    package = _package_without_init("k_diffusion", Path(next(iter(spec.submodule_search_locations))))
    stand_ins = _stand_in_for_torchvision()
    for part in ("utils", "sampling", "external"):
        setattr(package, part, importlib.import_module(f"k_diffusion.{part}"))
    for name in stand_ins:  # others must go on seeing that torchvision is absent
        del sys.modules[name]
    return package
