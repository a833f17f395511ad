"""Try it: the same seeds by the base alone, by the distilled model alone and by both, with a sheet of the three."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extension_core.measures import distance_matrix, pairwise_mean
from tests.embedded.conftest import Answer
from tests.embedded.ours import Ours, ours

__all__ = ["ours"]

REQUEST = {"seed": 5, "sampler_name": "Euler a"}


def click(word: str = "try") -> dict[str, Any]:
    return {"preview": False, "page": f"{secrets.token_urlsafe(24)} {word} {secrets.token_hex(8)}"}


def tried(ours: Ours, dd: Mapping[str, Any] = MappingProxyType({}), word: str = "try", **request: Any) -> Answer:
    return ours.run({**dd, "dt": click(word)}, **{**REQUEST, **request})


def measured(pictures: list[np.ndarray]) -> str:
    return f"{pairwise_mean(distance_matrix(np.stack(pictures), 'structural')):.3f}"


def test_four_seeds_three_times_with_a_sheet_and_their_diversity(ours: Ours) -> None:
    answer = tried(ours)
    assert answer.status == 200, answer.body
    sheet, *own = answer.images
    own = own[-12:]  # a grid of the host's own stands before them
    hybrid, base, distilled = own[:4], own[4:8], own[8:]
    one_by_one = [ours.plain(**{**REQUEST, "seed": 5 + place, "steps": 20}).images[0] for place in range(4)]
    assert all(np.array_equal(a, b) for a, b in zip(base, one_by_one, strict=True))
    alone = [ours.run({}, **{**REQUEST, "seed": 5 + place}).images[0] for place in range(4)]
    assert all(np.array_equal(a, b) for a, b in zip(hybrid, alone, strict=True))
    said = ", ".join(
        f"{name} {measured(pictures)}"
        for name, pictures in (("base alone", base), ("distilled alone", distilled), ("both in turn", hybrid))
    )
    assert sheet.shape[0] > 3 * base[0].shape[0]
    assert sheet.shape[1] > 4 * base[0].shape[1]
    first = answer.info["index_of_first_image"]
    assert np.array_equal(answer.images[first], hybrid[0])
    assert answer.info["infotexts"][0] == f'{answer.info["infotexts"][first]}, DD compared: "{said}"'


def test_beside_grid_diversity_each_says_its_own(ours: Ours) -> None:
    sheet, first = (tried(ours, {"grid_diversity": True}).info["infotexts"][place] for place in (0, 2))
    assert sheet.count("DD diversity: ") == sheet.count("DD compared: ") == 1
    assert (first.count("DD diversity: "), first.count("DD compared: ")) == (1, 0)


def test_more_images_than_four_are_as_many_as_asked_for(ours: Ours) -> None:
    answer = tried(ours, batch_size=3, n_iter=2)
    assert answer.status == 200, answer.body
    assert len(answer.images[answer.info["index_of_first_image"] :]) == 18


def test_a_click_is_tried_once(ours: Ours) -> None:
    once = click()
    assert len(ours.run({"dt": once}).images) > 12
    assert len(ours.run({"dt": once}).images) == 1


def test_compare_without_the_preview_is_nothing(ours: Ours) -> None:
    assert len(tried(ours, word="compare").images) == 1


def test_one_model_has_nothing_to_be_tried_against(ours: Ours) -> None:
    for dd in ({"mode": "base"}, {"enabled": False}):
        answer = tried(ours, dd)
        assert answer.status == 422, dd
        assert "tick Diversity Distillation" in str(answer.body)


def test_a_script_that_makes_requests_of_its_own_is_named(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    from extension_core.hosts.common.preview import comparison

    monkeypatch.setattr(comparison, "selected_file", lambda _p: "loopback.py")
    answer = tried(ours)
    assert answer.status == 422
    assert "the script loopback.py makes requests of its own; choose None under Script" in str(answer.body)


def test_what_is_interrupted_keeps_what_was_made(ours: Ours, on: Callable[[str], Any]) -> None:
    from modules import shared

    seen: list[int] = []

    @on("cfg_after_cfg")
    def interrupt(_params: Any) -> None:
        seen.append(1)
        if len(seen) == 20 * 4 + 2:
            shared.state.interrupted = True

    answer = tried(ours, batch_size=2)
    assert answer.status == 200, answer.body
    assert len(answer.images) >= 5


def test_a_sheet_that_cannot_be_drawn_costs_no_image(ours: Ours, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    from extension_core.hosts.common.preview import side_by_side

    def broken(*_: Any) -> Any:
        raise MemoryError("made up")

    monkeypatch.setattr(side_by_side, "sheet_of_rows", broken)
    answer = tried(ours)
    assert answer.status == 200, answer.body
    assert len(answer.images) >= 12
    assert "The comparison could not be drawn" in caplog.text


def test_the_sheet_is_saved_as_the_hosts_grids_are(ours: Ours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import shared

    monkeypatch.setitem(shared.opts.data, "outdir_txt2img_grids", str(tmp_path))
    answer = tried(ours, save_images=True)
    assert answer.status == 200, answer.body
    [path] = [path for path in tmp_path.rglob("*") if re.search("comparison", path.name)]
    assert np.array_equal(np.asarray(Image.open(path).convert("RGB")), answer.images[0])
