"""Requests with the extension in the test's own process, beside others that have it not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.embedded.conftest import Answer, Host

# The host's field that tells one from the other: of no effect on an image, and known in every hook.
_MARK = {"styles": ["a style that nobody has"]}


class Ours:
    """The extension's hooks in the recorder extension's."""

    def __init__(self, host: Host, on: Any, adapter: Any) -> None:
        self.host = host
        self._options: dict[str, Any] = {}
        on("before_process")(lambda p, *_: adapter.before(p, self._given(p)))
        on("process")(lambda p, *_: adapter.begin(p, self._given(p)))
        on("process_batch")(lambda p, *_a, **_k: adapter.before_batch(p))
        on("postprocess_image_after_composite")(lambda p, *_a, **_k: adapter.image_finished(p))
        on("process_before_every_sampling")(lambda p, *_a, **_k: adapter.before_sampling(p))
        on("postprocess")(lambda p, processed, *_: adapter.after(p, processed))

    def _given(self, p: Any) -> list[Any]:
        return [self._options] if p.styles == _MARK["styles"] else []

    def run(self, options: dict[str, Any], **request: Any) -> Answer:
        """A request with the extension."""
        self._options = {"distilled_model": "second", "family": "custom", **options}
        return self.host.txt2img(**_MARK, **request)

    def plain(self, **request: Any) -> Answer:
        """The same without it."""
        return self.host.txt2img(**request)


@pytest.fixture
def ours(host: Host, on: Any) -> Ours:
    from extension_core.hosts import choose

    made = Ours(host, on, choose.choose())
    made.plain(steps=1)
    return made
