"""One processing object run several times by a script, and passes that other extensions make within a request.

Each image of a pass is that of a request of its own with the same inputs, bit for bit. Requests that are to be equal
follow upon equal ones: the hosts' VAE encoder draws from torch's global generator, where the last image has left it.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.e2e.client import Pair, Reply, WebUI, png_base64
from tests.e2e.flavour import REAL_HOSTS_ALONE
from tests.e2e.plots import told
from tests.e2e.refiner import refined
from tests.e2e.test_equalities import settings
from tests.e2e.test_passes import IMG2IMG, calls, picture
from tests.e2e.test_preview import PREFIX

USERS = {"steps": 10, "sampler_name": "Euler a", "scheduler": "Automatic", "cfg_scale": 6.0}
PREVIEW = {"enabled": False, "dt": True}


def side(left: bool) -> str:
    half = np.zeros((64, 64), np.uint8)
    half[:, :32] = 255 * left
    half[:, 32:] = 255 * (not left)
    return png_base64(half)


def hybrid(pair: Pair) -> dict[str, Any]:
    """A family that changes steps, sampler, scheduler and CFG."""
    return {"distilled_model": pair.distilled, "family": "dmd2"}


# What each pass changes on the one object, as other scripts do.
PASSES: dict[str, list[dict[str, Any]]] = {
    "the same again": [{}, {}, {}],
    "seeds and strengths (Loopback)": [
        {},
        {"seed": 7, "denoising_strength": 0.5, "init_images": "last"},
        {"seed": 8, "denoising_strength": 0.9, "init_images": "last"},
    ],
    "images (SD upscale, Batch)": [{"init_images": png_base64(picture()[::step])} for step in (1, 2, -1)],
    "sizes and masks (Outpainting, Ultimate SD Upscale)": [
        {"image_mask": side(left=True), "mask_blur": 2, "width": 64, "height": 96},
        {"image_mask": side(left=False), "mask_blur": 0, "width": 96, "height": 64},
        {"image_mask": side(left=True), "init_images": "last", "inpainting_fill": 1},
    ],
    "settings": [{"steps": 6}, {"cfg_scale": 3.0, "steps": 9}, {"sampler_name": "Euler", "batch_size": 2}],
}
_REQUEST_NAMES = {"image_mask": "mask", "init_images": "init_images"}


def run(webui: WebUI, pair: Pair, asked: dict[str, Any] | None, passes: list[dict[str, Any]], **more: Any) -> Reply:
    webui.generate(pair.base).must_work()
    return webui.generate(
        pair.base, asked, script_name="DD passes", script_args=[json.dumps(passes)], **request(**more)
    )


def request(**more: Any) -> dict[str, Any]:
    start = {"init_images": [png_base64(picture())], "denoising_strength": 0.7, "inpaint_full_res": False}
    return {"path": IMG2IMG, **start, **USERS, **more}


def singles(webui: WebUI, pair: Pair, asked: dict[str, Any] | None, passes: list[dict[str, Any]]) -> list[Reply]:
    """Each pass as a request of its own, in the same order."""
    webui.generate(pair.base).must_work()
    made: list[Reply] = []
    fields: dict[str, Any] = {}
    for changed in passes:
        fields |= {_REQUEST_NAMES.get(name, name): value for name, value in changed.items()}
        if isinstance(fields.get("init_images"), str):
            last = png_base64(made[-1].images[0]) if fields["init_images"] == "last" else fields["init_images"]
            fields["init_images"] = [last]
        one = webui.generate(pair.base, asked, **request(**fields)).must_work()
        made.append(one)
    return made


def seen(webui: WebUI) -> dict[str, Any]:
    """What the scripts have left for tests."""
    return webui.get("/dd-faults/passes")


def images_of(replies: list[Reply]) -> list[np.ndarray]:
    return [image for reply in replies for image in reply.images]


def facts(infotext: str) -> dict[str, str]:
    """What the infotext says of how the image was sampled; hosts leave what they say of masks for the next pass."""
    every = told(infotext)[1]
    hosts = ("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Denoising strength")
    return {name: value for name, value in every.items() if name in hosts or name.startswith("DD ")}


@pytest.mark.parametrize("kind", ["hybrid", "preview"])
@pytest.mark.parametrize("passes", PASSES)
def test_each_pass_is_a_request_of_its_own(webui: WebUI, pair: Pair, kind: str, passes: str) -> None:
    asked = hybrid(pair) if kind == "hybrid" else PREVIEW
    alone = singles(webui, pair, asked, PASSES[passes])
    together = run(webui, pair, asked, PASSES[passes]).must_work()
    wanted = images_of(alone)
    assert len(together.images) == len(wanted)
    assert all(np.array_equal(a, b) for a, b in zip(together.images, wanted, strict=True))
    texts = [text for reply in alone for text in reply.info["infotexts"]]
    assert [facts(text) for text in together.info["infotexts"]] == [facts(text) for text in texts]
    if kind == "hybrid":
        steps = 4 if passes != "settings" else ""
        assert all(f"Steps: {steps}" in text and "Sampler: LCM" in text for text in together.info["infotexts"])


def test_the_object_is_the_users_between_passes(webui: WebUI, pair: Pair) -> None:
    for asked in (hybrid(pair), PREVIEW, {**hybrid(pair), "dt": True}):
        run(webui, pair, asked, PASSES["the same again"]).must_work()
        left = seen(webui)
        users = {**{n: USERS[n] for n in ("steps", "cfg_scale", "sampler_name", "scheduler")}}
        assert left["settings"] == str({**users, "sampler_noise_scheduler_override": None})
        assert left["methods"] == []


def test_a_clients_own_id_is_that_of_the_first_pass(webui: WebUI, pair: Pair) -> None:
    """The others have ids of their own; nothing is refused."""
    identifier = secrets.token_urlsafe(24)
    asked = {**hybrid(pair), "dt": {"id": identifier}}
    run(webui, pair, asked, PASSES["the same again"]).must_work()
    assert webui.get(f"{PREFIX}/{identifier}")["state"] == "done"
    again = webui.generate(pair.base, asked)
    assert again.status == 422
    assert "in use" in again.sentence


def test_batches_run_on_both_models_each(webui: WebUI, pair: Pair) -> None:
    """The settings are given back after each batch and taken again for the next."""
    many = webui.generate(pair.base, hybrid(pair), n_iter=3, **USERS).must_work()
    for number in range(3):
        one = webui.generate(pair.base, hybrid(pair), **{**USERS, "seed": 1 + number}).must_work()
        assert np.array_equal(many.images[number], one.images[0])
    assert all('DD U-Net calls: "base 1, distilled 3"' in text for text in many.info["infotexts"])
    assert all("Steps: 4, Sampler: LCM" in text for text in many.info["infotexts"])
    assert (many.info["steps"], many.info["sampler_name"], many.info["cfg_scale"]) == (4, "LCM", 1.0)
    assert many.info["extra_generation_params"]["Steps"] == "4"


@REAL_HOSTS_ALONE  # patterns of file names
@pytest.mark.parametrize("batch", [1, 2])
def test_files_are_named_by_what_ran(webui: WebUI, pair: Pair, tmp_path: Path, batch: int) -> None:
    """Where the host's pattern asks for it; whoever paints in an image finds the user's settings all the same."""
    naming = {"samples_filename_pattern": "[seed] [steps] [sampler] [cfg]", "save_to_dirs": False}
    naming |= {"save_images_add_number": False, "samples_save": True, "samples_format": "png"}
    passes = [{"outpath_samples": str(tmp_path), "batch_size": batch}]
    asked = {"script_name": "DD passes", "script_args": [json.dumps(passes)], "save_images": True}
    inner = {"DD inner": [{"paint": True}]}
    webui.generate(pair.base, hybrid(pair), scripts=inner, options=naming, **USERS, **asked).must_work()
    named = sorted(path.stem for path in tmp_path.iterdir())
    assert named == [f"{seed} 4 LCM 1.0" for seed in range(1, batch + 1)]
    assert "Steps: 10, Sampler: Euler a" in seen(webui)["inner"]
    assert "'steps': 10" in seen(webui)["settings"]


def test_a_hires_pass_in_each_of_several_passes(webui: WebUI, pair: Pair) -> None:
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7, **USERS}
    hires |= {"scheduler": "Karras", "hr_second_pass_steps": 7}
    asked = {"script_name": "DD passes", "script_args": ['[{}, {"seed": 2}]']}
    together = webui.generate(pair.base, hybrid(pair), **asked, **hires).must_work()
    for number in range(2):
        one = webui.generate(pair.base, hybrid(pair), **{**hires, "seed": 1 + number}).must_work()
        assert np.array_equal(together.images[number], one.images[0])
        assert facts(together.info["infotexts"][number]) == facts(one.infotext)
    assert "'steps': 10" in seen(webui)["settings"]


@pytest.mark.parametrize("kind", ["hybrid", "preview", "both"])
@pytest.mark.parametrize("batch", [1, 2])
def test_another_extension_paints_in_the_images(webui: WebUI, pair: Pair, kind: str, batch: int) -> None:
    """ADetailer's way, our script not among its: the user's own settings on the loaded checkpoint, and said so."""
    asked = {"hybrid": hybrid(pair), "preview": PREVIEW, "both": {**hybrid(pair), "dt": True}}[kind]
    plain = webui.generate(pair.base, asked, batch_size=batch, **USERS).must_work()
    painted = webui.generate(pair.base, asked, batch_size=batch, scripts={"DD inner": [{"paint": True}]}, **USERS)
    inner = seen(webui)["inner"]
    webui.generate(pair.base, asked, batch_size=batch, **USERS).must_work()
    for number, image in enumerate(painted.must_work().images):
        one = paint(webui, pair, None, plain.images[number], seed=1 + number)
        assert np.array_equal(image, one.images[0])
        assert not np.array_equal(image, plain.images[number])
    assert "Steps: 10, Sampler: Euler a" in inner
    assert "DD " not in inner
    said = ["painted in the finished image" in text for text in painted.info["infotexts"]]
    assert all(said) if kind != "preview" else not any(said)
    assert "painted" not in plain.infotext
    assert webui.generate(pair.base, asked, batch_size=batch, **USERS).same_as(plain)


def paint(webui: WebUI, pair: Pair, asked: dict[str, Any] | None, image: np.ndarray, **more: Any) -> Reply:
    """What "DD inner" asks for, as a request of its own."""
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    start = {"init_images": [png_base64(image)], "mask": png_base64(mask), "mask_blur": 2, "inpainting_fill": 1}
    start |= {"inpaint_full_res": False, "denoising_strength": 0.6}
    return webui.generate(pair.base, asked, **{**request(), **start, **more}).must_work()


def test_painting_with_both_models_where_our_script_is_asked_for(webui: WebUI, pair: Pair) -> None:
    with_ours = {"DD inner": [{"scripts": ["diversity_distillation"]}]}
    plain = webui.generate(pair.base, hybrid(pair), **USERS).must_work()
    one = paint(webui, pair, hybrid(pair), plain.images[0])
    painted = webui.generate(pair.base, hybrid(pair), scripts=with_ours, **USERS).must_work()
    assert np.array_equal(painted.images[0], one.images[0])
    assert "DD U-Net calls" in seen(webui)["inner"]
    assert "painted in the finished image" not in painted.infotext
    assert calls(painted) == (1, 3)


def test_only_the_hooks_are_called_for_copies(webui: WebUI, pair: Pair) -> None:
    """Nothing is painted, as no face was found: no second pass is told, no recording is left behind."""
    identifier = secrets.token_urlsafe(24)
    key = secrets.token_urlsafe(24)
    for asked in (hybrid(pair), {"enabled": False}):
        plain = webui.generate(pair.base, asked, n_iter=2, **USERS).must_work()
        watched = {**asked, "dt": {"id": identifier, "page": key, "save": False}}
        again = webui.generate(
            pair.base, watched, n_iter=2, scripts={"DD inner": [{"paint": False}]}, **USERS
        ).must_work()
        assert again.same_as(plain)
        assert again.infotext == plain.infotext
        recorded = webui.get(f"{PREFIX}/{identifier}")
        assert recorded["state"] == "done"
        assert len(recorded["frames"]) == 2 * (4 if asked.get("enabled", True) else 10)
        identifier = secrets.token_urlsafe(24)


def test_an_inner_pass_is_recorded_beside_and_ends(webui: WebUI, pair: Pair) -> None:
    """With our script in its list and the client's id in its arguments: an id of its own, and both come to an end."""
    identifier = secrets.token_urlsafe(24)
    asked = {**hybrid(pair), "dt": {"id": identifier, "return": True, "frames": [0]}}
    with_ours = {"DD inner": [{"scripts": ["diversity_distillation"]}]}
    plain = webui.generate(pair.base, hybrid(pair), scripts=with_ours, **USERS).must_work()
    recorded = webui.generate(pair.base, asked, scripts=with_ours, **USERS).must_work()
    assert np.array_equal(recorded.images[0], plain.images[0])
    outer = webui.get(f"{PREFIX}/{identifier}")
    assert outer["state"] == "done"
    assert len(outer["frames"]) == 4
    group = outer["group"]
    later = {**hybrid(pair), "dt": {"id": secrets.token_urlsafe(24)}}
    webui.generate(pair.base, later, **USERS).must_work()
    assert webui.get(f"{PREFIX}/{later['dt']['id']}")["group"] != group


