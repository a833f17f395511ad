"""Pictures with captions: from a folder, from webdataset's shards, from a parquet table. And prompts alone."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageOps, UnidentifiedImageError

from extension_core.errors import DiversityError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_CAPTIONS = (".txt", ".caption")
Captions = Literal["required", "empty"]


@dataclass(frozen=True)
class Picture:
    """One picture, opened when it is needed.

    Args:
        name: as it is called where something is said of it.
        key: another when its bytes are others: of its size and time, or of the bytes where they are at hand anyway.
        read: its bytes.
    """

    name: str
    key: str
    caption: str
    read: Callable[[], bytes]

    def open(self) -> Image.Image:
        """As RGB, upright, what is transparent on white.

        Raises:
            DiversityError: it cannot be decoded.
        """
        try:
            with Image.open(io.BytesIO(self.read())) as opened:
                upright = ImageOps.exif_transpose(opened)
                if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                    on_white = Image.new("RGBA", upright.size, "white")
                    on_white.alpha_composite(upright.convert("RGBA"))
                    return on_white.convert("RGB")
                return upright.convert("RGB")
        except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DiversityError(
                f"The picture {self.name} cannot be read (it is damaged, or no picture); replace it, or set "
                "data.skip_bad to true."
            ) from error


def from_folder(folder: Path, captions: Captions) -> list[Picture]:
    """All pictures of a folder and those below it, with the text beside each as its caption.

    Raises:
        DiversityError: there is no such folder, no picture in it, or a caption is missing.
    """
    if not folder.is_dir():
        raise DiversityError(f"{folder} is no folder; name one with pictures in data.pictures.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    found = [_in_folder(path, folder, captions) for path in paths]
    if not found:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise DiversityError(f"{folder} holds no {kinds}; name a folder with pictures in data.pictures.")
    return found


def _in_folder(path: Path, folder: Path, captions: Captions) -> Picture:
    name = path.relative_to(folder).as_posix()
    beside = next((file for file in map(path.with_suffix, _CAPTIONS) if file.is_file()), path.with_suffix(".txt"))
    try:
        caption = " ".join(beside.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        caption = _without(name, f"no {beside.name} beside it", captions)
    except (OSError, UnicodeDecodeError) as error:
        raise DiversityError(f"The caption {beside.name} cannot be read; save it as UTF-8 text.") from error
    state = path.stat()
    key = _key(name, str(state.st_size), str(state.st_mtime_ns))
    return Picture(name, key, caption, path.read_bytes)


def from_shards(pattern: str, captions: Captions) -> Iterator[Picture]:
    """Webdataset's samples of `jpg`, `png` or `webp` with `txt`, or `json` with "caption"; one is held at a time.

    Raises:
        DiversityError: a shard cannot be read.
    """
    from webdataset import WebDataset  # pyright: ignore[reportAttributeAccessIssue]

    try:
        samples: Iterable[dict[str, Any]] = WebDataset(pattern, shardshuffle=False, empty_check=False)  # pyright: ignore[reportAssignmentType, reportUnknownMemberType]
        for sample in samples:
            data = next((sample[suffix[1:]] for suffix in SUFFIXES if suffix[1:] in sample), None)
            if data is not None:
                yield _of_bytes(str(sample["__key__"]), data, _told(sample), captions)
    except (OSError, ValueError) as error:
        if isinstance(error, DiversityError):
            raise
        raise DiversityError(f"The shards {pattern} cannot be read ({error}); check data.shards.") from error


def _told(sample: dict[str, Any]) -> object:
    if "txt" in sample:
        return sample["txt"].decode("utf-8", "replace")
    return json.loads(sample["json"]).get("caption") if "json" in sample else None


def from_parquet(pattern: str, captions: Captions, picture: str = "image", text: str = "text") -> Iterator[Picture]:
    """The rows of a parquet table whose pictures are bytes, or structs with bytes; one is held at a time.

    Raises:
        DiversityError: it cannot be read, or lacks a column.
    """
    import datasets
    from datasets.exceptions import DatasetGenerationError

    try:
        table: Any = datasets.load_dataset("parquet", data_files=pattern, split="train")  # pyright: ignore[reportUnknownMemberType]
    except (OSError, ValueError, DatasetGenerationError) as error:
        raise DiversityError(f"{pattern} cannot be read as parquet; check data.parquet.") from error
    columns: list[str] = table.column_names
    wanted = text if text in columns else "caption"
    if missing := [name for name in (picture, wanted) if name not in columns]:
        raise DiversityError(
            f"{pattern} has the columns {', '.join(columns)} and no {missing[0]}; rename them to {picture} and {text}."
        )
    if not _is_bytes(table, picture):
        table = table.cast_column(picture, datasets.Image(decode=False))
    for index, row in enumerate(table):
        yield _of_bytes(f"row {index}", _bytes_of(row[picture]), row[wanted], captions)


def _is_bytes(table: Any, column: str) -> bool:
    return getattr(table.features[column], "dtype", "") in ("binary", "large_binary")


def _bytes_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else value["bytes"]


def read_prompts(path: Path) -> list[str]:
    """A prompt a line; empty lines and those that begin with # count for nothing.

    Raises:
        DiversityError: it cannot be read, or holds no prompt.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DiversityError(f"{path} cannot be read as UTF-8 text; name a file in data.prompts.") from error
    prompts = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not prompts:
        raise DiversityError(f"{path} holds no prompt; write one a line.")
    return prompts


def _of_bytes(name: str, data: bytes, caption: object, captions: Captions) -> Picture:
    told = " ".join(caption.split()) if isinstance(caption, str) else _without(name, "none with it", captions)
    return Picture(name, _key(name, hashlib.sha256(data).hexdigest()), told, lambda: data)


def _without(name: str, found: str, captions: Captions) -> str:
    if captions == "required":
        raise DiversityError(
            f'The picture {name} has no caption ({found}); write one, or set data.captions to "empty".'
        )
    return ""


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
