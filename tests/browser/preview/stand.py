"""A server that shows the page's JavaScript real recordings: a page like a host's, and the preview's routes.

What it answers comes from the recorder, the store and the pictures themselves; only generations are made up, frame by
frame, by the test.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request, Response

from extension_core.errors import DiversityError
from extension_core.trajectory.curve import structure_curve
from extension_core.trajectory.etags import matches
from extension_core.trajectory.frame_pictures import Decoder, DecodingFailed, NotRecorded, Picture, View
from extension_core.trajectory.frames import Tag
from extension_core.trajectory.recorder import Frame, Recorder
from extension_core.trajectory.store import Generation, State, Store, Update
from tests.e2e.embedded_host import ROOT
from tests.waiting import PATIENCE, joined

HOST_SCRIPTS = ROOT / "embedded" / "common" / "javascript"
OUR_SCRIPTS = ROOT / "javascript"
mimetypes.add_type("application/javascript", ".mjs")

_TAB = """
<div id="tab_{tab}" class="tabitem" style="display: block;">
  <div id="{tab}_prompt"><textarea></textarea></div>
  <div id="{tab}_generate_box">
    <button id="{tab}_generate" onclick="generate('{tab}')">Generate {tab}</button>
    <button id="{tab}_interrupt" onclick="fetch('./interrupt', {{method: 'POST'}})">Interrupt {tab}</button>
  </div>
  <div id="{tab}_results"><div id="{tab}_gallery_container"><div id="{tab}_gallery"></div></div></div>
  <div id="{tab}_plan"></div>
  <div><button id="{tab}_try">Try it {tab}</button></div>
  <div id="{tab}_dt_preview-checkbox"><input type="checkbox" aria-label="DT-preview {tab}"></div>
  <div class="diversity-page"><div id="{tab}_page"><textarea aria-label="page"></textarea></div></div>
  <div id="{tab}_accordion">
    <div class="prose">
      <div class="diversity-dt" data-tab="{tab}" data-switch="{tab}_dt_preview-checkbox" data-page="{tab}_page"></div>
    </div>
  </div>
