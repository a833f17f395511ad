"""The one list of everything that can be a distilled model, and finding an entry by what a user calls it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from extension_core.errors import DiversityError
from extension_core.options.model_names import LORA_LABEL, MODEL_SUFFIXES, UNET_LABEL, without_suffix
from extension_core.weights.disguised import part_of

# What the hosts list by themselves (modules/sd_models.py and extensions-builtin/Lora/networks.py, 1.10.1).
CHECKPOINT_SUFFIXES = (".safetensors", ".ckpt")
LORA_SUFFIXES = (".safetensors", ".ckpt", ".pt")
# Folders of the host's models folder for U-Nets without the rest, as other programs name them.
UNET_FOLDERS = ("unet", "diffusion_models", "diffusers")
_LONGEST_COMPARED = 200  # characters of a name in the search for the nearest
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

    @cached_property
    def folded(self) -> tuple[str, ...]:
        """The same as `called`, each once and without regard to case: among thousands this is asked first."""
        return tuple(dict.fromkeys(each.casefold() for each in self.called()))

    def called(self) -> Iterator[str]:
        """Everything this entry answers to, with and without the label's prefix and the file's extension."""
        yield from (self.label, self.title, *self.others)
        for prefix in (UNET_LABEL, LORA_LABEL):
            if self.label.startswith(prefix):
                bare = self.label.removeprefix(prefix)
                stem = without_suffix(bare)
                yield from (bare, prefix + stem, stem, self.path.name, self.path.stem)
                yield from (prefix + self.path.name, prefix + self.path.stem)


def lora_choice(name: str, path: Path) -> Choice:
    """The entry of a LoRA that the host lists under `name`."""
    return Choice(LORA_LABEL + name, LORA_LABEL + name, path, path.stem, (name,))


def checkpoint_choices(folders: Iterable[Path], listed: Collection[Path]) -> list[Choice]:
    """Entries for checkpoints that came since the host listed its files, as it will call them."""

    def choice(inside: Path, path: Path) -> Choice | None:
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
            return None
        return Choice(str(inside), path.stem, path, path.stem, (path.name, without_suffix(str(inside))))

    return _unlisted(folders, listed, choice)


def lora_choices(folders: Iterable[Path], listed: Collection[Path]) -> list[Choice]:
    """The same for LoRAs."""

    def choice(_inside: Path, path: Path) -> Choice | None:
        return lora_choice(path.stem, path) if path.suffix.lower() in LORA_SUFFIXES else None

    return _unlisted(folders, listed, choice)


def unet_choices(folders: Iterable[Path], listed: Collection[Path]) -> list[Choice]:
    """Entries for model files in and below some folders, by name; files that are listed already are left out.

    Of a model in several files the first alone is an entry.
    """

    def choice(inside: Path, path: Path) -> Choice:
        label = UNET_LABEL + inside.as_posix()
        return Choice(label, label, path, without_suffix(inside.as_posix()))

    return _unlisted(folders, listed, choice)


def _unlisted(
    folders: Iterable[Path], listed: Collection[Path], choice: Callable[[Path, Path], Choice | None]
) -> list[Choice]:
    """Entries with different labels; `choice` makes one of (the path inside its folder, the path)."""
    real_path = _real_paths()
    known = {real_path(path) for path in listed}
    found: dict[str, Choice] = {}
    for folder in folders:
        for path in sorted(_model_files(folder)):
            real = real_path(path)
            made = None if real in known else choice(path.relative_to(folder), path)
            if made is not None and made.label not in found:
                known.add(real)
                found[made.label] = made
    return list(found.values())


def _real_paths() -> Callable[[Path], str]:
    """`os.path.realpath` for many files of few folders: each folder is followed once, a file only if it is a link."""
    folders: dict[str, str] = {}

    def real_path(path: Path) -> str:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        whole = os.path.join(folders[folder], name)  # noqa: PTH118 - as text, for speed
        return os.path.realpath(whole) if os.path.islink(whole) else whole  # noqa: PTH114

    return real_path


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
            part = part_of(path)
            begins = part is None or part[0] == 1
            if is_model and begins and os.path.isfile(path):  # noqa: PTH113 - pathlib raises where it may not look
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
    is known, and finds the file where it was renamed. Checkpoints come before U-Nets, and those before LoRAs. A
    checkpoint answers to a U-Net's label, too, which infotexts may have of a time when the host did not list it.

    Raises:
        DiversityError: several files of one kind answer to it.
    """
    found = _named(name, choices)
    if found is None and name.casefold().startswith(UNET_LABEL.casefold()):
        return _named(name[len(UNET_LABEL) :], [choice for choice in choices if not _kind(choice)])
    return found


def _named(name: str, choices: Sequence[Choice]) -> Choice | None:
    bare, checksum = _without_checksum(name)
    for name_in_file in dict.fromkeys(filter(None, (name, bare, checksum))):
        near = [choice for choice in choices if name_in_file.casefold() in choice.folded]
        exact = [choice for choice in near if name_in_file in choice.called()]
        fold: Callable[[str], str] = str if exact else str.casefold
        if near:
            known = exact or near
            labelled = [choice for choice in known if fold(choice.label) == fold(name_in_file)]
            return labelled[0] if labelled else _only(name, known)
    return None


def named_hash(name: str, choice: Choice) -> tuple[str, str]:
    """(a name without the hash in brackets after it, that hash); "" for no hash, or one that belongs to the name."""
    bare, checksum = _without_checksum(name)
    return (name, "") if name.casefold() in choice.folded else (bare, checksum)


def with_hash(choice: Choice, short_hash: str) -> str:
    """A name that finds an entry and holds which content was meant by it."""
    return f"{_without_checksum(choice.label)[0]} [{short_hash}]"


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
    label = _nearest(name, [choice.label for choice in choices])
    hint = f"the nearest is '{label}'" if label else "it lists none at all"
    return DiversityError(
        f"The distilled model '{name}' is not among the host's checkpoints, U-Nets and LoRAs; {hint}; choose "
        "another, or put the file there."
    )


def _nearest(name: str, labels: Iterable[str]) -> str | None:
    """The label most like a name, None if there are none; what cannot be nearer than the best so far is passed over."""
    matcher, best, score = difflib.SequenceMatcher(), None, -1.0
    matcher.set_seq2(name.casefold()[:_LONGEST_COMPARED])
    for label in labels:
        matcher.set_seq1(label.casefold()[:_LONGEST_COMPARED])
        if matcher.real_quick_ratio() > score and matcher.quick_ratio() > score and matcher.ratio() > score:
            best, score = label, matcher.ratio()
    return best
