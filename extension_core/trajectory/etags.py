"""Entity tags: how a page says what it has already (RFC 9110, 8.8.3 and 13.1.2)."""

from __future__ import annotations

import hashlib


def etag_of(content: bytes) -> str:
    """The tag of some bytes, quoted as the header wants it."""
    return f'"{hashlib.sha256(content).hexdigest()[:24]}"'


def matches(if_none_match: str, etag: str) -> bool:
    """Whether a request's `If-None-Match` header ("" if it has none) names this tag, so that 304 is the answer.

    Compares weakly, as the header is meant to be: servers in between mark tags with `W/`.
    """
    named = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return "*" in named or etag in named
