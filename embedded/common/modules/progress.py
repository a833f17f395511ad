"""How far a task of the page is, asked for by its id."""

from __future__ import annotations

import base64
import io
import random
import string
import time
from collections import OrderedDict
from typing import Any, Optional

import gradio as gr
from pydantic import BaseModel

from modules import shared
from modules.shared import opts

current_task: str | None = None
pending_tasks: OrderedDict[str, float] = OrderedDict()
finished_tasks: list[str | None] = []
recorded_results: list[tuple[str | None, Any]] = []
recorded_results_limit = 2


def start_task(id_task: str | None) -> None:
    global current_task
    current_task = id_task
    pending_tasks.pop(id_task or "", None)


def finish_task(id_task: str | None) -> None:
    global current_task
    if current_task == id_task:
        current_task = None
    finished_tasks.append(id_task)
    del finished_tasks[:-16]


def create_task_id(task_type: str) -> str:
    return f"task({task_type}-{''.join(random.choices(string.ascii_uppercase + string.digits, k=7))})"


def record_results(id_task: str | None, res: Any) -> None:
    recorded_results.append((id_task, res))
    del recorded_results[:-recorded_results_limit]


def add_task_to_queue(id_job: str) -> None:
    pending_tasks[id_job] = time.time()


def restore_progress(id_task: str | None) -> Any:
    """Outputs of a task of the page, once it is over; of the last few alone."""
    while id_task == current_task or id_task in pending_tasks:
        time.sleep(0.1)
    for known, result in recorded_results:
        if known == id_task:
            return result
    unchanged = gr.update()
    return unchanged, unchanged, unchanged, f"There is no result of {id_task}: it was discarded, or never came."


class ProgressRequest(BaseModel):
    id_task: Optional[str] = None
    id_live_preview: int = -1
    live_preview: bool = True


class ProgressResponse(BaseModel):
    active: bool
    queued: bool
    completed: bool
    progress: Optional[float] = None
    eta: Optional[float] = None
    live_preview: Optional[str] = None
    id_live_preview: Optional[int] = None
    textinfo: Optional[str] = None


def setup_progress_api(app: Any) -> None:
    app.add_api_route("/internal/pending-tasks", get_pending_tasks, methods=["GET"])
    app.add_api_route("/internal/progress", progressapi, methods=["POST"], response_model=ProgressResponse)


def get_pending_tasks() -> dict[str, Any]:
    return {"size": len(pending_tasks), "tasks": list(pending_tasks)}


def _fraction() -> float:
    state = shared.state
    done = state.job_no / state.job_count if state.job_count > 0 else 0.0
    if state.sampling_steps > 0 and state.job_count > 0:
        done += 1 / state.job_count * state.sampling_step / state.sampling_steps
    return min(done, 1)


def _preview(known: int) -> tuple[str | None, int]:
    shared.state.set_current_image()
    image = shared.state.current_image
    if shared.state.id_live_preview == known or image is None:
        return None, known
    kind = opts.live_previews_image_format
    with io.BytesIO() as out:
        image.save(out, format=kind)
        text = base64.b64encode(out.getvalue()).decode("ascii")
    return f"data:image/{kind};base64,{text}", shared.state.id_live_preview


def progressapi(req: ProgressRequest) -> ProgressResponse:
    active, queued, completed = req.id_task == current_task, req.id_task in pending_tasks, req.id_task in finished_tasks
    if not active:
        waiting = "Waiting..."
        if queued:
            waiting = f"In queue: {list(pending_tasks).index(req.id_task or '') + 1}/{len(pending_tasks)}"
        return ProgressResponse(active=active, queued=queued, completed=completed, id_live_preview=-1, textinfo=waiting)
    fraction = _fraction()
    elapsed = time.time() - shared.state.time_start
    eta = elapsed / fraction - elapsed if fraction > 0 else None
    picture, number = (
        _preview(req.id_live_preview) if opts.live_previews_enable and req.live_preview else (None, req.id_live_preview)
    )
    return ProgressResponse(
        active=active,
        queued=queued,
        completed=completed,
        progress=fraction,
        eta=eta,
        live_preview=picture,
        id_live_preview=number,
        textinfo=shared.state.textinfo,
    )
