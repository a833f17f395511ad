"""What the user should know of a distilled model beside the loaded checkpoint, before anything has run."""

from __future__ import annotations

import filecmp
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from modules import shared

from extension_core.hosts.webui import files
from extension_core.hosts.webui.host import Host
from extension_core.hosts.webui.networks import files_in_prompts
from extension_core.options import Options
from extension_core.sampling.families import Detection, detect_family, distilled_twice, guidance_note


def notes_on(host: Host, path: Path | None, detection: Detection, options: Options) -> tuple[str, ...]:
    """Sentences on the file, on what it would be merged into once more, and on its guidance.

    Args:
        path: the distilled model's file, None if only the base runs.
    """
    if path is None:
        return guidance_note(detection, options)
    base = Path(shared.sd_model.sd_checkpoint_info.filename)
    same = f"The distilled model '{path.name}' is the loaded checkpoint itself, so switching has no effect."
    twice = distilled_twice(detect_family(base.stem, {}), detection) if files.is_lora_file(path) else ()
    return (*((same,) if base == path else ()), *host.file_notes(path), *twice, *guidance_note(detection, options))


def notes_on_prompts(p: Any, path: Path | None, options: Options) -> tuple[str, ...]:
    """A sentence where a request's prompts name the LoRA that is its distilled model, under whichever name."""
    if path is None or options.mode == "base":
        return ()
    again = next((file for file in sorted(files_in_prompts(p)) if _is_copy(file, path)), None)
    if again is None:
        return ()
    called = "stands" if again.name == path.name else f"stands as '{again.name}'"
    note = (
        f"The LoRA '{path.name}' is the distilled model and {called} in the prompt as well, so it acts on the base's "
        "steps too and twice on the distilled ones; take it out of the prompt."
    )
    return (note,)


def _is_copy(file: Path, other: Path) -> bool:
    """Whether two files are one, or hold the same bytes; only files of one size are read."""
    with suppress(OSError):
        if file == other or file.samefile(other):
            return True
        states = file.stat(), other.stat()
        return states[0].st_size == states[1].st_size and _equal(
            *((path, state.st_mtime_ns) for path, state in zip((file, other), states, strict=True))
        )
    return False


@lru_cache(maxsize=32)
def _equal(file: tuple[Path, int], other: tuple[Path, int]) -> bool:
    """Compared once for every pair of states, which are paths and times of writing."""
    return filecmp.cmp(file[0], other[0], shallow=False)
