"""The real ADetailer beside us, where a host has it.

Its detector is to find a face in the middle of every image, and none where it asks for more than 0.9 of confidence.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import pytest

from tests.e2e.client import Pair, Reply, WebUI, png_base64
from tests.e2e.test_passes import IMG2IMG, calls
from tests.e2e.test_preview import PREFIX
from tests.e2e.test_several_passes import PREVIEW, USERS, hybrid

OURS = {"ad_script_names": "diversity_distillation,dynamic_prompting"}


@pytest.fixture(autouse=True)
def _has_it(webui: WebUI) -> None:
    if "adetailer" not in webui.get("/sdapi/v1/scripts")["txt2img"]:
        pytest.skip("this host has no ADetailer")


def detailed(webui: WebUI, pair: Pair, asked: dict[str, Any] | None, confidence: float = 0.3, **request: Any) -> Reply:
    arguments = [True, False, {"ad_model": "mediapipe_face_full", "ad_confidence": confidence, "ad_mask_blur": 2}]
    return webui.generate(pair.base, asked, scripts={"ADetailer": arguments}, **{**USERS, **request}).must_work()


def face(webui: WebUI, pair: Pair, asked: dict[str, Any] | None, image: np.ndarray, seed: int) -> Reply:
    """ADetailer's inpainting as a request of its own: the box grown by 4 pixels, only the masked part, strength 0.4."""
    mask = np.zeros((64, 64), np.uint8)
    mask[15:51, 15:51] = 255
    fields = {"init_images": [png_base64(image)], "mask": png_base64(mask), "mask_blur": 2, "inpainting_fill": 1}
    fields |= {"inpaint_full_res": True, "inpaint_full_res_padding": 32, "denoising_strength": 0.4, "seed": seed}
    return webui.generate(pair.base, asked, path=IMG2IMG, **{**USERS, **fields}).must_work()


@pytest.mark.parametrize("kind", ["off", "hybrid", "preview", "both"])
@pytest.mark.parametrize("shape", [{}, {"batch_size": 2}, {"n_iter": 2}], ids=["one", "batch", "batches"])
def test_faces_by_the_users_own_settings_on_the_base(
    webui: WebUI, pair: Pair, kind: str, shape: dict[str, int]
) -> None:
    asked = {"off": None, "hybrid": hybrid(pair), "preview": PREVIEW, "both": {**hybrid(pair), "dt": True}}[kind]
    plain = webui.generate(pair.base, asked, **{**USERS, **shape}).must_work()
    faces = detailed(webui, pair, asked, **shape)
    last = webui.generate(pair.base, asked, **{**USERS, **shape}).must_work()
    for number, image in enumerate(plain.images):
        if "n_iter" not in shape:  # the hosts' VAE draws from a generator that the last image has seeded
            assert np.array_equal(faces.images[number], face(webui, pair, None, image, 1 + number).images[0])
        assert not np.array_equal(faces.images[number], image)
    assert last.same_as(plain)
    texts = faces.info["infotexts"]
    said = ["painted in the finished image" in text for text in texts]
    assert all(said) if kind in ("hybrid", "both") else not any(said)
    if kind in ("hybrid", "both"):
        assert all("Steps: 4, Sampler: LCM" in text for text in texts)
        assert all('DD U-Net calls: "base 1, distilled 3"' in text for text in texts)
        assert (faces.info["steps"], faces.info["sampler_name"]) == (4, "LCM")


def test_faces_by_both_models_where_our_script_is_in_its_list(webui: WebUI, pair: Pair) -> None:
    plain = webui.generate(pair.base, hybrid(pair), **USERS).must_work()
    one = face(webui, pair, hybrid(pair), plain.images[0], 1)
    faces = detailed(webui, pair, hybrid(pair), options=OURS)
    assert np.array_equal(faces.images[0], one.images[0])
    assert "painted in the finished image" not in faces.infotext
    assert calls(faces) == (1, 3)
    base = detailed(webui, pair, {**hybrid(pair)})
    assert not base.same_as(faces)


def test_without_a_face_nothing_is_told(webui: WebUI, pair: Pair) -> None:
    plain = webui.generate(pair.base, hybrid(pair), **USERS).must_work()
    none = detailed(webui, pair, hybrid(pair), confidence=0.95)
    assert none.same_as(plain)
    assert "painted in the finished image" not in none.infotext


@pytest.mark.parametrize("options", [{}, OURS], ids=["base", "both models"])
def test_recordings_end_and_belong_to_their_own(webui: WebUI, pair: Pair, options: dict[str, Any]) -> None:
    key, groups = secrets.token_urlsafe(24), []
    for _ in range(2):
        identifier = secrets.token_urlsafe(24)
        asked = {**hybrid(pair), "dt": {"id": identifier, "page": key}}
        made = detailed(webui, pair, asked, options=options)
        assert made.status == 200
        told = webui.get(f"{PREFIX}/{identifier}")
        assert told["state"] == "done"
        assert [frame["phase"] for frame in told["frames"]] == ["base", "distilled", "distilled", "distilled"]
        groups.append(told["group"])
    assert groups[0] == "" or groups[0] != groups[1]
    assert (groups[0] != "") == bool(options)
