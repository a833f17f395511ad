"""Routes by which a page or an API client follows its own generations.

All run on the server's event loop: they look things up and wait for threads that decode, and never block it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request, Response
from modules import call_queue, devices

from extension_core.errors import DiversityError, first_line, reason
from extension_core.hosts.common.http.access import Auth, Visitor
from extension_core.hosts.common.http.openapi import Operation, described
from extension_core.hosts.common.http.serving import PREFIX, bytes_answer, json_answer
from extension_core.hosts.common.preview import operations, output
from extension_core.hosts.common.preview.access import Rate, generation_for, newest_for
from extension_core.hosts.common.preview.curves import curve_as_json
from extension_core.hosts.common.preview.decoders import DECODERS, FULL, VaeChanged
from extension_core.hosts.common.preview.parameters import (
    RouteEnded,
    cursors_of,
    frame_of,
    kind_of,
    login,
    nothing,
    too_often,
    view_of,
    wished_number,
)
from extension_core.hosts.common.preview.recorded import Recorded, about
from extension_core.hosts.common.preview.workers import FULL_SIZE, LATER, PICTURES, Busy, Once
from extension_core.trajectory.etags import etag_of, matches
from extension_core.trajectory.frame_pictures import Form, NotRecorded, Picture, View, check
from extension_core.trajectory.recorder import Frame
from extension_core.trajectory.store import Generation, State, Update

T = TypeVar("T")
_log = logging.getLogger(__name__)

_FOR_GOOD = "private, max-age=3600, immutable"
_FILE = re.compile(r"([0-9]{1,9})\.(jpg|webp|png)", re.ASCII)
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_FORMS: Mapping[str, Form] = {"jpg": "jpeg", "webp": "webp"}
# Seconds for which a request waits for a thread.
_PATIENCE, _PATIENCE_FOR_SMALL = 1.0, 30.0

# Process-wide as the threads are.
_FULL: Once[Picture] = Once(FULL_SIZE)
_FILES: Once[list[str]] = Once(FULL_SIZE)
_CURVES: Once[dict[str, Any]] = Once(PICTURES)


def add_routes(app: Any) -> None:
    """Give an application its routes. "Reload UI" makes a new application and calls this again."""
    auth = Auth(app)
    routes = _Routes(auth)
    for path, operation, handler in routes.table():
        method = "POST" if operation in operations.WISHES else "GET"
        documented = described(app, operation, auth.api_guarded)
        app.add_api_route(f"{PREFIX}/dt{path}", handler, methods=[method], **documented)
    rest = {"methods": _METHODS, "include_in_schema": False, "response_model": None}
    app.add_api_route(f"{PREFIX}/dt/{{rest:path}}", routes.no_such, **rest)


Handler = Callable[[Request], Awaitable[Response]]
Inner = Callable[[Request, Generation], Awaitable[Response]]


class _Routes:
    """The routes of one application."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._polls = Rate(burst=40, per_second=10)
        self._pictures = Rate(burst=1000, per_second=100)
        self._wishes = Rate(burst=10, per_second=1)
        self.no_such = self._guarded(self._no_such)

    def table(self) -> list[tuple[str, Operation, Handler]]:
        """Path, description and handler of each, the catch-all excepted."""
        one = "/{identifier}"
        return [
            ("/newest", operations.NEWEST, self._guarded(self._newest)),
            (one, operations.ONE, self._of_one(self._one, self._polls)),
            (f"{one}/frames/{{number}}/{{file}}", operations.PICTURE, self._of_one(self._picture, self._pictures)),
            (f"{one}/curve", operations.CURVE, self._of_one(self._curve, self._polls)),
            (f"{one}/stop", operations.STOP, self._of_one(self._stop, self._wishes)),
            (f"{one}/save", operations.SAVE, self._of_one(self._save, self._wishes)),
        ]

    def _guarded(self, inner: Callable[[Request, Visitor], Awaitable[Response]]) -> Handler:
        """Logins asked for, sentences answered."""

        async def handler(request: Request) -> Response:
            try:
                visitor = await self._auth.visitor(request)
                if self._auth.refuses(visitor, request):
                    raise login()
                return await inner(request, visitor)
            except RouteEnded as ended:
                return ended.response()
            except VaeChanged as changed:
                return RouteEnded(409, str(changed)).response()
            except NotRecorded as missing:
                return RouteEnded(404, str(missing)).response()
            except Busy as busy:
                return RouteEnded(503, str(busy), retry=True).response()
            except DiversityError as failed:
                return RouteEnded(503, str(failed)).response()

        return handler

    def _of_one(self, inner: Inner, rate: Rate) -> Handler:
        """A route of one generation, found by its id."""

        async def found(request: Request, visitor: Visitor) -> Response:
            generation = generation_for(visitor, request.path_params["identifier"])
            if generation is None:
                raise nothing()
            if not rate.allows(generation):
                raise too_often()
            return await inner(request, generation)

        return self._guarded(found)

    async def _no_such(self, request: Request, visitor: Visitor) -> Response:
        raise nothing()

    async def _newest(self, request: Request, visitor: Visitor) -> Response:
        generations = newest_for(visitor, request.headers.get("x-dt-key", ""))
        if generations and not self._polls.allows(generations[-1]):
            raise too_often()
        known = dict(zip(request.query_params.getlist("of"), cursors_of(request), strict=False))
        statuses = [_Status.of(generation, known.get(generation.id, 0)) for generation in generations]
        return _unless_known(
            request,
            " ".join(status.state for status in statuses),
            lambda: {"generations": [status.as_json() for status in statuses]},
        )

    async def _one(self, request: Request, generation: Generation) -> Response:
        status = _Status.of(generation, (*cursors_of(request), 0)[0])
        return _unless_known(request, status.state, status.as_json)

    async def _picture(self, request: Request, generation: Generation) -> Response:
        frame, named = frame_of(generation, request), _FILE.fullmatch(request.path_params["file"])
        if named is None:
            raise nothing()
        image, ending = int(named[1]), named[2]
        if ending == "png":
            picture = await _full_size(generation, frame, View(image, kind_of(request), None))
        else:
            view = view_of(image, kind_of(request), request, _FORMS[ending])
            check(frame, view)
            made = PICTURES.submit(lambda: DECODERS.picture(generation, frame, view))
            picture = await _awaited(
                made, _PATIENCE_FOR_SMALL, RouteEnded(503, "Decoding takes long; ask again.", True)
            )
        if matches(request.headers.get("if-none-match", ""), picture.etag):
            return bytes_answer(b"", 304, ETag=picture.etag, **{"Cache-Control": _FOR_GOOD})
        headers = {"ETag": picture.etag, "Cache-Control": _FOR_GOOD, "Content-Type": picture.media_type}
        return bytes_answer(picture.content, 200, **headers)

    async def _curve(self, request: Request, generation: Generation) -> Response:
        kind = kind_of(request)
        snapshot = generation.recorder.snapshot()
        if not any(kind in frame.kinds for frame in snapshot.frames):
            raise RouteEnded(404, f"No frame of this preview has a {kind!r} prediction.")
        state = (
            f"{snapshot.version} {kind} {DECODERS.live(about(generation).latents, about(generation).decoder)[0].name}"
        )
        if matches(request.headers.get("if-none-match", ""), etag_of(state.encode())):
            return bytes_answer(b"", 304, ETag=etag_of(state.encode()))
        key = (generation.id, kind)
        made = _CURVES.ask(key, lambda: {**curve_as_json(generation, kind, PICTURES.give_way), "state": state}, LATER)
        curve = await _awaited(
            made, _PATIENCE, RouteEnded(202, "The curve is being computed.", retry=True), _CURVES, key
        )
        content = {name: value for name, value in curve.items() if name != "state"}
        return json_answer(content, 200, ETag=etag_of(curve["state"].encode()))

    async def _stop(self, request: Request, generation: Generation) -> Response:
        number = await wished_number(request)
        if generation.state is not State.RUNNING:
            raise RouteEnded(409, "The generation has ended; there is nothing to stop.")
        if number is not None and generation.recorder.frame(number) is None:
            raise RouteEnded(409, f"Frame {number} is not kept any more; stop at another one.")
        about(generation).stop.ask(number)
        return json_answer({}, 202)

    async def _save(self, request: Request, generation: Generation) -> Response:
        if generation.state is State.RUNNING:
            raise RouteEnded(409, "The generation still runs; its strip can be saved once it has ended.")
        key = generation.id
        made = _FILES.ask(key, lambda: _save_later(generation))
        wait = RouteEnded(202, "The strip is being saved; ask again.", retry=True)
        return json_answer({"files": await _awaited(made, _PATIENCE, wait, _FILES, key)}, 200)


