"""What the user should know of a distilled model beside the loaded checkpoint, before anything has run."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from extension_core.hosts.common.plan.distilled_model import Models
from extension_core.hosts.common.plan.prompt_loras import files_in_prompts
from extension_core.hosts.protocols import Host
from extension_core.options.hybrid import Options
from extension_core.sampling.families import guidance_note
from extension_core.sampling.routing import Phase
from extension_core.weights.parts import different_vae, has_text_encoder
from extension_core.weights.reader import read_header
from extension_core.weights.selection import in_words_of_base


def notes_on(host: Host, models: Models) -> tuple[str, ...]:
    """Sentences on the second model's file, on its parts that are not used, and on the distilled model's guidance."""
    distilled = models.side(Phase.DISTILLED)
    name = distilled.name if models.roles.turned and distilled is not None else ""
    guidance = guidance_note(models.detection, models.options, name)
    if models.path is None:
        return guidance
    of_file = host.live_model().file_notes(models.path)
    if models.roles.turned:
        of_file = (*map(in_words_of_base, of_file), *_shared_parts(host, models))
    return (*of_file, *guidance)


def _shared_parts(host: Host, models: Models) -> Iterator[str]:
    """Text encoder and VAE, where the loaded distilled model's serve in place of the base's own."""
    loaded, base = models.loaded, models.path
    if loaded is None or base is None:
        return
    if not has_text_encoder(read_header(base)):
        yield (
            f"The base '{base.name}' holds no text encoder, so that of the loaded checkpoint '{loaded.name}' reads the "
            "prompt for both models."
        )
    if not host.other_vae() and different_vae(loaded.path, base):
        yield (
            f"The base '{base.name}' has another VAE than the loaded checkpoint '{loaded.name}', whose own makes the "
            "image."
        )


def notes_on_prompts(p: Any, path: Path | None, options: Options) -> tuple[str, ...]:
    """A sentence where a request's prompts name the LoRA that is its distilled model, under whichever name."""
    if path is None or options.mode == "base":
        return ()
    again = next((file for file in sorted(files_in_prompts(p)) if is_copy(file, path)), None)
    if again is None:
        return ()
    called = "stands" if again.name == path.name else f"stands as '{again.name}'"
    note = (
        f"The LoRA '{path.name}' is the distilled model and {called} in the prompt as well, so it acts on the base's "
        "steps too and twice on the distilled ones; take it out of the prompt."
    )
    return (note,)


def is_copy(file: Path, other: Path) -> bool:
    """Whether two files are one, or hold the same bytes; only files of one size are read, LoRAs or the like."""
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
