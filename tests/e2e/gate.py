"""Holds the host's generation still at chosen U-Net calls (faults/scripts/dd_gate.py), from the test's side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.client import WebUI
from tests.waiting import until


class Gate:
    """Of one host."""

    def __init__(self, webui: WebUI) -> None:
        self._webui = webui

    def wait(self, call: int) -> None:
        """Until this call is held."""
        until(lambda: self._state()["waiting"] == call, lambda: f"U-Net call {call} is not held: {self._state()}")

    def open(self) -> None:
        """Let the call that is held go on."""
        self._webui.call("/dd-gate/open", {})

    def end(self) -> None:
        """Let everything go on."""
        self._webui.call("/dd-gate/end", {})

    def _state(self) -> dict[str, int]:
        return self._webui.get("/dd-gate")


@contextmanager
def closed(webui: WebUI, *calls: int) -> Iterator[Gate]:
    """The host's next U-Net calls are counted, and these are held."""
    status, answer = webui.call("/dd-gate/close", {"calls": list(calls)})
    assert status == 200, f"the host lacks tests/e2e/faults among its extensions: {answer}"
    gate = Gate(webui)
    try:
        yield gate
    finally:
        gate.end()
