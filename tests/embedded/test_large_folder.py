"""What looking through many files costs, counted: each is read once, and the work grows as their number does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import save

from tests.embedded.conftest import Host
from tests.embedded.test_api_routes import the_host

CONTENT = save({"lora_unet_x.lora_up.weight": torch.zeros(2, 2)}, metadata={"ss_output_name": "style"})
FEW, MANY = 40, 120
NOWHERE = ("gone since", "0123456789")


class Entry:
    """A LoRA or a checkpoint as the hosts list one; counts how often its file's name is asked for."""

    def __init__(self, path: Path, asked: Counter[str], number: int) -> None:
        self._path, self._asked = path, asked
        self.name = self.name_for_extra = self.title = path.stem
        self.ids = [path.stem, path.name]
        self.shorthash = f"{number:012x}"
        self.hash = self.sha256 = self.shorthash
        self.metadata: dict[str, str] = {}

    @property
    def filename(self) -> str:
        self._asked["filename"] += 1
        return str(self._path)


@contextmanager
def many(folder: Path, count: int) -> Iterator[tuple[list[Path], Counter[str]]]:
    """A host with this many LoRAs and as many checkpoints, each a file; and what is asked of them."""
    from modules import hashes, sd_models

    from extension_core.hosts.common.files import choices

    asked: Counter[str] = Counter()
    paths = {
        kind: [folder / kind / f"{kind} {number:03d}.safetensors" for number in range(count)] for kind in ("l", "c")
    }
    for path in (*paths["l"], *paths["c"]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    loras, checkpoints = (
        {path.stem: Entry(path, asked, number) for number, path in enumerate(paths[kind])} for kind in ("l", "c")
    )

    def remembered(*_args: Any) -> None:
        asked["hash"] += 1

    with (
        mock.patch.object(choices.networks(), "available_networks", loras),
        mock.patch.object(sd_models, "checkpoints_list", checkpoints),
        mock.patch.object(hashes, "sha256_from_cache", remembered),
    ):
        yield [*paths["l"], *paths["c"]], asked


def asked_by(tmp_path: Path, count: int, act: Callable[[], Any]) -> Counter[str]:
    """What an action asks of so many files, after it was done once."""
    with many(tmp_path / str(count), count) as (_, asked):
        act()
        asked.clear()
        act()
        return asked


def paste() -> None:
    from extension_core.hosts.common.files import pasted

    assert pasted.label_of(*NOWHERE) == NOWHERE[0]
    assert pasted.detected(NOWHERE[0]) is None


def list_all() -> None:
    from extension_core.hosts.common.http.listing import Listing

    assert Listing().as_json()


def one_hash() -> None:
    from extension_core.hosts.common.files import hashes
    from extension_core.hosts.common.files.choices import find_choice

    assert hashes.known(find_choice("l 007").path) == f"{7:012x}"


def a_plans_file() -> None:
    from extension_core.hosts.common.plan.distilled_model import settle_models
    from extension_core.options.hybrid import Options

    choice = settle_models(the_host(), Options(distilled_model="l 007")).choice
    assert choice is not None
    assert choice.label == "LoRA: l 007"


def a_refresh() -> None:
    """Our part of it: what the host does not list is looked for."""
    from extension_core.hosts.common.files import choices

    choices.look_for_files()
    assert "LoRA: l 007" in {choice.label for choice in choices.choices()}


@pytest.mark.parametrize("act", [paste, list_all, one_hash, a_plans_file, a_refresh], ids=lambda act: act.__name__)
def test_three_times_the_files_are_three_times_the_work(host: Host, tmp_path: Path, act: Callable[[], None]) -> None:
    """Not nine times, and a few questions for each file."""
    few, lot = (asked_by(tmp_path, count, act) for count in (FEW, MANY))
    assert few["filename"] > 0
    for what in lot:
        assert lot[what] <= MANY / FEW * few[what] + FEW, what
        assert lot[what] <= 20 * MANY, what


def test_a_file_is_read_once_and_then_no_more(host: Host, tmp_path: Path) -> None:
    """By the list; the headers that requests have in use stay remembered meanwhile."""
    from extension_core.hosts.common.http.listing import Listing
    from extension_core.weights import reader

    opened: Counter[str] = Counter()
    plain = Path.open

    def counted(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened[str(self)] += 1
        return plain(self, *args, **kwargs)

    with many(tmp_path, FEW) as (paths, _), mock.patch.object(Path, "open", counted):
        used = reader.read_header(paths[0])
        opened.clear()
        listing = Listing()
        told = [each for each in listing.as_json() if each["file"] in {path.name for path in paths}]
        assert len(told) == len(paths)
        assert {each["kind"] for each in told} == {"lora"}
        assert set(opened.values()) == {1}
        assert len(opened) >= len(paths)
        assert reader.read_header(paths[0]) is used
        opened.clear()
        listing.as_json()
        a_refresh()
        listing.as_json()
        a_plans_file()
        a_plans_file()
        assert sum(opened.values()) == opened[str(paths[7])] <= 1  # by the request, which keeps the header
        opened.clear()
        paths[3].write_bytes(CONTENT + b"")
        listing.as_json()
        assert list(opened) == [str(paths[3])]


def test_a_name_is_looked_up_without_naming_every_file_again(host: Host, tmp_path: Path) -> None:
    """What an entry answers to is put together once, as long as the host lists it so."""
    from extension_core.hosts.common.files import choices
    from extension_core.weights.choices import Choice

    called: Counter[str] = Counter()
    plain = Choice.called

    def counted(self: Choice) -> Iterator[str]:
        called[self.label] += 1
        return plain(self)

    with many(tmp_path, FEW), mock.patch.object(Choice, "called", counted):
        assert choices.find_choice("l 001").label == "LoRA: l 001"
        assert max(called.values()) <= 2
        called.clear()
        assert choices.find_choice("l 002").label == "LoRA: l 002"
        assert set(called) == {"LoRA: l 002"}


def test_the_nearest_name_is_found_among_many_without_comparing_all(host: Host, tmp_path: Path) -> None:
    import difflib

    from extension_core.weights.choices import lora_choice, not_found

    listed = [lora_choice(f"style {number:05d}", Path(f"/l/style {number:05d}")) for number in range(2000)]
    with mock.patch.object(
        difflib.SequenceMatcher, "ratio", autospec=True, side_effect=difflib.SequenceMatcher.ratio
    ) as ratio:
        assert "the nearest is 'LoRA: style 01234'" in str(not_found("LoRA: style 01234x", listed))
    assert ratio.call_count < 100


def test_whatever_happens_with_one_file_is_that_files_alone(host: Host, tmp_path: Path) -> None:
    from extension_core.hosts.common.http import listing

    def unforeseen(choice_path: Path, state: Any) -> Any:
        if choice_path.stem == "l 003":
            raise KeyError("x")
        return plain(choice_path, state)

    plain = listing.header_of
    with many(tmp_path, FEW), mock.patch.object(listing, "header_of", unforeseen):
        told = {each["file"]: each for each in listing.Listing().as_json()}
    assert told["l 003.safetensors"]["family"] is None
    assert (
        "'l 003.safetensors' cannot be read: it is of a kind that was not foreseen" in told["l 003.safetensors"]["why"]
    )
    assert told["l 004.safetensors"]["family"] == "custom"