@pytest.mark.parametrize("kind", ["interrupt", "skip"])
def test_ended_before_the_switch_no_switch_is_told(webui: WebUI, pair: Pair, kind: str) -> None:
    asked = settings(pair, switch_step=4)
    ended = {"interrupt": "interrupted", "skip": "skipped"}[kind]
    early = webui.generate(pair.base, asked, faults={"call": 2, "kind": kind}, **{**USERS, "n_iter": 1}).must_work()
    assert "DD switch: sigma" not in early.infotext
    assert f"DD ended: {ended} before the switch" in early.infotext
    assert calls(early) == (2, 0)
    late = webui.generate(pair.base, asked, faults={"call": 6, "kind": kind}, **USERS).must_work()
    assert "DD switch: sigma" in late.infotext
    assert "DD ended" not in late.infotext
    assert calls(late) == (4, 2)
    both = webui.generate(pair.base, asked, faults={"call": 2, "kind": "skip"}, n_iter=2, **USERS).must_work()
    first, second = both.info["infotexts"][-2:]
    assert "DD ended" in first
    assert "DD switch: sigma" in second
    assert "DD ended" not in second


CODE = """from modules.processing import process_images
p.seed = 5
process_images(p)
p.seed = 6
return process_images(p)"""
# Scripts of the hosts, and a usual one of others', that process one object or copies of it several times; arguments by
# their places.
HOST_SCRIPTS: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "loopback": (IMG2IMG, [3, 0.6, "Linear", "None"], {}),
    "loopback, two batches": (IMG2IMG, [2, 0.6, "Lazy", "None"], {"n_iter": 2}),
    "sd upscale": (IMG2IMG, [None, 16, "None", 2.0], {"large": True}),
    "outpainting mk2": (IMG2IMG, [None, 32, 4, ["left", "right", "up"], 1.0, 0.05], {"denoising_strength": 0.9}),
    "poor man's outpainting": (IMG2IMG, [32, 4, 0, ["left", "down"]], {"denoising_strength": 0.9}),
    "prompt matrix": ("/sdapi/v1/txt2img", [False, True, "positive", "comma", 0], {"prompt": "a cat|red|blue"}),
    "prompts from file or textbox": ("/sdapi/v1/txt2img", [True, False, "start", "a red cat\na blue dog"], {}),
    "ultimate sd upscale": (
        IMG2IMG,
        [None, 64, 64, 4, 8, 32, 0.4, 8, 0, False, 0, False, 4, 3, 2, 64, 64, 2.0],
        {"denoising_strength": 0.6},
    ),
    "custom code": ("/sdapi/v1/txt2img", [CODE, 2], {}),
}  # fmt: skip


