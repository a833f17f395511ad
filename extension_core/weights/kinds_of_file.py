"""What a model file says of itself."""

from __future__ import annotations

from pathlib import Path

from extension_core.errors import DiversityError
from extension_core.weights.lora_file import is_lora
from extension_core.weights.reader import read_header


def header_metadata(path: Path) -> dict[str, str]:
    """Metadata of a file, {} if it has none."""
    return dict(read_header(path).metadata)


def is_lora_file(path: Path) -> bool:
    """Whether a file is a LoRA by its keys, wherever it lies."""
    return is_lora(read_header(path).shapes)


def config_beside(path: Path) -> str | None:
    """Text of the yaml beside a checkpoint, where hosts look for its configuration; None if there is none.

    Raises:
        DiversityError: there is one that cannot be read.
    """
    config = path.with_suffix(".yaml")
    try:
        return config.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise DiversityError(
            f"The configuration '{config.name}' beside '{path.name}' cannot be read ({error.strerror}); make it "
            "readable or move it away."
        ) from error
