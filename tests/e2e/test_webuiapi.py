"""PyPI's `webuiapi`, unmodified, as people use it."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import webuiapi

from tests.e2e.client import NEUTRAL, TITLE, Pair, WebUI
from tests.e2e.test_infotext import as_pasted

REQUEST: dict[str, Any] = {"prompt": "a red cat", "steps": 4, "width": 64, "height": 64, "cfg_scale": 5}


@pytest.fixture
def api(webui: WebUI) -> webuiapi.WebUIApi:
    address = urlsplit(webui.url)
    return webuiapi.WebUIApi(host=address.hostname, port=address.port, sampler="Euler")


@pytest.fixture
def overrides(pair: Pair) -> dict[str, Any]:
    return {**NEUTRAL, "sd_model_checkpoint": pair.base}


def pixels(result: webuiapi.WebUIApiResult) -> np.ndarray:
    return np.asarray(result.image)


def ours(**settings: Any) -> dict[str, Any]:
    return {TITLE: {"args": [settings]}}


def hybrid(api: webuiapi.WebUIApi, pair: Pair, overrides: dict[str, Any], **request: Any) -> webuiapi.WebUIApiResult:
    scripts = ours(distilled_model=pair.distilled, family="dmd2", switch_step=2, base_cfg=3.5)
    return api.txt2img(**{**REQUEST, "seed": 7, **request}, override_settings=overrides, alwayson_scripts=scripts)


def test_a_hybrid_image_and_the_same_again_from_its_infotext(
    api: webuiapi.WebUIApi, pair: Pair, overrides: dict[str, Any]
) -> None:
    """`txt2img` has no argument for it, so the second request goes by `custom_post`; Forge wants styles said."""
    made = hybrid(api, pair, overrides)
    infotext = made.info["infotexts"][0]
    assert "DD mode: hybrid" in infotext
    assert "DD switch step: 2" in infotext
    assert made.image.text["parameters"] == infotext
    assert api.png_info(made.image).info == infotext
    again = api.custom_post(
        "sdapi/v1/txt2img", payload={"infotext": infotext, "styles": [], "override_settings": overrides}
    )
    assert np.array_equal(pixels(again), pixels(made))
    assert again.info["infotexts"] == [as_pasted(text) for text in made.info["infotexts"]]


def test_the_page_of_the_client_goes_on_without_us(
    api: webuiapi.WebUIApi, pair: Pair, overrides: dict[str, Any]
) -> None:
    """Its default for `alwayson_scripts` is one dict for all calls, into which it writes for other extensions."""
    plain = api.txt2img(**REQUEST, seed=7, override_settings=overrides)
    assert not np.array_equal(pixels(hybrid(api, pair, overrides)), pixels(plain))
    after = api.txt2img(**REQUEST, seed=7, override_settings=overrides)
    assert np.array_equal(pixels(after), pixels(plain))
    assert "DD " not in after.info["infotexts"][0]


def test_one_dict_sent_twice_is_not_changed(api: webuiapi.WebUIApi, pair: Pair, overrides: dict[str, Any]) -> None:
    settings = {"distilled_model": pair.distilled, "family": "dmd2", "dt": {"return": True}}
    scripts, kept = ours(**settings), ours(**settings)
    results = [api.txt2img(**REQUEST, seed=7, override_settings=overrides, alwayson_scripts=scripts) for _ in range(2)]
    assert scripts[TITLE] == kept[TITLE]
    first, second = (list(map(np.asarray, result.images)) for result in results)
    assert len(first) == 5
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_refusal_reaches_its_user(api: webuiapi.WebUIApi, pair: Pair, overrides: dict[str, Any]) -> None:
    scripts = ours(distilled_model=pair.distilled, swich_step=1)
    with pytest.raises(RuntimeError, match=r"did you mean .*switch_step") as refused:
        api.txt2img(**REQUEST, override_settings=overrides, alwayson_scripts=scripts)
    assert refused.value.args[0] == 422


def test_img2img(api: webuiapi.WebUIApi, pair: Pair, overrides: dict[str, Any]) -> None:
    start = hybrid(api, pair, overrides).image
    result = api.img2img(
        **{**REQUEST, "steps": 8},
        images=[start],
        denoising_strength=0.9,
        seed=7,
        override_settings=overrides,
        alwayson_scripts=ours(distilled_model=pair.distilled, family="custom"),
    )
    assert "DD mode: hybrid" in result.info["infotexts"][0]


def test_our_routes_through_the_same_client(api: webuiapi.WebUIApi, pair: Pair, overrides: dict[str, Any]) -> None:
    hybrid(api, pair, overrides)
    names = [model["name"] for model in api.custom_get("diversity-distillation/v1/models")]
    assert any(name.startswith(pair.distilled) for name in names)
    body = {"args": [{"distilled_model": pair.distilled, "family": "dmd2"}], "request": {"steps": 4}}
    told = api.custom_post("diversity-distillation/v1/plan", payload=body).json
    assert told["line"].startswith("base 999 -> 759")


def test_two_of_them_at_once(webui: WebUI, api: webuiapi.WebUIApi, pair: Pair, overrides: dict[str, Any]) -> None:
    other = webuiapi.WebUIApi(baseurl=f"{webui.url}/sdapi/v1", sampler="Euler")
    alone = {seed: pixels(hybrid(api, pair, overrides, seed=seed)) for seed in (1, 2)}
    made: list[tuple[int, np.ndarray]] = []

    def make(client: webuiapi.WebUIApi, seed: int) -> None:
        made.extend((seed, pixels(hybrid(client, pair, overrides, seed=seed))) for _ in range(3))

    threads = [threading.Thread(target=make, args=pick) for pick in ((api, 1), (other, 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert all(np.array_equal(image, alone[seed]) for seed, image in made)
