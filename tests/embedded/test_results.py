"""What a generation returns, on the page and over the API, and what Forge shows beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.embedded.conftest import FLAVOUR, Host, page_generate

On = Callable[[str], Callable[[Callable[..., Any]], Callable[..., Any]]]
RED = (255, 0, 0)


def _picture() -> Image.Image:
    return Image.new("RGB", (32, 32), RED)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Empties the list that all of Forge's results made without one share."""
    yield
    if FLAVOUR == "forge":
        from modules.processing import Processed

        Processed.__init__.__defaults__[-1].clear()  # type: ignore[index]


def test_a_picture_appended_to_the_result_is_shown_and_returned(host: Host, on: On, main_thread: None) -> None:
    @on("postprocess")
    def append(p: Any, processed: Any, *_: Any) -> None:
        processed.images.append(_picture())
        processed.infotexts.append("a strip")

    answer = host.txt2img(steps=1)
    assert [x.shape[:2] for x in answer.images] == [(64, 64), (32, 32)]
    assert answer.info["infotexts"][1] == "a strip"
    gallery, info, _html, _log = page_generate(host)
    assert [x.size for x in gallery] == [(64, 64), (32, 32)]
    assert json.loads(info)["infotexts"][1] == "a strip"


def test_hidden_pictures_take_none_beside_them_along(host: Host, on: On, main_thread: None) -> None:
    """A1111's gallery is empty; Forge's keeps what is beside the generated ones."""
    from modules import shared

    @on("postprocess")
    def append(p: Any, processed: Any, *_: Any) -> None:
        if FLAVOUR == "forge":
            processed.extra_images = [_picture()]

    shared.opts.data["do_not_show_images"] = True
    gallery, *_ = page_generate(host)
    assert [x.size for x in gallery] == ([(32, 32)] if FLAVOUR == "forge" else [])


@pytest.mark.a1111
def test_a1111_has_nothing_beside_the_pictures(host: Host, on: On) -> None:
    from modules import processing

    seen = []
    on("postprocess")(lambda p, processed, *_: seen.append((p, processed)))
    host.txt2img(steps=1)
    [(p, processed)] = seen
    assert not hasattr(processed, "extra_images")
    assert not hasattr(p, "extra_result_images")
    assert not hasattr(processing, "process_extra_images")


@pytest.mark.forge
def test_forge_shows_what_a_script_adds_beside_the_pictures(host: Host, on: On, main_thread: None) -> None:
    @on("process")
    def add(p: Any, *_: Any) -> None:
        p.extra_result_images.append(_picture())

    answer = host.txt2img(steps=1)
    assert [x.shape[:2] for x in answer.images] == [(64, 64), (32, 32)]
    assert len(answer.info["infotexts"]) == 1, "they have no infotext"
    gallery, info, _html, _log = page_generate(host)
    assert [x.size for x in gallery] == [(64, 64), (32, 32)]
    assert len(json.loads(info)["infotexts"]) == 1


@pytest.mark.forge
def test_forges_api_turns_arrays_into_pictures_and_drops_text(host: Host, on: On) -> None:
    @on("postprocess")
    def add(p: Any, processed: Any, *_: Any) -> None:
        processed.extra_images = ["bmV2ZXI=", np.full((16, 16, 3), 200, np.uint8), _picture()]

    assert [x.shape[:2] for x in host.txt2img(steps=1).images] == [(64, 64), (16, 16), (32, 32)]


@pytest.mark.forge
def test_results_made_without_extras_share_one_list(host: Host, forgotten: None) -> None:
    from modules import shared
    from modules.processing import Processed, StableDiffusionProcessingTxt2Img

    host.txt2img(steps=1)
    p = StableDiffusionProcessingTxt2Img(sd_model=shared.sd_model)
    p.sd_model_name = p.sd_model_hash = p.sd_vae_name = p.sd_vae_hash = None
    first, second = Processed(p, []), Processed(p, [])
    first.extra_images.append(_picture())
    assert len(second.extra_images) == 1


def test_text_among_the_pictures_is_returned_as_it_is(host: Host, on: On) -> None:
    on("postprocess")(lambda p, processed, *_: processed.images.append("cmVhZHktbWFkZQ=="))
    reply = host.client.post("/sdapi/v1/txt2img", json={"steps": 1, "width": 64, "height": 64}).json()
    assert reply["images"][1] == "cmVhZHktbWFkZQ=="


def test_a_result_may_change_what_it_tells(host: Host, on: On) -> None:
    """`info` is what this result's `js` says when the request is over."""

    @on("postprocess")
    def wrap(p: Any, processed: Any, *_: Any) -> None:
        original = processed.js
        processed.js = lambda: json.dumps({**json.loads(original()), "mine": [1]})

    assert host.txt2img(steps=1).info["mine"] == [1]


def test_no_pictures_are_returned_where_none_are_wanted(host: Host) -> None:
    assert host.txt2img(steps=1, send_images=False).body["images"] == []


def test_the_client_names_its_task(host: Host, on: On) -> None:
    from modules import progress

    seen = []
    on("process")(lambda p, *_: seen.append(progress.current_task))
    host.txt2img(steps=1, force_task_id="task(mine)")
    assert seen == ["task(mine)"]
    assert progress.current_task is None
    assert "task(mine)" in progress.finished_tasks


def test_a_grid_of_cells_keeps_the_first_picture_of_each(host: Host, on: On) -> None:
    """Cells are copies of the request, never closed; what is appended to a cell's pictures vanishes."""
    requests: list[Any] = []
    closed: list[Any] = []

    @on("process")
    def keep(p: Any, *_: Any) -> None:
        requests.append(p)
        original = p.close
        p.close = lambda: (closed.append(p), original())

    @on("postprocess")
    def append(p: Any, processed: Any, *_: Any) -> None:
        processed.images.append(_picture())
        processed.infotexts.append("a strip")

    answer = host.txt2img(steps=1, script_name="DD grid", script_args=["cfg_scale", "[3, 5]"])
    assert [x.shape[:2] for x in answer.images] == [(64, 128), (64, 64), (64, 64)]
    assert ["CFG scale: 3" in x for x in answer.info["infotexts"]] == [True, True, False]
    assert answer.info["index_of_first_image"] == 1
    assert len({id(p) for p in requests}) == 2
    assert requests[0].extra_generation_params is requests[1].extra_generation_params
    assert closed == []


@pytest.mark.forge
def test_cells_of_a_grid_share_forges_list_of_extras(host: Host, on: On) -> None:
    """What one cell adds, every later cell has; the result shows the first cell's list, which is everybody's."""
    lengths = []

    @on("process")
    def add(p: Any, *_: Any) -> None:
        p.extra_result_images.append(_picture())

    on("postprocess")(lambda p, processed, *_: lengths.append(len(processed.extra_images)))
    answer = host.txt2img(steps=1, script_name="DD grid", script_args=["cfg_scale", "[3, 5]"])
    assert lengths == [1, 2]
    assert [x.shape[:2] for x in answer.images[3:]] == [(32, 32), (32, 32)]
