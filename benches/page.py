"""`python -m benches.page URL SECONDS`: a page, as far as the server sees it; standard library only.

It asks what is new of one recording every SECONDS and fetches the picture of every frame once; prints how many it
fetched. Until its standard input ends the recording may not have begun; from then on it must be there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.error
import urllib.request
from http import HTTPStatus

# Of the extension: a picture that is being made, a question too many, a decoder that is busy; a page asks again.
_LATER = (HTTPStatus.ACCEPTED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_PATIENCE = 60  # seconds for one answer
_TRIES_AFTER_THE_END = 300


class Unwell(Exception):
    """The server answers what no page could work with."""


def fetch(url: str) -> tuple[int, bytes]:
    """Status and body, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:  # noqa: S310 - the bench's own server
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def watch(url: str, seconds: float, ended: threading.Event) -> int:
    """Fetch every picture of a recording; returns their number.

    Raises:
        Unwell: an answer of another status, no recording though the generation has ended, or no end of the recording.
    """
    since, wanted, fetched, tries = 0, [], 0, 0
    while tries < _TRIES_AFTER_THE_END:
        over = ended.is_set()  # before it is asked, so that what is there at the end is seen
        tries += over
        status, body = fetch(f"{url}?since={since}")
        if status == HTTPStatus.OK:
            update = json.loads(body)
            since = update["cursor"]
            wanted += [(frame["number"], image) for frame in update["frames"] for image in range(frame["images"])]
            while wanted and _fetched(f"{url}/frames/{wanted[0][0]}/{wanted[0][1]}.jpg?side=256"):
                wanted.pop(0)
                fetched += 1
            if update["state"] != "running" and not wanted:
                return fetched
        elif status not in _LATER and (over or status != HTTPStatus.NOT_FOUND):
            raise Unwell(f"{url} answers {status}: {body[:200]!r}")
        ended.wait(seconds) if not over else threading.Event().wait(seconds)
    raise Unwell(f"{url} still tells of {since} frames and no end after {tries} questions more")


def _fetched(picture: str) -> bool:
    """Whether it came; it may have to be asked for again."""
    status, body = fetch(picture)
    if status not in (HTTPStatus.OK, *_LATER):
        raise Unwell(f"{picture} answers {status}: {body[:200]!r}")
    return status == HTTPStatus.OK


def main(url: str, seconds: str) -> int:
    """Watch until the recording has ended, and print how many pictures there were."""
    ended = threading.Event()

    def listen() -> None:
        while os.read(0, 1024):  # not sys.stdin, which a thread must not hold when Python ends
            pass
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    try:
        print(watch(url, float(seconds), ended))
    except Unwell as error:
        print(f"benches.page: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