</div>"""
_PAGE = """<!DOCTYPE html><html lang="en"><head><title>Host</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">{scripts}
<style>body {{ margin: 1em; font-family: sans-serif; background: #fff; color: #1f2937; }}
body.dark {{ background: #0b0f19; color: #f3f4f6; }}</style>
</head><body class="{theme}"><main id="app"></main>
<script>
const HTML = {html};
// Shows progress as the hosts do, until the job is over.
async function generate(tab) {{
    const gallery = document.getElementById(`${{tab}}_gallery_container`);
    const bar = document.createElement("div");
    bar.className = "progressDiv";
    gallery.parentNode.insertBefore(bar, gallery);
    const page = document.querySelector(`#${{tab}}_page textarea`).value;
    await fetch("./generate", {{ method: "POST", headers: {{ "Content-Type": "application/json" }},
        body: JSON.stringify({{ tab, page }}) }});
    let busy = true;
    while (busy) {{
        await new Promise((resolve) => (window.hostTimeout || setTimeout)(resolve, 300));
        busy = await fetch("./busy").then((answer) => answer.json()).catch(() => true);
    }}
    bar.remove();
}}
addEventListener("load", () => {{ document.getElementById("app").innerHTML = HTML; }});
</script></body></html>"""


@dataclass
class About:
    """What the host's side knows of a recording."""

    group: str = ""
    role: str = ""
    stopped: list[int | None] = field(default_factory=list)


@dataclass
class Stand:
    """The server's inside, for the test to play the host with.

    Attributes:
        texts: what came with each click on Generate: (tab, text of the hidden box).
        asked: how often each path was asked for, with its query.
        answers: how often each status was given, by the last part of the path.
        busy: whether the host shows progress.
        refuse: called with each request of the preview; an answer that it returns is given instead.
        full_after: how often a full picture or a curve is said to be under way before it is there.
    """

    decoder: Decoder
    store: Store = field(default_factory=Store)
    texts: list[tuple[str, str]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    sent: list[tuple[str, int]] = field(default_factory=list)
    busy: bool = False
    interrupted: int = 0
    refuse: Callable[[Request], Response | None] = lambda _: None
    full_after: int = 1
    decoder_note: str = ""
    owner: str = ""
    worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _under_way: dict[str, tuple[int, Future[Any]]] = field(default_factory=dict)

    def begin(
        self, tab: str = "txt2img", group: str = "", role: str = "", recorder: Recorder | None = None
    ) -> Generation:
        """A generation of the page that clicked Generate last on this tab."""
        key = next(text.split()[0] for name, text in reversed(self.texts) if name == tab)
        self.busy = True
        return self.store.open(self.owner, key=key, recorder=recorder, about=About(group, role))

    def end(self, generation: Generation, state: State = State.DONE, missing: str = "", busy: bool = False) -> None:
        """The generation has ended, and unless `busy` the host's job with it."""
        generation.finish(state, missing)
        self.busy = busy

    def run(
        self, generation: Generation, tags: list[Tag], latents: Callable[[int], torch.Tensor], **more: Any
    ) -> Generation:
        """Record all of these frames at once."""
        for number, tag in enumerate(tags):
            generation.recorder.add(tag, latents(number), **{kind: make(number) for kind, make in more.items()})
        return generation

    def told(self, generation: Generation, update: Update) -> dict[str, Any]:
        about = generation.about
        return {
            "id": generation.id,
            "group": about.group,
            "role": about.role,
            **update.as_json(),
            "decoder": {"name": self.decoder.name, "note": self.decoder_note},
            "stoppable": update.state is State.RUNNING,
        }

    def shown(self, key: str) -> list[Generation]:
        """The newest generation under a key, or its whole group."""
        found = self.store.under(key, self.owner)
        if not found:
            return []
        newest = found[-1]
        return [one for one in found if newest.about.group and one.about.group == newest.about.group] or [newest]

    def later(self, name: str, make: Callable[[], Any]) -> Any:
        """What the worker has made, None while it is under way."""
        count, future = self._under_way.get(name, (0, None))
        future = future or self.worker.submit(make)
        self._under_way[name] = count + 1, future
        return future.result(PATIENCE) if count >= self.full_after else None

    def frame(self, generation: Generation, number: int) -> Frame:
        frame = generation.recorder.frame(number)
        if frame is None:
            raise LookupError
        return frame

    def counted(self, part: str) -> int:
        """Requests whose path or query holds this."""
        return sum(count for path, count in self.asked.items() if part in path)


def _error(status: int, sentence: str, **headers: str) -> Response:
    return Response(json.dumps({"error": sentence}), status, headers, "application/json")


def _json(value: Any, status: int = 200, **headers: str) -> Response:
    return Response(json.dumps(value), status, headers, "application/json")


def app_of(stand: Stand) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def watch(request: Request, call_next: Any) -> Response:
        path = request.url.path
        if "/dt/" not in path:
            return await call_next(request)
        stand.asked[f"{path}?{request.url.query}"] += 1
        answer = stand.refuse(request) or await call_next(request)
        stand.answers[path.rsplit("/", 1)[1], answer.status_code] += 1
        return answer

    @app.get("/")
    async def page(theme: str = "light", modules: str = "all") -> Response:
        scripts = [f'<script src="file={HOST_SCRIPTS / "a_page.js"}?1"></script>']
        ours = sorted(OUR_SCRIPTS.glob("*.mjs")) if modules == "all" else []
        scripts += [f'<script type="module" src="file={path}?{path.stat().st_mtime}"></script>' for path in ours]
        scripts.append(f'<link rel="stylesheet" href="file={ROOT / "style.css"}?1">')
        html = "".join(_TAB.format(tab=tab) for tab in ("txt2img", "img2img"))
        text = _PAGE.format(scripts="\n".join(scripts), theme=theme, html=json.dumps(html))
        return Response(text, media_type="text/html")

    @app.get("/file={path:path}")
    def file(path: str) -> Response:
        source = Path("/" + path.lstrip("/"))
        assert source.parent in (HOST_SCRIPTS, OUR_SCRIPTS, ROOT)
        return Response(source.read_bytes(), media_type=mimetypes.guess_type(source.name)[0])

    @app.post("/generate")
    async def generate(request: Request) -> dict[str, Any]:
        told = await request.json()
        stand.texts.append((told["tab"], told["page"]))
        stand.busy = True
        return {}

    @app.post("/interrupt")
    async def interrupt() -> dict[str, Any]:
        stand.interrupted += 1
        return {}

    @app.get("/busy")
    async def busy() -> bool:
        return stand.busy

    _add_routes(app, stand)
    return app


def _add_routes(app: FastAPI, stand: Stand) -> None:
    root = "/diversity-distillation/v1/dt"

    def find(identifier: str) -> Generation:
        generation = stand.store.find(identifier, stand.owner)
        if generation is None:
            raise LookupError
        return generation

    @app.exception_handler(LookupError)
    async def unknown(_request: Request, _error_: LookupError) -> Response:
        return _error(404, "There is no such preview.")

    @app.exception_handler(DiversityError)
    async def failed(_request: Request, error: DiversityError) -> Response:
        return _error(404 if isinstance(error, NotRecorded) else 409, str(error))

    @app.get(root + "/newest")
    async def newest(request: Request) -> Response:
        query = request.query_params.multi_items()
        pairs = zip((v for k, v in query if k == "since"), (v for k, v in query if k == "of"), strict=True)
        since = {identifier: int(cursor) for cursor, identifier in pairs}
        # One look for the answer and its tag: a tag newer than what it stands for would hide the newest frame for good.
        updates = {one: one.update(since.get(one.id, 0)) for one in stand.shown(request.headers.get("X-DT-Key", ""))}
        told = [stand.told(one, update) for one, update in updates.items()]
        parts = [f"{one.id} {update.etag}".replace('"', "") for one, update in updates.items()]
        etag = f'"{"+".join(parts)}"'
        if matches(request.headers.get("If-None-Match", ""), etag):
            return Response(status_code=304, headers={"ETag": etag})
        stand.sent += [(one["id"], frame["number"]) for one in told for frame in one["frames"]]
        return _json({"generations": told}, ETag=etag, **{"Cache-Control": "private, no-cache"})

    @app.get(root + "/{identifier}/frames/{number}/{name}")
    async def picture(identifier: str, number: int, name: str, kind: Any = "guided", side: int = 256) -> Response:
        generation = find(identifier)
        image, form = name.split(".")
        frame = stand.frame(generation, number)
        if form == "png":
            view = View(int(image), kind, None)
            make = lambda: generation.pictures.get(frame, view, stand.decoder)  # noqa: E731
            made: Picture | None = stand.later(f"{identifier} {number} {view}", make)
            if made is None:
                return _json({"wait": "After the image that is being made."}, 202, **{"Retry-After": "1"})
        else:
            view = View(int(image), kind, side, {"jpg": "jpeg"}.get(form, form))  # type: ignore[arg-type]
            loop = asyncio.get_running_loop()
            try:
                made = await loop.run_in_executor(
                    stand.worker, lambda: generation.pictures.get(frame, view, stand.decoder)
                )
            except DecodingFailed as error:
                return _error(503, str(error))
        return Response(
            made.content,
            media_type=made.media_type,
            headers={"ETag": made.etag, "Cache-Control": "private, max-age=3600, immutable"},
        )

    @app.get(root + "/{identifier}/curve")
    async def curve(identifier: str, kind: Any = "guided") -> Response:
        generation = find(identifier)

        def make() -> dict[str, Any]:
            sections: dict[str, list[Frame]] = {}
            for frame in generation.recorder.frames():
                sections.setdefault(frame.info.tag.section.title, []).append(frame)
            drawn = {
                title: structure_curve(generation.pictures.pixels(frames, stand.decoder, kind), "structural")
                for title, frames in sections.items()
            }
            return {
                "sections": [
                    {
                        "title": title,
                        "frames": [frame.info.number for frame in sections[title]],
                        "lines": one.distances.tolist(),
                    }
                    for title, one in drawn.items()
                ],
                "measure": "structural",
                "note": "lpips cannot be used: it is not installed.",
            }

        made = stand.later(f"{identifier} curve {kind}", make)
        return (
            _json({"wait": "The curve is being measured."}, 202, **{"Retry-After": "1"})
            if made is None
            else _json(made)
        )

    @app.post(root + "/{identifier}/stop")
    async def stop(identifier: str, request: Request) -> Response:
        generation = find(identifier)
        if generation.state is not State.RUNNING:
            return _error(409, "The generation has ended already.")
        generation.about.stopped.append((await request.json())["number"])
        return _json({}, 202)

    @app.post(root + "/{identifier}/save")
    async def save(identifier: str) -> Response:
        generation = find(identifier)
        if generation.state is State.RUNNING:
            return _error(409, "The generation runs; save when it has ended.")
        made = stand.later(f"{identifier} save", lambda: ["00001-7-dt.png", "00001-7-dt.webp"])
        if made is None:
            return _json({"wait": "The strip is being saved; ask again."}, 202, **{"Retry-After": "1"})
        return _json({"files": made})


@contextmanager
def serving(stand: Stand) -> Iterator[str]:
    """Its URL."""
    config = uvicorn.Config(app_of(stand), host="127.0.0.1", log_level="warning", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    with socket.socket() as listening:  # from here on questions wait in the system until the server takes them
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=server.run, args=[[listening]], name="stand-in server", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            server.force_exit = True
            joined(thread)


def fresh_group() -> str:
    return secrets.token_hex(8)
