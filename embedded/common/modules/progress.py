"""How far a job is, which the page asks for by its id."""

from __future__ import annotations

import secrets
import time
from typing import Any

from modules import shared

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


def setup_progress_api(app: Any) -> None:
    for name, answer in {"ping": ping, "progress": of_task, "pending-tasks": waiting}.items():
        app.add_api_route(f"/internal/{name}", answer, methods=["GET"])


def ping() -> str:
    """That the server is there."""
    return "ok"


def waiting() -> dict[str, Any]:
    return {"size": len(pending_tasks), "tasks": list(pending_tasks)}


def of_task(id_task: str) -> dict[str, Any]:
    """What the page draws of it: how much is done, 0 to 1."""
    told: dict[str, Any] = {"active": id_task == current_task, "queued": id_task in pending_tasks}
    return {**told, "progress": shared.state.fraction(), "textinfo": shared.state.textinfo} if told["active"] else told
