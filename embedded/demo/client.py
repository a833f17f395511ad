"""The part of a WebUI's HTTP API that the demo needs, over the standard library."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

_TIMEOUT = 1800.0


class DemoError(RuntimeError):
    """The demo cannot go on; the message is one sentence for the user."""


@dataclass(frozen=True)
class Generated:
    """One answer of txt2img: images uint8 [n, h, w, 3], the first image's infotext, seconds from request to answer."""

    images: np.ndarray
    infotext: str
    seconds: float


class WebUI:
    """A running WebUI at `url`, e.g. http://127.0.0.1:7860."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise DemoError(f"the WebUI's address is {url!r}, but must begin with http:// or https://")
        self.url = url.rstrip("/")

    def call(self, path: str, payload: dict[str, Any] | None = None) -> Any:
        """GET, or POST a payload as JSON, and return the answer's JSON. Raises DemoError with the server's reason."""
        body = None if payload is None else json.dumps(payload).encode()
        request = Request(self.url + path, data=body, headers={"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:
                return json.load(answer)
        except HTTPError as error:
            reason = error.read().decode("utf-8", "replace").strip()
            raise DemoError(f"{path} of the WebUI at {self.url} answered {error.code}: {reason[:500]}") from error
        except (URLError, HTTPException, OSError) as error:
            raise DemoError(f"no WebUI answers at {self.url} ({error}): start it with --api and try again") from error
        except json.JSONDecodeError as error:
            raise DemoError(f"{path} at {self.url} did not answer JSON: is this a WebUI with its API on?") from error

    def checkpoint_title(self, name: str) -> str:
        """The title under which the WebUI lists the checkpoint file `name`. Raises DemoError if it does not."""
        models = self.call("/sdapi/v1/sd-models")
        for model in models:
            if model["model_name"] == name:
                return model["title"]
        listed = ", ".join(model["model_name"] for model in models) or "none"
        raise DemoError(f"the WebUI does not list the checkpoint {name} (it lists {listed}): put its file there")

    def require_script(self, title: str) -> None:
        """Raises DemoError unless the script `title` is active in txt2img."""
        scripts = self.call("/sdapi/v1/script-info")
        active = (script["name"] or "" for script in scripts if not script["is_img2img"])
        if title.lower() not in (name.lower() for name in active):
            raise DemoError(f"the script {title!r} is not active at {self.url}: install the extension there")

    def require_loras(self, names: Collection[str]) -> None:
        """Raises DemoError unless all are listed: a host leaves out in silence what it does not find."""
        listed = {lora["name"] for lora in self.call("/sdapi/v1/loras")}
        if missing := sorted(set(names) - listed):
            raise DemoError(f"the WebUI does not list the LoRA {missing[0]} ({len(listed)} others): put its file there")

    def checkpoint(self) -> str:
        """The title of the checkpoint that is loaded."""
        return self.call("/sdapi/v1/options")["sd_model_checkpoint"] or ""

    def load_checkpoint(self, title: str) -> None:
        """Load another checkpoint."""
        self.call("/sdapi/v1/options", {"sd_model_checkpoint": title})

    @contextmanager
    def checkpoint_kept(self) -> Iterator[None]:
        """Whatever is loaded meanwhile, the checkpoint of before is loaded again at the end."""
        before = self.checkpoint()
        try:
            yield
        finally:
            if before and self.checkpoint() != before:
                self.load_checkpoint(before)

    def txt2img(self, payload: dict[str, Any]) -> Generated:
        """Generate. Images of the answer that are no single images (a grid) are left out."""
        started = time.perf_counter()
        answer = self.call("/sdapi/v1/txt2img", payload)
        seconds = time.perf_counter() - started
        info = json.loads(answer["info"])
        first = int(info.get("index_of_first_image", 0))
        encoded = answer["images"][first:]
        expected = int(payload.get("batch_size", 1)) * int(payload.get("n_iter", 1))
        if len(encoded) < expected:
            raise DemoError(f"{expected} images were asked for, but {len(encoded)} came back: see the WebUI's log")
        return Generated(np.stack([_decode(text) for text in encoded[:expected]]), info["infotexts"][first], seconds)


def _decode(text: str) -> np.ndarray:
    data = base64.b64decode(text.split(",", 1)[-1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def infotext_total(infotext: str, key: str) -> int:
    """The sum of the whole numbers under `key` in an infotext: 30 for "Steps: 30", 4 for "base 1, distilled 3".

    Raises DemoError when the infotext has no such key.
    """
    found = re.search(rf'(?:^|[\n,] ?){re.escape(key)}: ("[^"]*"|[^,\n]*)', infotext)
    if found is None:
        raise DemoError(f"the image's infotext has no {key!r}, so what ran is unknown: {infotext[-300:]!r}")
    return sum(map(int, re.findall(r"\d+", found.group(1))))
