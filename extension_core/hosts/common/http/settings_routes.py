"""The routes `/schema`, `/models`, `/choices` and `/plan`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from extension_core.errors import DiversityError
from extension_core.hosts.common.files.loaded_checkpoint import loaded_name, of_one_checkpoint
from extension_core.hosts.common.http.access import Auth
from extension_core.hosts.common.http.listing import MODELS, Listing
from extension_core.hosts.common.http.offers import CHOSEN, LOADED, OFFERS, Offers
from extension_core.hosts.common.http.openapi import Operation, Parameter, ResponseDoc, described, of
from extension_core.hosts.common.http.plan_request import PlanRequest, body_schema
from extension_core.hosts.common.http.plan_response import PLAN, plan_as_json
from extension_core.hosts.common.http.serving import PREFIX, json_answer
from extension_core.hosts.common.plan.client_request import request_of
from extension_core.hosts.common.plan.settle import settle
from extension_core.hosts.protocols import Host
from extension_core.options.fields import Field, parse_value
from extension_core.options.hybrid import BY_NAME, Options
from extension_core.options.schema import arguments_schema

_LONGEST_BODY = 1 << 20
_LOGIN = "Log in to this WebUI, by the page's login or the API's password, to ask this."
_NOT_LOADED = "No checkpoint is loaded yet, and its noise levels make the plan; generate an image first."

_LOADED_IS = BY_NAME["loaded_is"]
_CHECKPOINT = Field(name="checkpoint", kind="choice", label="Checkpoint", tooltip="", choices=(LOADED, CHOSEN))
_SENTENCE = of({"detail": {"type": "string", "description": "One sentence."}})
_REFUSED = {401: ResponseDoc.json("Neither the page's login nor the API's password.", _SENTENCE)}
_SCHEMA = Operation(
    "diversity_distillation_schema",
    "JSON schema of the arguments",
    "Of the one dict in `alwayson_scripts`, draft 2020-12; `positions` is the order of values sent by position.",
    {200: ResponseDoc.json("The schema.", {"type": "object"}), **_REFUSED},
)
_MODELS = Operation(
    "diversity_distillation_models",
    "What may be chosen as distilled model",
    "Checkpoints, U-Nets and LoRAs, each with the family that it seems to be of, and why.",
    {200: ResponseDoc.json("One entry for each file.", MODELS), **_REFUSED},
)
_CHOICES = Operation(
    "diversity_distillation_choices",
    "What may be chosen beside the loaded checkpoint, best first",
    "Files are looked at in the background: no file is opened for an answer, and `pending` says how many are left.",
    {
        200: ResponseDoc.json("The list.", OFFERS),
        **_REFUSED,
        422: ResponseDoc.json("There is no such part, or neither checkpoint is meant.", _SENTENCE),
    },
    parameters=(
        Parameter(
            "loaded_is",
            "query",
            "The part of the loaded checkpoint, as the option of that name; the list is for the other part.",
            {"type": "string", "enum": list(_LOADED_IS.choices), "default": Options().loaded_is},
        ),
        Parameter(
            "checkpoint",
            "query",
            "What the list is for: the checkpoint that is loaded, or the one that the next image is made with.",
            {"type": "string", "enum": list(_CHECKPOINT.choices), "default": LOADED},
        ),
    ),
)
_PLAN = Operation(
    "diversity_distillation_plan",
    "The plan for settings",
    "What would run with the loaded checkpoint; nothing is run, loaded or changed.",
    {
        200: ResponseDoc.json("The plan.", PLAN),
        **_REFUSED,
        409: ResponseDoc.json("No checkpoint is loaded yet.", _SENTENCE),
        413: ResponseDoc.json("The body is too long.", _SENTENCE),
        422: ResponseDoc.json("Such a request would be refused; the sentence says why.", _SENTENCE),
    },
    body=body_schema(),
    body_required=True,
)

Handler = Callable[[Request], Awaitable[Response]]


def add_routes(host: Host, app: Any) -> None:
    """Give an application its routes. "Reload UI" makes a new application and calls this again."""
    auth = Auth(app)
    routes = _Routes(host)
    table: tuple[tuple[str, str, Operation, Handler], ...] = (
        ("/schema", "GET", _SCHEMA, routes.schema),
        ("/models", "GET", _MODELS, routes.models),
        ("/choices", "GET", _CHOICES, routes.choices),
        ("/plan", "POST", _PLAN, routes.plan),
    )
    for path, method, operation, handler in table:
        documented = described(app, operation, auth.api_guarded)
        app.add_api_route(PREFIX + path, _guarded(auth, handler), methods=[method], **documented)


def _guarded(auth: Auth, inner: Handler) -> Handler:
    """For whoever may open the page or use the API."""

    async def handler(request: Request) -> Response:
        if auth.refuses(await auth.visitor(request), request):
            return json_answer({"detail": _LOGIN}, 401, **{"WWW-Authenticate": "Basic"})
        return await inner(request)

    return handler


class _Routes:
    """The routes of one application. What may take a while runs in a thread, not on the server's event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._listing = Listing()
        self._offers = Offers(host)

    async def schema(self, request: Request) -> Response:
        return json_answer(arguments_schema())

    async def models(self, request: Request) -> Response:
        return json_answer(await run_in_threadpool(self._listing.as_json))

    async def choices(self, request: Request) -> Response:
        try:
            query = request.query_params
            loaded_is = parse_value(_LOADED_IS, query.get("loaded_is", Options().loaded_is))
            checkpoint = parse_value(_CHECKPOINT, query.get("checkpoint", LOADED))
        except DiversityError as error:
            return json_answer({"detail": str(error)}, 422)
        return json_answer(await run_in_threadpool(self._offers.as_json, loaded_is, checkpoint))

    async def plan(self, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LONGEST_BODY:
                return json_answer({"detail": f"The body is longer than {_LONGEST_BODY} bytes; send less."}, 413)
        return await run_in_threadpool(self._plan, body)

    def _plan(self, body: bytes) -> Response:
        try:
            plan_request = PlanRequest.read(body)
            return of_one_checkpoint(lambda: self._plan_of(plan_request))
        except DiversityError as error:
            return json_answer({"detail": str(error)}, 422)

    def _plan_of(self, plan_request: PlanRequest) -> Response:
        if not self._host.is_loaded():
            return json_answer({"detail": _NOT_LOADED}, 409)
        request = request_of(plan_request.request, plan_request.img2img)
        found = settle(self._host, request, plan_request.options)
        notes = tuple(dict.fromkeys((*request.name_notes, *found.notes)))
        return json_answer(plan_as_json(found, loaded_name(), notes))