def host_script(webui: WebUI, model: str, asked: dict[str, Any] | None, name: str, **more: Any) -> Reply:
    path, args, fields = HOST_SCRIPTS[name]
    title = name.split(",", 1)[0]
    tab = "img2img" if path == IMG2IMG else "txt2img"
    if title not in webui.get("/sdapi/v1/scripts")[tab]:
        pytest.skip(f"this host has no script '{title}'")
    if title.startswith("prompts") and webui.flavour == "forge":
        args = [*args, False]
    fields = dict(fields)
    if path == IMG2IMG:
        start = np.repeat(np.repeat(picture(), 2, 0), 2, 1) if fields.pop("large", False) else picture()
        fields = {"init_images": [png_base64(start)], "denoising_strength": 0.7, **fields}
    webui.generate(model).must_work()
    asking = {"path": path, "script_name": title, "script_args": args, **USERS, "sampler_name": "Euler", **fields}
    return webui.generate(model, asked, **{**asking, **more})


@pytest.mark.parametrize("name", HOST_SCRIPTS)
def test_the_hosts_own_scripts(webui: WebUI, pair: Pair, name: str) -> None:
    """Their images by the base alone, by the distilled checkpoint, and by the host's own Refiner between both."""
    off = host_script(webui, pair.base, None, name).must_work()
    alike = {"base_cfg": USERS["cfg_scale"], "distilled_cfg": USERS["cfg_scale"], "family": "custom"}
    asked = {"distilled_model": pair.distilled, **alike}
    assert host_script(webui, pair.base, PREVIEW, name).same_as(off)
    assert host_script(webui, pair.base, {**asked, "mode": "base"}, name).same_as(off)
    native = host_script(webui, pair.distilled, None, name).must_work()
    assert not native.same_as(off)
    assert host_script(webui, pair.base, {**asked, "mode": "distilled"}, name).same_as(native)
    both = host_script(webui, pair.base, {**asked, "switch_step": 4}, name).must_work()
    assert not both.same_as(off)
    assert not both.same_as(native)
    family = host_script(webui, pair.base, hybrid(pair), name).must_work()
    assert [image.shape for image in family.images] == [image.shape for image in off.images]
    assert not family.same_as(off)
    again = host_script(webui, pair.base, {**hybrid(pair), "dt": True}, name)
    assert again.same_as(family)


