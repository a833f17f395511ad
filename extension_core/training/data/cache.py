"""Latents of pictures and conditionings of prompts, made once and kept; a run that was ended goes on with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from extension_core.errors import DiversityError
from extension_core.training.data.buckets import Size, fit, size_for
from extension_core.training.data.pictures import Picture
from extension_core.training.denoiser import Conditioning
from extension_core.training.draws import seeded
from extension_core.training.whole_files import write_whole


class Encoder(Protocol):
    """What makes latents and conditionings."""

    @property
    def identity(self) -> str:
        """Another string where it would make others."""
        ...

    def encode_picture(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Latent [C, h, w] of a picture [3, H, W] in -1 to 1."""
        ...

    def encode_prompt(self, prompt: str) -> Conditioning:
        """Each tensor [...], without rows."""
        ...


@dataclass(frozen=True)
class Entry:
    """A picture that has been encoded.

    Args:
        told: what SDXL is told of its size (buckets.py).
    """

    latent: Path
    prompt: str
    size: Size
    told: tuple[int, ...]


class Cache:
    """A folder with one file for each picture and one for each prompt, written whole or not at all.

    Args:
        sizes: those that pictures are brought to.
    """

    def __init__(self, folder: Path, encoder: Encoder, sizes: Sequence[Size]) -> None:
        self.folder, self._encoder, self._sizes = folder, encoder, list(sizes)
        self._prompts: dict[str, Path] = {}

    def add(
        self, pictures: Iterable[Picture], skip_bad: bool, progress: Callable[[int], None] = lambda _: None
    ) -> list[Entry]:
        """Encode what is not there yet.

        Args:
            skip_bad: leave out pictures that cannot be read.
            progress: called with the number of pictures so far.

        Raises:
            DiversityError: a picture cannot be read, there is none, or the disk has no room.
        """
        entries: list[Entry] = []
        for number, picture in enumerate(pictures, start=1):
            try:
                entries.append(self._entry(picture))
            except DiversityError:
                if not skip_bad or _is_full(self.folder):
                    raise
            progress(number)
        if not entries:
            raise DiversityError("The data hold no picture that can be used; choose other data.")
        for entry in entries:
            self.prompt_file(entry.prompt)
        return entries

    def _entry(self, picture: Picture) -> Entry:
        path = self._path("pictures", picture.key, *map(str, self._sizes))
        found = _loaded(path)
        if found is None:
            found = self._encoded(picture)
            write_whole(path, lambda file: file.write(save(found)))
        told = tuple(found["told"].tolist())
        return Entry(path, picture.caption, Size(told[4], told[5]), told)

    def _encoded(self, picture: Picture) -> dict[str, Tensor]:
        opened = picture.open()
        size = size_for(opened.width, opened.height, self._sizes)
        if min(opened.width / size.width, opened.height / size.height) < 1 / 4:
            raise DiversityError(
                f"The picture {picture.name} has {opened.width} x {opened.height} pixels, too few for {size.width} x "
                f"{size.height}; take it out, lower data.resolution, or set data.skip_bad to true."
            )
        fitted = fit(opened, size)
        number = int.from_bytes(hashlib.sha256(picture.key.encode()).digest()[:8], "big")
        latent = self._encoder.encode_picture(fitted.pixels, seeded(number))
        return {"latent": latent.half().contiguous().cpu(), "told": torch.tensor(fitted.told)}

    def prompt_file(self, prompt: str) -> Path:
        """Where a prompt's conditioning is; made if it is not there."""
        if (known := self._prompts.get(prompt)) is not None:
            return known
        path = self._path("prompts", prompt)
        if _loaded(path) is None:
            told = self._encoder.encode_prompt(prompt)
            halved = {name: value.half().contiguous().cpu() for name, value in told.items()}
            write_whole(path, lambda file: file.write(save(halved)))
        self._prompts[prompt] = path
        return path

    def _path(self, kind: str, *parts: str) -> Path:
        name = hashlib.sha256("\0".join((self._encoder.identity, *parts)).encode()).hexdigest()[:32]
        return self.folder / kind / name[:2] / f"{name}.safetensors"


def _loaded(path: Path) -> dict[str, Tensor] | None:
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError):
        return None


def _is_full(folder: Path) -> bool:
    """Whether nothing at all can be written: then a picture was not the reason."""
    try:
        write_whole(folder / ".room", lambda file: file.write(b"\0" * 65536))
    except DiversityError:
        return True
    (folder / ".room").unlink()
    return False
