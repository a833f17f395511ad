"""How far a job is, which the page asks for by its id."""

from __future__ import annotations

import base64
import secrets
import time
from typing import Any, Optional

from pydantic import BaseModel

from modules import images, shared

current_task: str | None = None
pending_tasks: dict[str, float] = {}
"""Ids of those that wait for their turn, and since when."""


def create_task_id(task_type: str) -> str:
    return f"task({task_type}-{secrets.token_hex(6)})"


def add_task_to_queue(id_job: str) -> None:
    pending_tasks[id_job] = time.time()


def start_task(id_task: str) -> None:
    global current_task
    pending_tasks.pop(id_task, None)
    current_task = id_task


def finish_task(id_task: str) -> None:
    global current_task
    if current_task == id_task:
        current_task = None


class ProgressRequest(BaseModel):
    id_task: Optional[str] = None
    id_live_preview: int = -1


def setup_progress_api(app: Any) -> None:
    app.add_api_route("/internal/progress", of_task, methods=["POST"])
    app.add_api_route("/internal/pending-tasks", waiting, methods=["GET"])


def ping() -> str:
    """That the server is there."""
    return "ok"


def waiting() -> dict[str, Any]:
    return {"size": len(pending_tasks), "tasks": list(pending_tasks)}


def of_task(req: ProgressRequest) -> dict[str, Any]:
    """What the page draws: how much is done, 0 to 1, and a preview where there is one that it does not have yet."""
    state, told = shared.state, {"active": req.id_task == current_task, "queued": req.id_task in pending_tasks}
    if not told["active"]:
        return {**told, "progress": 0.0}
    state.set_current_image()
    told |= {"progress": state.fraction(), "textinfo": state.textinfo, "id_live_preview": state.id_live_preview}
    if state.current_image is not None and state.id_live_preview != req.id_live_preview:
        told["live_preview"] = (
            "data:image/png;base64," + base64.b64encode(images.to_bytes(state.current_image)).decode()
        )
    return told