def test_loopback_by_single_requests(webui: WebUI, pair: Pair) -> None:
    looped = host_script(webui, pair.base, hybrid(pair), "loopback").must_work()
    strengths = (0.7, 0.65, 0.6)
    webui.generate(pair.base).must_work()
    last = png_base64(picture())
    for number, (image, strength) in enumerate(zip(looped.images[1:], strengths, strict=True)):
        fields = {"seed": 1 + number, "denoising_strength": strength, "init_images": [last], "sampler_name": "Euler"}
        one = webui.generate(pair.base, hybrid(pair), **{**request(), **fields}).must_work()
        assert np.array_equal(image, one.images[0])
        last = png_base64(one.images[0])


@pytest.mark.parametrize("kind", ["hybrid", "preview"])
@pytest.mark.parametrize("names", [[], ["Steps", "CFG scale", "Sampler", "Seed"]], ids=["plain", "by infotext"])
def test_the_batch_of_the_img2img_tab(webui: WebUI, pair: Pair, kind: str, names: list[str]) -> None:
    if "dd batch" not in webui.get("/sdapi/v1/scripts")["img2img"]:
        pytest.skip("this host has no Batch in its img2img tab")
    asked = hybrid(pair) if kind == "hybrid" else PREVIEW
    texts = ["", "a cat\nSteps: 12, Sampler: Euler, CFG scale: 3.0, Seed: 5", ""]
    users = {"steps": 10, "cfg_scale": 6.0, "sampler_name": "Euler a", "seed": 1}
    told_of_file = {"steps": 12, "cfg_scale": 3.0, "sampler_name": "Euler", "seed": 5}
    files = [png_with(picture()[::step], text) for step, text in zip((1, -1, 2), texts, strict=True)]
    webui.generate(pair.base).must_work()
    script = {"script_name": "DD batch", "script_args": [json.dumps(files), json.dumps(names)]}
    together = webui.generate(pair.base, asked, **request(**script)).must_work()
    assert len(together.images) == 3
    webui.generate(pair.base).must_work()
    for number, (file, text) in enumerate(zip(files, texts, strict=True)):
        fields = told_of_file if names and text else users
        one = webui.generate(pair.base, asked, **request(init_images=[file], **fields)).must_work()
        assert np.array_equal(together.images[number], one.images[0])
        assert facts(together.info["infotexts"][number]) == facts(one.infotext)