@dataclass(frozen=True)
class _Status:
    """What a page is told of a generation.

    Attributes:
        state: the same as long as the same would be told.
    """

    generation: Generation
    recorded: Recorded
    update: Update
    decoder: str
    note: str

    @classmethod
    def of(cls, generation: Generation, since: int) -> _Status:
        recorded = about(generation)
        decoder, note = DECODERS.live(recorded.latents, recorded.decoder)
        return cls(generation, recorded, generation.update(since), decoder.name, note)

    @property
    def stoppable(self) -> bool:
        return self.update.state is State.RUNNING and not self.recorded.stop.asked

    @property
    def state(self) -> str:
        parts = (self.generation.id, self.update.etag, self.update.missing, self.decoder, self.note, self.stoppable)
        return repr(parts)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.generation.id,
            "group": self.recorded.group,
            "role": self.recorded.role,
            **self.update.as_json(),
            "decoder": {"name": self.decoder, "note": self.note},
            "stoppable": self.stoppable,
        }


async def _full_size(generation: Generation, frame: Frame, view: View) -> Picture:
    """By the VAE: from what is kept, or made once the host's queue is free."""
    check(frame, view)
    if kept := generation.pictures.kept(frame, view, FULL):
        return kept
    DECODERS.check_vae(about(generation))

    def decode() -> Picture:
        # The lock is given in order of asking, so this waits for the running generation, and the next one for this.
        with call_queue.queue_lock:
            try:
                return generation.pictures.get(frame, view, DECODERS.full(about(generation)))
            finally:
                devices.torch_gc()

    key = (generation.id, frame.info.number, view)
    wait = RouteEnded(202, "The frame is decoded as soon as nothing is generated.", retry=True)
    return await _awaited(_FULL.ask(key, decode), _PATIENCE, wait, _FULL, key)


