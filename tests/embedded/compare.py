"""Compares two running WebUIs request by request: pictures, infotexts, answers to bad requests.

    python -m tests.embedded.compare http://127.0.0.1:7861 http://127.0.0.1:7871

Both must list the same checkpoints, of which "base" and "second" (or those that --base and --second name) are used, and
the LoRA that --lora names. Meant for the embedded WebUI beside a real host that runs on the CPU with one thread. Exit
status 1 where a picture differs by more than rounding, or an answer differs.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

ROUNDING = 1
"""8-bit levels."""
# Its step lengths follow the error that it estimates, so that rounding alone can turn a step down.
SENSITIVE = ("DPM adaptive",)

Request = tuple[str, dict[str, Any]]


@dataclass
class Result:
    status: int
    body: Any
    images: list[np.ndarray] = field(default_factory=list)
    infotexts: list[str] = field(default_factory=list)


def ask(url: str, path: str, payload: dict[str, Any] | None = None) -> Result:
    data = None if payload is None else json.dumps(payload).encode()
    request = urllib.request.Request(url + "/sdapi/v1/" + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=900) as reply:
            body, status = json.load(reply), reply.status
    except urllib.error.HTTPError as error:
        return Result(error.code, json.loads(error.read() or b"null"))
    if not isinstance(body, dict) or "images" not in body:
        return Result(status, body)
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(x))).convert("RGB")).astype(int) for x in body["images"]
    ]
    texts = [x.rsplit(", Version:", 1)[0] for x in json.loads(body["info"])["infotexts"]]
    return Result(status, body, pictures, texts)


def _png(pixels: np.ndarray) -> str:
    with io.BytesIO() as out:
        Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
        return base64.b64encode(out.getvalue()).decode()


def plain_requests(samplers: list[str], schedulers: list[str]) -> list[Request]:
    requests: list[Request] = [(f"sampler {x}", {"sampler_name": x}) for x in samplers]
    requests += [(f"schedule {x}", {"scheduler": x}) for x in schedulers]
    requests += [
        ("Restart with restarts", {"sampler_name": "Restart", "steps": 24}),
        ("batches", {"sampler_name": "Euler a", "n_iter": 2, "batch_size": 2}),
        ("batches, brownian", {"sampler_name": "DPM++ 2M SDE", "n_iter": 2, "batch_size": 2}),
        ("variation", {"subseed": 5, "subseed_strength": 0.4}),
        ("seed of another size", {"seed_resize_from_w": 96, "seed_resize_from_h": 128}),
        ("tiling", {"tiling": True}),
        ("AND", {"prompt": "a cat AND a green cat :0.6 AND big eyes :-0.3"}),
        ("alternating", {"prompt": "a [green|red|blue] cat"}),
        ("BREAK", {"prompt": "a cat BREAK green, two eyes"}),
        ("long prompt", {"prompt": "a cat, " + ", ".join(["green two big eyes horns"] * 12)}),
        ("long negative prompt", {"negative_prompt": ", ".join(["green two big eyes horns"] * 20)}),
        ("eta", {"eta": 0.5, "sampler_name": "Euler a"}),
        ("eta of DDIM", {"eta": 0.5, "sampler_name": "DDIM"}),
        ("no guidance below a sigma", {"s_min_uncond": 3}),
        ("sampler of old", {"sampler_name": "DPM++ 2M Karras"}),
        (
            "from an infotext",
            {"infotext": "a cat\nSteps: 7, Sampler: Heun, CFG scale: 3, Seed: 5, Clip skip: 2"},
        ),
    ]
    return requests


def model_requests(second: str, lora: str) -> list[Request]:
    refiner = {"refiner_checkpoint": second, "refiner_switch_at": 0.5, "steps": 8}
    hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
    upscalers = ("Latent", "Latent (bicubic antialiased)", "Lanczos", "Nearest", "None")
    requests: list[Request] = [
        (f"refiner {x}", {**refiner, "sampler_name": x})
        for x in ("Euler", "Euler a", "Heun", "DDIM", "UniPC", "LCM", "DPM++ 2M", "DPM++ SDE", "PLMS")
    ]
    requests += [(f"hires {x}", {**hires, "hr_upscaler": x}) for x in upscalers]
    requests += [
        ("hires with refiner", {**refiner, **hires, "hr_upscaler": "Latent"}),
        ("hires with another checkpoint", {**hires, "hr_upscaler": "Latent", "hr_checkpoint_name": second}),
        ("hires by timesteps", {**hires, "hr_upscaler": "Latent", "sampler_name": "DDIM"}),
        ("another checkpoint", {"override_settings": {"sd_model_checkpoint": second}}),
        *((f"LoRA {x}", {"prompt": f"a cat <lora:{lora}:{x}>"}) for x in ("1", "0.5:0", "0:0.7", "te=0.3:unet=1")),
        ("LoRA with refiner", {**refiner, "prompt": f"a cat <lora:{lora}:1>"}),
        (
            "LoRA with hires",
            {**hires, "hr_upscaler": "Lanczos", "prompt": f"a cat <lora:{lora}:1>", "hr_prompt": "a cat"},
        ),
        ("after all that", {}),
    ]
    return requests


def setting_requests() -> list[Request]:
    """Each leaks into all later requests on both, as settings that were never saved do."""
    settings: list[dict[str, Any]] = [
        {"CLIP_stop_at_last_layers": 2},
        {"emphasis": "No norm"},
        {"pad_cond_uncond": True},
        {"batch_cond_uncond": False},
        {"rho": 3.0, "sigma_min": 0.1, "sigma_max": 10.0},
        {"s_churn": 5.0, "s_noise": 1.01},
        {"always_discard_next_to_last_sigma": True},
        {"skip_early_cond": 0.4},
        {"sgm_noise_multiplier": True},
        {"randn_source": "NV"},
        {"sd_noise_schedule": "Zero Terminal SNR"},
    ]
    return [(f"setting {x}", {"scheduler": "karras", "override_settings": x}) for x in settings]


def img2img_requests(picture: np.ndarray) -> list[Request]:
    mask = np.zeros_like(picture)
    mask[16:48, 20:48] = 255
    start = {"init_images": [_png(picture)], "denoising_strength": 0.6, "steps": 10}
    requests: list[Request] = []
    for name in ("Euler", "Euler a", "DDIM", "PLMS", "UniPC", "LCM", "DPM++ SDE", "DPM++ 3M SDE"):
        requests.append((f"img2img {name}", {**start, "sampler_name": name}))
        painted = {"mask": _png(mask), "mask_blur": 3, "inpainting_fill": 1}
        requests.append((f"inpaint {name}", {**start, **painted, "sampler_name": name}))
    for i in range(4):
        requests.append((f"resize {i}", {**start, "resize_mode": i, "width": 128}))
        requests.append(
            (f"fill {i}", {**start, "mask": _png(mask), "inpainting_fill": i, "inpaint_full_res": bool(i % 2)})
        )
    return requests


BAD: list[Request] = [
    ("unknown script", {"script_name": "nix"}),
    ("unknown always-on script", {"alwayson_scripts": {"nix": {"args": []}}}),
    ("unknown refiner", {"refiner_checkpoint": "nix"}),
    ("no steps", {"steps": 0}),
    ("steps in words", {"steps": "many"}),
    ("unknown setting", {"override_settings": {"nix": 1}}),
    ("hires without strength", {"enable_hr": True, "hr_upscaler": "Latent"}),
]


def compare(name: str, first: Result, second: Result) -> bool:
    """Prints one line; True where the two agree."""
    notes = []
    if first.status != second.status or (first.status != 200 and first.body != second.body):
        notes.append(f"HTTP {first.status} {str(first.body)[:160]} / {second.status} {str(second.body)[:160]}")
    worst = 0
    if len(first.images) != len(second.images):
        notes.append(f"{len(first.images)} / {len(second.images)} pictures")
    elif first.images:
        worst = max(int(np.abs(a - b).max()) for a, b in zip(first.images, second.images, strict=True))
    if worst > ROUNDING and not name.endswith(SENSITIVE):
        notes.append("pictures differ")
    if first.infotexts != second.infotexts:
        notes.append(f"{first.infotexts} / {second.infotexts}")
    print(f"{name:44} {worst:3} {' '.join(notes) or 'ok'}", flush=True)
    return not notes


def run(urls: tuple[str, str], base: str, second: str, lora: str, only: str) -> bool:
    defaults = {"prompt": "a (green:1.2) cat with [two:three:0.5] eyes", "negative_prompt": "a red cat", "steps": 6}
    defaults |= {"width": 64, "height": 64, "seed": 11, "cfg_scale": 5, "sampler_name": "Euler"}
    for url in urls:
        ask(url, "options", {"sd_model_checkpoint": next(x for x in _titles(url) if x.startswith(base))})

    def both(path: str, requests: list[Request]) -> list[bool]:
        return [compare(n, *(ask(u, path, {**defaults, **r}) for u in urls)) for n, r in requests if only in n]

    names = [[x["name"] for x in ask(urls[0], route).body] for route in ("samplers", "schedulers")]
    picture = ask(urls[0], "txt2img", defaults).images[0]
    ask(urls[1], "txt2img", defaults)
    agreed = both("txt2img", plain_requests(*names))
    agreed += both("txt2img", model_requests(second, lora))
    agreed += both("img2img", img2img_requests(picture))
    agreed += both("txt2img", BAD)
    agreed += both("txt2img", setting_requests())
    print(f"{sum(agreed)} of {len(agreed)} agree")
    return all(agreed)


def _titles(url: str) -> list[str]:
    return [x["title"] for x in ask(url, "sd-models").body]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("urls", nargs=2)
    parser.add_argument("--base", default="base")
    parser.add_argument("--second", default="second")
    parser.add_argument("--lora", default="tiny")
    parser.add_argument("--only", default="", help="the requests with this in their names (default: all)")
    given = parser.parse_args()
    urls = given.urls[0].rstrip("/"), given.urls[1].rstrip("/")
    return 0 if run(urls, given.base, given.second, given.lora, given.only) else 1


if __name__ == "__main__":
    sys.exit(main())
