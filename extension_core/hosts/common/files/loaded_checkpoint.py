"""The checkpoint that the host has loaded, by its file's name and by what the host has read of its metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from modules import sd_models, shared

from extension_core.sampling.families import Detection, detect_family
from extension_core.sampling.roles import Side

T = TypeVar("T")
# How often something is asked of a checkpoint that another one takes the place of meanwhile.
_TIMES = 5


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What is loaded, whatever has become of its file since.

    Attributes:
        name: as the host names it in infotexts.
    """

    name: str
    path: Path
    detection: Detection

    @property
    def side(self) -> Side:
        """As one of a request's two models."""
        return Side(self.name, self.detection)


def loaded_checkpoint() -> LoadedCheckpoint:
    """The one of now; the host loads its own first if there is none (`shared.sd_model`, 1.10.1)."""
    return _of(shared.sd_model.sd_checkpoint_info)


def chosen_checkpoint(name: str = "") -> LoadedCheckpoint | None:
    """The one that the next image is made with, None where the host has none of that name.

    Args:
        name: what a page has chosen; without it what the host's setting says.
    """
    info = sd_models.get_closet_checkpoint_match(name or shared.opts.sd_model_checkpoint or "")
    return None if info is None else _of(info)


def is_of_next_image(name: str = "") -> bool:
    """Whether what is loaded is what the next image is made with.

    Forge loads what is chosen with the next image; A1111 leaves what a request of its own checkpoint has loaded. Both
    compare the files (sd_models.reload_model_weights, 1.10.1).
    """
    chosen = chosen_checkpoint(name)
    return chosen is None or chosen.path == loaded_checkpoint().path


def of_one_checkpoint(ask: Callable[[], T]) -> T:
    """What is asked beside a running host, asked again if the host has changed its checkpoint meanwhile.

    Hosts do that in a thread of their own, and between the two there is none: Forge lets the old one go first
    (`forge_model_reload` in modules/sd_models.py, dfdcbab6), A1111 too unless it keeps several.
    """
    for _ in range(_TIMES - 1):
        before = _loaded()
        try:
            result = ask()
        except Exception:
            if _loaded() == before:
                raise
        else:
            if _loaded() == before:
                return result
    return ask()


def _loaded() -> tuple[int, str]:
    """Tells one loaded checkpoint from the next; A1111 puts a like one into the same model."""
    model = sd_models.model_data.sd_model
    return id(model), str(getattr(getattr(model, "sd_checkpoint_info", None), "filename", ""))


def _of(info: Any) -> LoadedCheckpoint:
    name = info.name_for_extra
    return LoadedCheckpoint(name, Path(info.filename), detect_family(name, getattr(info, "metadata", None) or {}))


def loaded_name() -> str:
    """The loaded checkpoint's name, as infotexts have it."""
    return shared.sd_model.sd_checkpoint_info.name_for_extra
