"""The doorway: what the host loads and calls. Everything else is in `extension_core`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from modules import scripts

_PACKAGE = Path(scripts.basedir()).resolve() / "extension_core"


def _is_ours(package: ModuleType) -> bool:
    return package.__file__ is not None and Path(package.__file__).resolve().parent == _PACKAGE


def _forget_what_was_updated() -> None:
    """After an update "Reload UI" executes this file anew, but Python keeps modules of the files of before."""
    package = sys.modules.get(_PACKAGE.name)
    if package is None or not _is_ours(package) or getattr(package, "is_current", lambda: False)():
        return
    if residency := sys.modules.get(f"{_PACKAGE.name}.weights.residency"):
        getattr(residency, "drop_all", lambda: None)()
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE.name]:
        del sys.modules[name]
    importlib.invalidate_caches()


_forget_what_was_updated()
import extension_core  # noqa: E402

if not _is_ours(extension_core):
    raise ImportError(
        f"Diversity Distillation found another package called extension_core at {extension_core.__file__}; remove or "
        "rename the extension it belongs to."
    )

from extension_core.hosts import choose  # noqa: E402

HOST = choose.choose()
HOST.register()


class DiversityDistillation(scripts.Script):
    """The accordion of txt2img and img2img. Keeps nothing of a request: that lives on the request itself."""

    def __init__(self) -> None:
        self._host_settings: dict[str, Any] = {}

    def title(self) -> str:
        """Name over the API; fixed for ever."""
        return "Diversity Distillation"

    def show(self, is_img2img: bool) -> object:
        """On both tabs, always."""
        return scripts.AlwaysVisible

    def after_component(self, component: Any, **kwargs: Any) -> None:
        """Remember the host's own settings that the plan line depends on."""
        HOST.note_setting(self._host_settings, component, kwargs.get("elem_id"), self.is_img2img)

    def ui(self, is_img2img: bool) -> list[Any]:
        """Build the accordion."""
        return HOST.build_panel(self, dict(self._host_settings))

    def setup(self, p: Any, *args: Any) -> None:
        """Look whether the request is a plot of many."""
        HOST.setup(p)

    def before_process(self, p: Any, *args: Any) -> None:
        """Make what the request is to be compared with."""
        HOST.before(p, args)

    def process(self, p: Any, *args: Any) -> None:
        """Settle the request."""
        HOST.begin(p, args)

    def process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Take over the batch that is about to be made."""
        HOST.before_batch(p)

    def process_before_every_sampling(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Take over the pass that is about to run."""
        HOST.before_sampling(p)

    def postprocess_image_after_composite(self, p: Any, pp: Any, *args: Any) -> None:
        """Look at what others have done to an image."""
        HOST.image_finished(p)

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        """Look at what was made."""
        HOST.after(p, processed)
