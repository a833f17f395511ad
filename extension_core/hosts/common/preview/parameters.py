"""What is asked for in a route's address, query and body; and how a route ends that cannot give it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from typing import cast

from fastapi import Request, Response

from extension_core.errors import DiversityError
from extension_core.hosts.common.http.serving import json_answer
from extension_core.hosts.common.preview.operations import LONGEST_WISH, MOST_PAIRS
from extension_core.trajectory.frame_pictures import PANEL_SIDE, Form, View
from extension_core.trajectory.frames import KINDS, Kind
from extension_core.trajectory.recorder import Frame
from extension_core.trajectory.store import Generation

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(eq=False)
class RouteEnded(Exception):
    """Ends a route with a sentence."""

    status: int
    sentence: str
    retry: bool = False

    def response(self) -> Response:
        """The sentence as JSON, with when to ask again."""
        retry = {"Retry-After": "1"} if self.retry else {}
        return json_answer({"wait" if self.status == 202 else "error": self.sentence}, self.status, **retry)


# Of an exception that is raised again and again the traceback would grow, so each is made anew.
nothing = partial(RouteEnded, 404, "There is no such preview; it may have expired.")
login = partial(RouteEnded, 401, "Log in to this WebUI to see previews.")
too_often = partial(RouteEnded, 429, "This preview is asked for too often; wait a second.", retry=True)


def frame_of(generation: Generation, request: Request) -> Frame:
    """The frame whose number stands in the address. RouteEnded (404): there is none, or not any more."""
    number = request.path_params["number"]
    if not _NUMBER.fullmatch(number):
        raise nothing()
    frame = generation.recorder.frame(int(number))
    if frame is None:
        raise RouteEnded(404, f"Frame {int(number)} is not there, or not any more.")
    return frame


def kind_of(request: Request) -> Kind:
    """Which prediction is meant. RouteEnded (400): there is no such kind."""
    kind = request.query_params.get("kind", "guided")
    if kind not in KINDS:
        raise RouteEnded(400, f"There are predictions of the kinds {', '.join(KINDS)}; choose one of them as 'kind'.")
    return cast(Kind, kind)


def view_of(image: int, kind: Kind, request: Request, form: Form) -> View:
    """A picture of a frame at the size that is asked for. RouteEnded (400): there is no such size."""
    side = request.query_params.get("side", str(PANEL_SIDE))
    try:
        return View(image, kind, int(side) if _NUMBER.fullmatch(side) else -1, form)
    except DiversityError as wrong:
        raise RouteEnded(400, str(wrong)) from None


def cursors_of(request: Request) -> list[int]:
    """The numbers of frames up to which a page knows its generations. RouteEnded (400): they are none, or too many."""
    given = request.query_params.getlist("since")
    if len(given) > MOST_PAIRS or not all(_NUMBER.fullmatch(since) for since in given):
        raise RouteEnded(400, f"'since' is a number of a frame, given at most {MOST_PAIRS} times.")
    return [int(since) for since in given]


async def wished_number(request: Request) -> int | None:
    """The frame to stop at, None for the newest. RouteEnded (400, 413): the body is not such a wish."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_WISH:
            raise RouteEnded(413, "A wish to stop is a short JSON object.")
    try:
        wish = json.loads(body or b"{}")
        number = wish.get("number")
    except (ValueError, AttributeError, RecursionError):
        number = False
    if number is not None and (type(number) is not int or not 0 <= number < 10**9):
        raise RouteEnded(400, 'A wish to stop is {"number": n}, with the number of a frame, or null for the newest.')
    return number
