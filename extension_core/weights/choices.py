"""The one list of everything that can be a distilled model, and finding an entry by what a user calls it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from extension_core.errors import DiversityError
from extension_core.weights.disguised import part_of
from extension_core.weights.reader import PICKLE_SUFFIXES

UNET_LABEL = "U-Net: "
LORA_LABEL = "LoRA: "
MODEL_SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
# Folders of the host's models folder for U-Nets without the rest, as other programs name them.
UNET_FOLDERS = ("unet", "diffusion_models", "diffusers")
_CHECKSUM = re.compile(r"(?P<name>.*\S)\s*\[(?P<hash>[0-9a-fA-F]{8,64})\]")
# Folders of the other parts of a model in diffusers' layout.
_OTHER_PARTS = ("vae", "text_encoder", "text_encoder_2", "image_encoder", "safety_checker", "tokenizer", "tokenizer_2")


@dataclass(frozen=True)
class Choice:
    """One entry of the dropdown.

    Attributes:
        label: what the dropdown shows; no two entries share one.
        title: what the infotext says; finds the entry again.
        name: the file's name as far as it tells something, for telling the family.
        others: what else the host calls it.
    """

    label: str
    title: str
    path: Path
    name: str
    others: tuple[str, ...] = ()

    def called(self) -> Iterator[str]:
        """Everything this entry answers to, with and without the label's prefix and the file's extension."""
        yield from (self.label, self.title, *self.others)
        for prefix in (UNET_LABEL, LORA_LABEL):
            if self.label.startswith(prefix):
                bare = self.label.removeprefix(prefix)
                stem = _without_suffix(bare)
                yield from (bare, prefix + stem, stem, self.path.name, self.path.stem)
                yield from (prefix + self.path.name, prefix + self.path.stem)


def _without_suffix(name: str) -> str:
    return name.rpartition(".")[0] if name.lower().endswith(MODEL_SUFFIXES) else name


def lora_choice(name: str, path: Path) -> Choice:
    """The entry of a LoRA that the host lists under `name`."""
    return Choice(LORA_LABEL + name, LORA_LABEL + name, path, path.stem, (name,))


def unet_choices(folders: Iterable[Path], listed: Collection[Path]) -> list[Choice]:
    """Entries for model files in and below some folders, by name; files that are listed already are left out.

    Of a model in several files the first alone is an entry.
    """
    known = {os.path.realpath(path) for path in listed}
    found: dict[str, Choice] = {}
    for folder in folders:
        for path in sorted(_model_files(folder)):
            inside, real = path.relative_to(folder).as_posix(), os.path.realpath(path)
            if real not in known and UNET_LABEL + inside not in found:
                known.add(real)
                label = UNET_LABEL + inside
                found[label] = Choice(label, label, path, _without_suffix(inside))
    return list(found.values())


def _model_files(folder: Path) -> Iterator[Path]:
    """What may go away while it is looked for is left out, and so is what leads nowhere or back to where it is."""
    walked: set[str] = set()
    for root, inner, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in walked:
            inner.clear()
            continue
        walked.add(real)
        inner[:] = [name for name in inner if name.lower() not in _OTHER_PARTS and not name.startswith(".")]
        for name in names:
            path = Path(root) / name
            is_model = path.suffix.lower() in MODEL_SUFFIXES and not path.stem.lower().endswith(".vae")
            if is_model and (part_of(path) or (1,))[0] == 1 and os.path.isfile(path):  # noqa: PTH113 - pathlib raises where it may not look
                yield path


def unet_folders(models: Path) -> list[Path]:
    """Folders for U-Nets in a host's models folder; case does not matter."""
    try:
        found = [Path(entry.path) for entry in os.scandir(models) if entry.name.lower() in UNET_FOLDERS]
    except OSError:
        return []
    return sorted(folder for folder in found if os.path.isdir(folder))  # noqa: PTH112 - as above


def find(name: str, choices: Sequence[Choice]) -> Choice | None:
    """The entry that answers to this whole name, None if none does; a part of a name is nobody's.

    Letters' case is the second try. A hash in brackets after the name, as hosts write one, says nothing where the name
    is known, and finds the file where it was renamed. Checkpoints come before U-Nets, and those before LoRAs.

    Raises:
        DiversityError: several files of one kind answer to it.
    """
    bare, checksum = _without_checksum(name)
    for wanted in dict.fromkeys(filter(None, (name, bare, checksum))):
        for fold in (str, str.casefold):
            known = [choice for choice in choices if any(fold(each) == fold(wanted) for each in choice.called())]
            if known:
                labelled = [choice for choice in known if fold(choice.label) == fold(wanted)]
                return labelled[0] if labelled else _only(name, known)
    return None


def _without_checksum(name: str) -> tuple[str, str]:
    """A name without the hash after it and without blanks around it; and the hash, "" if there is none."""
    found = _CHECKSUM.fullmatch(name.strip())
    return (found["name"], found["hash"].lower()) if found else (name.strip(), "")


def _only(name: str, known: Sequence[Choice]) -> Choice:
    first = _kind(known[0])
    labels = {os.path.realpath(choice.path): choice.label for choice in known if _kind(choice) == first}
    if len(labels) > 1:
        which = " or ".join(f"'{label}'" for label in list(labels.values())[:3])
        raise DiversityError(f"The distilled model '{name}' may be {which}; give the whole name.")
    return known[0]


def _kind(choice: Choice) -> str:
    return next((prefix for prefix in (UNET_LABEL, LORA_LABEL) if choice.label.startswith(prefix)), "")


def not_found(name: str, choices: Sequence[Choice]) -> DiversityError:
    """The refusal of a name that nothing answers to, with the nearest that something does."""
    known = [choice.label for choice in choices]
    nearest = difflib.get_close_matches(name.casefold(), [label.casefold() for label in known], n=1, cutoff=0.0)
    label = next((label for label in known if nearest and label.casefold() == nearest[0]), None)
    hint = f"the nearest is '{label}'" if label else "it lists none at all"
    return DiversityError(
        f"The distilled model '{name}' is not among the host's checkpoints, U-Nets and LoRAs; {hint}; refresh the list "
        "or choose another."
    )
