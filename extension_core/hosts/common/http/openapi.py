"""How our routes are described in the host's OpenAPI document: version 3.0 under A1111's fastapi, 3.1 under Forge's.

Schemas are written by hand, not as pydantic's models: the two hosts' versions of it agree neither on what a model
accepts nor on how a refusal reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Response

from extension_core.options.schema import Schema, for_openapi_3_0

TAG = "Diversity Distillation"
_JSON = "application/json"


def of(properties: Mapping[str, Schema], **more: Any) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": dict(properties), "required": list(properties), **more}


def list_of(items: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": items}


def or_null(schema: Schema) -> Schema:
    """The schema, or nothing."""
    return {"anyOf": [schema, {"type": "null"}]}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}


@dataclass(frozen=True)
class ResponseDoc:
    """One answer that a route may give.

    Attributes:
        contents: its schema by media type; nothing for an answer without a body.
    """

    description: str
    contents: Mapping[str, Schema]

    @classmethod
    def json(cls, description: str, schema: Schema) -> ResponseDoc:
        """An answer in JSON."""
        return cls(description, {_JSON: schema})


@dataclass(frozen=True)
class Parameter:
    """A part of the path, of the query or a header."""

    name: str
    place: str
    description: str
    schema: Schema

    def as_json(self) -> dict[str, Any]:
        """As OpenAPI writes it; what is in the path is needed, all else may be left out."""
        required = self.place == "path"
        described_as = {"name": self.name, "in": self.place, "required": required, "description": self.description}
        return {**described_as, "schema": self.schema}


@dataclass(frozen=True)
class Operation:
    """A route as OpenAPI tells of it.

    Attributes:
        identifier: unique among all of the host's.
        responses: by status; the first is what is hoped for.
        body: schema of the JSON that it takes, None if it takes none.
    """

    identifier: str
    summary: str
    description: str
    responses: Mapping[int, ResponseDoc]
    parameters: tuple[Parameter, ...] = ()
    body: Schema | None = None
    body_required: bool = False


def described(app: Any, operation: Operation, guarded: bool) -> dict[str, Any]:
    """Keyword arguments of `app.add_api_route`.

    Args:
        guarded: whether the host's own routes want a password, and so have told of `HTTPBasic`.
    """
    turn = for_openapi_3_0 if getattr(app, "openapi_version", "3.1.0").startswith("3.0") else lambda schema: schema
    extra: dict[str, Any] = {"parameters": [turn(one.as_json()) for one in operation.parameters]}
    if operation.body is not None:
        contents = {_JSON: {"schema": turn(operation.body)}}
        extra["requestBody"] = {"required": operation.body_required, "content": contents}
    if guarded:
        extra["security"] = [{"HTTPBasic": []}]
    return {
        "operation_id": operation.identifier,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [TAG],
        "status_code": next(iter(operation.responses)),
        "response_class": Response,
        "response_model": None,
        "responses": {status: _response(response, turn) for status, response in operation.responses.items()},
        "openapi_extra": extra,
    }


def _response(response: ResponseDoc, turn: Any) -> dict[str, Any]:
    described_as: dict[str, Any] = {"description": response.description}
    if response.contents:
        described_as["content"] = {media: {"schema": turn(schema)} for media, schema in response.contents.items()}
    return described_as
