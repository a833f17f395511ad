"""Bringing an error to the user: both hosts swallow what hooks raise, but not what `p.sample` raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import HTTPException

from extension_core.errors import DiversityError, sayable
from extension_core.ui.page_words import page_words


class RequestRefused(HTTPException, DiversityError):
    """A refusal that the API answers with HTTP 422 and its sentence, and the page shows in the words of its controls.

    Both hosts' pages show an error as `type: text` (`wrap_gradio_call`, modules/call_queue.py, 1.10.1), so the type has
    a name that users know (`javascript/diversity_panel_tab.mjs` looks for it).
    """

    def __init__(self, sentence: str) -> None:
        HTTPException.__init__(self, status_code=422, detail=sayable(sentence))

    def __str__(self) -> str:
        return page_words(str(self.detail))


RequestRefused.__name__ = "Diversity Distillation"


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
