"""Test support, loaded by a WebUI as an extension: holds a generation still, so that nothing has to be quick.

POST /dd-gate/close {"calls": [2, 5]}: from now on the 2nd and the 5th U-Net call wait (counted over all models).
GET /dd-gate: {"waiting": the call that waits, 0 while none does, "calls": how many began}.
POST /dd-gate/open: the call that waits goes on.
POST /dd-gate/end: nothing waits any more.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from modules import script_callbacks

# What A1111's repositories and Forge's backend/nn/unet.py call the U-Net's class.
KINDS = ("UNetModel", "IntegratedUNet2DConditionModel")
# A test that fails must not leave a server that never ends.
LONGEST_SECONDS = 500


class Gate:
    """One a process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._closed: set[int] = set()
        self._calls = self._waiting = 0
        self._remove: Any = None

    def close(self, calls: list[int]) -> dict[str, int]:
        with self._changed:
            self._closed, self._calls = set(calls), 0
            if self._remove is None:
                self._remove = torch.nn.modules.module.register_module_forward_pre_hook(self._before).remove
        return self.state()

    def state(self) -> dict[str, int]:
        with self._changed:
            return {"waiting": self._waiting, "calls": self._calls}

    def open(self) -> dict[str, int]:
        with self._changed:
            self._closed.discard(self._waiting)
            self._waiting = 0
            self._changed.notify_all()
        return self.state()

    def end(self) -> dict[str, int]:
        with self._changed:
            self._closed.clear()
            if self._remove is not None:
                self._remove()
                self._remove = None
        return self.open()

    def _before(self, module: torch.nn.Module, _args: Any) -> None:
        if type(module).__name__ not in KINDS:
            return
        with self._changed:
            self._calls += 1
            mine = self._calls
            if mine in self._closed:
                self._waiting = mine
                self._changed.wait_for(lambda: mine not in self._closed, LONGEST_SECONDS)


_GATE = Gate()


def _close(wanted: dict[str, list[int]]) -> dict[str, int]:
    return _GATE.close(wanted["calls"])


def _add_routes(_blocks: Any, app: Any) -> None:
    app.add_api_route("/dd-gate/close", _close, methods=["POST"])
    app.add_api_route("/dd-gate", _GATE.state, methods=["GET"])
    app.add_api_route("/dd-gate/open", _GATE.open, methods=["POST"])
    app.add_api_route("/dd-gate/end", _GATE.end, methods=["POST"])


script_callbacks.on_app_started(_add_routes)