async def _awaited(
    made: Future[T], seconds: float, otherwise: RouteEnded, jobs: Once[T] | None = None, key: Hashable = None
) -> T:
    """What a thread makes, or `otherwise` if that takes longer.

    A job that others may wait for, or that goes on without anybody waiting, is of `jobs`; another one is given up.
    """
    waiting = asyncio.wrap_future(made)
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to be told
    try:
        return await asyncio.wait_for(asyncio.shield(waiting) if jobs else waiting, seconds)
    except (asyncio.TimeoutError, TimeoutError):
        raise otherwise from None
    except (RouteEnded, DiversityError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a decoder or a disk says, the server answers
        _log.warning("DT-preview: %s", first_line(error), exc_info=error)
        raise RouteEnded(503, f"This could not be made ({reason(error)}); the generation is not touched.") from None
    finally:
        if jobs and made.done():
            jobs.fetched(key, made)


def _save_later(generation: Generation) -> list[str]:
    """Strip and animation of a generation that has ended; names of the files."""
    recorded = about(generation)
    with call_queue.queue_lock if recorded.decoder == "full" else contextlib.nullcontext():
        return output.save_later(generation, DECODERS.for_files(recorded)[0])


def _unless_known(request: Request, state: str, content: Callable[[], dict[str, Any]]) -> Response:
    """304 for a page that knows this state. What it has asked with decides what it is told, so it is in the tag."""
    etag = etag_of(f"{request.url.query} {state}".encode(errors="replace"))
    if matches(request.headers.get("if-none-match", ""), etag):
        return bytes_answer(b"", 304, ETag=etag)
    return json_answer(content(), 200, ETag=etag)
