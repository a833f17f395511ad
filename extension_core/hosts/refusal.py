"""Bringing an error to the user: both hosts swallow what hooks raise, but not what `p.sample` raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import HTTPException

from extension_core.errors import DiversityError, sayable


class RequestRefused(HTTPException, DiversityError):
    """A refusal that the API answers with HTTP 422 and its sentence, and the page shows as the same sentence."""

    def __init__(self, sentence: str) -> None:
        HTTPException.__init__(self, status_code=422, detail=sayable(sentence))

    def __str__(self) -> str:
        return str(self.detail)


def refusal(error: Exception) -> Exception:
    """An error of ours as the API answers it; any other as it is."""
    if isinstance(error, DiversityError) and not isinstance(error, RequestRefused):
        return RequestRefused(str(error))
    return error


def raising(error: Exception) -> Callable[..., Any]:
    """What takes the place of `p.sample`, which both hosts call unguarded, where a request is to fail."""

    def sample(*_args: Any, **_kwargs: Any) -> Any:
        raise error

    return sample
