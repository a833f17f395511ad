"""What the user should know of a distilled model beside the loaded checkpoint, before anything has run."""

from __future__ import annotations

from pathlib import Path

from modules import shared

from extension_core.hosts.webui import files
from extension_core.hosts.webui.host import Host
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