def png_with(image: np.ndarray, infotext: str) -> str:
    """A picture with an infotext, as hosts save it."""
    chunk, out = PngInfo(), io.BytesIO()
    if infotext:
        chunk.add_text("parameters", infotext)
    Image.fromarray(image).resize((64, 64)).save(out, "PNG", pnginfo=chunk)
    return base64.b64encode(out.getvalue()).decode()


def test_a_script_that_samples_by_itself_is_refused_by_name(webui: WebUI, pair: Pair) -> None:
    title = "img2img alternative test"
    if title not in webui.get("/sdapi/v1/scripts")["img2img"]:
        pytest.skip("this host has no such script")
    args = [None, True, True, "a cat", "", True, 8, True, 1.0, 0.0, False]
    fields = request(script_name=title, script_args=args)
    refused = webui.generate(pair.base, hybrid(pair), **fields)
    assert refused.status == 422
    assert title in refused.sentence
    made: list[Reply] = []
    for asked in (None, None, PREVIEW):  # the first leaves the script's noise in its cache
        webui.generate(pair.base).must_work()
        made.append(webui.generate(pair.base, asked, **fields))
    assert made[2].status == made[1].status
    if made[1].status == 200:
        assert made[2].same_as(made[1])


def test_the_refiner_between_both_in_every_loop(webui: WebUI, pair: Pair) -> None:
    """The host's own way of running two models, through the same script."""
    request_of = {"denoising_strength": 0.9, "init_images": [png_base64(picture())], "path": IMG2IMG}
    request_of |= {"steps": 8, "cfg_scale": 5, "sampler_name": "Euler"}
    asked = settings(pair, switch_step=4)
    passes = {"script_name": "DD passes", "script_args": ['[{}, {"init_images": "last", "seed": 9}]']}
    webui.generate(pair.base).must_work()
    looped = webui.generate(pair.base, asked, **passes, **request_of).must_work()
    webui.generate(pair.base).must_work()
    assert looped.same_as(refined(webui, looped, pair.base, pair.distilled, **passes, **request_of))
