"""The preview's routes as the host's OpenAPI document tells of them."""

from __future__ import annotations

from extension_core.hosts.common.http.openapi import (
    FLAG,
    NUMBER,
    TEXT,
    WHOLE,
    Operation,
    Parameter,
    ResponseDoc,
    list_of,
    of,
    or_null,
)
from extension_core.options.schema import Schema
from extension_core.trajectory.frame_pictures import SIDES
from extension_core.trajectory.frames import KINDS
from extension_core.trajectory.store import State

LONGEST_WISH = 1000
MOST_PAIRS = 16

_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_FILE: Schema = {"type": "string", "pattern": "^[0-9]{1,9}[.](jpg|webp|png)$"}
_FRAME = of(
    {
        "number": WHOLE,
        "section": TEXT,
        "pass": TEXT,
        "batch": WHOLE,
        "step": WHOLE,
        "steps": WHOLE,
        "timestep": or_null(NUMBER),
        "sigma": or_null(NUMBER),
        "phase": {"type": "string", "enum": ["base", "distilled", ""]},
        "cfg": or_null(NUMBER),
        "model": TEXT,
        "images": WHOLE,
        "kinds": list_of({"type": "string", "enum": list(KINDS)}),
        "switched": FLAG,
    }
)
_GENERATION = of(
    {
        "id": TEXT,
        "group": TEXT,
        "role": {"type": "string", "enum": ["", "hybrid", "base", "distilled"]},
        "state": {"type": "string", "enum": [state.value for state in State]},
        "missing": TEXT,
        "frames": list_of(_FRAME),
        "cursor": WHOLE,
        "kept": list_of(WHOLE),
        "dropped": WHOLE,
        "thinned": WHOLE,
        "missed": WHOLE,
        "decoder": of({"name": TEXT, "note": TEXT}),
        "stoppable": FLAG,
    }
)
_SECTION = of({"title": TEXT, "frames": list_of(WHOLE), "lines": list_of(list_of(NUMBER))})
_CURVE = of({"sections": list_of(_SECTION), "measure": TEXT, "note": TEXT})
_PICTURES: dict[str, Schema] = {
    kind: {"type": "string", "format": "binary"} for kind in ("image/jpeg", "image/webp", "image/png")
}

_ERROR, _WAIT = of({"error": TEXT}), of({"wait": TEXT})
_SAME = ResponseDoc("Nothing is new since the answer with the tag in If-None-Match.", {})
_WRONG = ResponseDoc.json("A parameter is wrong; the sentence says which.", _ERROR)
_LATER = ResponseDoc.json("It is being made; ask again after the time in Retry-After.", _WAIT)
_REFUSALS = {
    401: ResponseDoc.json("Neither the page's login nor the API's password.", _ERROR),
    404: ResponseDoc.json("There is none of this id, or it has expired, or is somebody else's.", _ERROR),
    429: ResponseDoc.json("Asked too often.", _ERROR),
    503: ResponseDoc.json("It could not be made, or too many wait for the same.", _ERROR),
}

_ID = Parameter("identifier", "path", "The generation's id: `dt.id` of the request, or in the answer's info.", TEXT)
_SINCE = Parameter(
    "since",
    "query",
    f"The cursor of the last answer; at most {MOST_PAIRS}, each followed by `of`.",
    list_of(_COUNT),
)
_KIND = Parameter("kind", "query", "Which prediction.", {"type": "string", "enum": list(KINDS), "default": "guided"})
_KNOWN = Parameter("If-None-Match", "header", "Tags of answers that are known.", TEXT)

NEWEST = Operation(
    "diversity_distillation_newest",
    "The page's newest generation",
    "And with it those that it is compared with; none for a key that no page has made.",
    {
        200: ResponseDoc.json("What is new since the cursors.", of({"generations": list_of(_GENERATION)})),
        304: _SAME,
        400: _WRONG,
        **_REFUSALS,
    },
    (
        Parameter("X-DT-Key", "header", "The page's own secret.", TEXT),
        _SINCE,
        Parameter("of", "query", "Id of the generation that the cursor before is of.", list_of(TEXT)),
        _KNOWN,
    ),
)
ONE = Operation(
    "diversity_distillation_generation",
    "One generation and its frames",
    "Poll with the cursor and the tag of the last answer.",
    {200: ResponseDoc.json("What is new since the cursor.", _GENERATION), 304: _SAME, 400: _WRONG, **_REFUSALS},
    (_ID, _SINCE, _KNOWN),
)
PICTURE = Operation(
    "diversity_distillation_frame",
    "A frame's picture",
    "Small ones as JPEG or WebP; a PNG is decoded by the full VAE as soon as nothing is generated.",
    {
        200: ResponseDoc("The picture.", _PICTURES),
        202: _LATER,
        304: _SAME,
        400: _WRONG,
        **_REFUSALS,
        409: ResponseDoc.json("Another checkpoint or VAE has been loaded since.", _ERROR),
    },
    (
        _ID,
        Parameter("number", "path", "Of the frame.", _COUNT),
        Parameter("file", "path", "The image's index and jpg, webp or png.", _FILE),
        _KIND,
        Parameter("side", "query", "Longest side of small ones in pixels.", {"type": "integer", "enum": list(SIDES)}),
        _KNOWN,
    ),
)
CURVE = Operation(
    "diversity_distillation_curve",
    "The structure curve",
    "How far each frame is from the last one, for each image.",
    {200: ResponseDoc.json("The curve.", _CURVE), 202: _LATER, 304: _SAME, 400: _WRONG, **_REFUSALS},
    (_ID, _KIND, _KNOWN),
)
STOP = Operation(
    "diversity_distillation_stop",
    "End a generation with one of its frames",
    "The frame becomes the image.",
    {
        202: ResponseDoc.json("It ends at its next step.", {"type": "object"}),
        400: _WRONG,
        **_REFUSALS,
        409: ResponseDoc.json("It has ended, or the frame is not kept any more.", _ERROR),
        413: ResponseDoc.json("The body is too long.", _ERROR),
    },
    (_ID,),
    {"type": "object", "properties": {"number": {**or_null(_COUNT), "description": "Null: the newest."}}},
)
SAVE = Operation(
    "diversity_distillation_save",
    "Save the strip",
    "As PNG and animated WebP beside the image, once the generation has ended.",
    {
        200: ResponseDoc.json("Names of the files.", of({"files": list_of(TEXT)})),
        202: _LATER,
        **_REFUSALS,
        409: ResponseDoc.json("It still runs.", _ERROR),
    },
    (_ID,),
)
WISHES = (STOP, SAVE)
