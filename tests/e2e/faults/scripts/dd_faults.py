"""Test support, loaded by a WebUI as an extension: makes things go wrong on request, and tells the model's hash.

Sent as `alwayson_scripts: {"DD faults": {"args": [{...}]}}` with one dict:
    "hook":   raise in this script's hook of that name
    "inside": raise in the function with this dotted name while the request runs
    "record": keep the request's noises, conditioning and final latents; GET /dd-faults/record gives them
    "count":  calls of the functions with these dotted names while the request runs; GET /dd-faults/counts tells
    "together": counted on from request to request while this name stays the same, as over a plot's cells
    "card":   play a card with memory of its own and this many bytes of it free
    "call":   at this U-Net call (1 is the first) do what "kind" says: error, oom, oom for good, interrupt, skip
    "replace": true: a fresh denoiser takes the place of the sampler's when it starts, whatever was put on that
    "exchange": at each step another patcher in Forge's place of the U-Net, which moves what is guided by so much
    "watch":  look what others can see meanwhile; GET /dd-faults/seen tells (dd_witness.py)
    "oom_inside": [name, times]: run out of memory in the function with this dotted name, so many times
    "files":  {"batch": number, "steps": [[what, source, target], ...]}: when this batch begins (0 is the first, and
              every request is settled by then), "rename" files, or "write" one's bytes into another
"""

from __future__ import annotations

import base64
import copy
import hashlib
import importlib
from pathlib import Path
from typing import Any
from unittest import mock

import gradio as gr
import torch
from dd_small_card import DeferredLane
from dd_witness import LOOKOUT, watch_callbacks
from modules import script_callbacks, scripts, shared
from safetensors.torch import save


class Injected(RuntimeError):
    """The fault itself."""


def _raise(*_args: Any, **_kwargs: Any) -> None:
    raise Injected("injected fault")


class Faults(scripts.Script):
    sorting_priority = -100

    def title(self) -> str:
        return "DD faults"

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        return [gr.JSON(value={}, visible=False, label="faults")]

    def before_process(self, p: Any, faults: Any) -> None:
        _disarm()
        LOOKOUT.end()
        if not isinstance(faults, dict) or not faults:
            return
        _arm(faults)
        original = p.sample

        def sample(*args: Any, **kwargs: Any) -> Any:
            try:
                if not faults.get("record"):
                    return original(*args, **kwargs)
                return _recorded(p, original, *args, **kwargs)
            finally:
                _disarm()

        p.sample = sample

    def _fail(self, hook: str, faults: Any) -> None:
        if isinstance(faults, dict) and faults.get("hook") == hook:
            raise Injected(f"injected fault in {hook}")


def _hook(name: str) -> Any:
    def hook(self: Faults, p: Any, faults: Any, *_args: Any, **_kwargs: Any) -> None:
        if name == "process" and isinstance(faults, dict) and faults.get("watch"):
            LOOKOUT.begin()
        LOOKOUT.look(name)
        if name == "postprocess":
            LOOKOUT.end()
        self._fail(name, faults)
        if name == "process_batch" and isinstance(faults, dict) and "files" in faults:
            _move_files(faults["files"], _kwargs["batch_number"])
        if name == "process_before_every_sampling" and isinstance(faults, dict) and faults.get("replace"):
            _replace_denoiser(p.sampler)

    return hook


def _move_files(files: dict[str, Any], batch: int) -> None:
    if batch == files["batch"]:
        for what, source, target in files["steps"]:
            if what == "rename":
                Path(source).replace(target)
            else:
                Path(target).write_bytes(Path(source).read_bytes())


def _replace_denoiser(sampler: Any) -> None:
    """As extensions do that bring a denoiser of their own, and after every other has had its turn at the old one."""
    launch = sampler.launch_sampling

    def launching(steps: int, func: Any) -> Any:
        fresh = copy.copy(sampler.model_wrap_cfg)
        vars(fresh).pop("forward", None)
        sampler.model_wrap_cfg = fresh
        _COUNTS["replaced"] = _COUNTS.get("replaced", 0) + 1
        return launch(steps, func)

    sampler.launch_sampling = launching


HOOKS = ("process", "before_process_batch", "process_batch", "process_before_every_sampling", "before_hr",
         "postprocess_batch", "postprocess_batch_list", "postprocess_image", "postprocess")  # fmt: skip
for _name in HOOKS:
    setattr(Faults, _name, _hook(_name))


_RECORD: dict[str, torch.Tensor] = {}


def _recorded(p: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
    """Noises in the order they were drawn, the positive conditioning [1, T, D], and what sampling returned."""
    noises: list[torch.Tensor] = []
    draw = p.rng.next

    def drawn() -> torch.Tensor:
        noises.append(draw().clone())
        return noises[-1].clone()

    p.rng.next = drawn
    cond = p.c.batch[0][0].schedules[0].cond
    latents = sample(*args, **kwargs)
    _RECORD.clear()
    _RECORD.update({f"noise.{i}": noise for i, noise in enumerate(noises)}, latents=latents)
    _RECORD["cond"] = cond[None] if isinstance(cond, torch.Tensor) else cond["crossattn"][None]
    if isinstance(cond, dict):
        _RECORD["vector"] = cond["vector"][None]
    return latents


def _record() -> dict[str, str]:
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in _RECORD.items()}
    return {"safetensors": base64.b64encode(save(tensors)).decode()}


# A refused request never comes to `p.sample`, so the next request disarms too.
_UNDO: list[Any] = []


def _disarm() -> None:
    while _UNDO:
        _UNDO.pop()()


def _arm(faults: dict[str, Any]) -> None:
    if "inside" in faults:
        module, _, name = faults["inside"].rpartition(".")
        patch = mock.patch.object(_resolve(module), name, _raise)
        patch.start()
        _UNDO.append(patch.stop)
    if _COUNTED["together"] != faults.get("together") or "together" not in faults:
        _COUNTS.clear()
    _COUNTED["together"] = faults.get("together")
    _UNDO.extend(_arm_count(path) for path in faults.get("count", ()))
    if "oom_inside" in faults:
        _UNDO.append(_arm_oom(*faults["oom_inside"]))
    if "card" in faults:
        _UNDO.extend(_arm_card(int(faults["card"])))
    if "exchange" in faults:
        _UNDO.append(_arm_exchange(float(faults["exchange"])))
    if "call" in faults:
        _UNDO.append(_arm_call(int(faults["call"]), faults.get("kind", "error")))


def _arm_oom(path: str, times: int) -> Any:
    module, _, name = path.rpartition(".")
    owner = _resolve(module)
    original, count = getattr(owner, name), 0

    def running_out(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count <= times:
            raise torch.cuda.OutOfMemoryError("injected: out of memory")
        return original(*args, **kwargs)

    patch = mock.patch.object(owner, name, running_out)
    patch.start()
    return patch.stop


_LANE = DeferredLane()


def _arm_card(free: int) -> list[Any]:
    on_forge = hasattr(shared.sd_model, "forge_objects")
    memory = importlib.import_module(f"extension_core.hosts.{'forge' if on_forge else 'a1111'}.memory")
    played = {"in_ram": False, "free_bytes": free} if on_forge else {"copies": _LANE, "free_bytes": free}
    patches = [mock.patch.object(memory, name, return_value=value) for name, value in played.items()]
    for patch in patches:
        patch.start()
    return [patch.stop for patch in patches]


_COUNTS: dict[str, int] = {}
_COUNTED: dict[str, Any] = {"together": None}


def _arm_count(path: str) -> Any:
    module, _, name = path.rpartition(".")
    owner = _resolve(module)
    original = getattr(owner, name)
    _COUNTS.setdefault(path, 0)

    def counted(*args: Any, **kwargs: Any) -> Any:
        _COUNTS[path] += 1
        return original(*args, **kwargs)

    patch = mock.patch.object(owner, name, counted)
    patch.start()
    return patch.stop


def _resolve(path: str) -> Any:
    try:
        return importlib.import_module(path)
    except ImportError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def _arm_call(at: int, kind: str) -> Any:
    count = 0

    def before(_module: Any, _args: Any) -> None:
        nonlocal count
        count += 1
        if count != at and not (kind == "oom for good" and count > at):
            return
        if kind.startswith("oom"):
            raise torch.cuda.OutOfMemoryError("injected: out of memory")
        if kind == "interrupt":
            shared.state.interrupted = True
        elif kind == "skip":
            shared.state.skipped = True
        else:
            raise Injected(f"injected fault in U-Net call {at}")

    kind_of_unet = type(_unet())

    def before_any(module: Any, args: Any) -> None:
        if isinstance(module, kind_of_unet):
            before(module, args)

    # Forge runs the phases on two modules, so the calls are counted on all U-Nets together.
    return torch.nn.modules.module.register_module_forward_pre_hook(before_any).remove


_EXCHANGING: list[float] = []


def _arm_exchange(amount: float) -> Any:
    _EXCHANGING.append(amount)
    return _EXCHANGING.clear


def _exchange(_params: Any) -> None:
    """As extensions do that follow the steps; the host takes its patcher from there at each."""
    if not _EXCHANGING:
        return
    amount, objects = _EXCHANGING[0], shared.sd_model.forge_objects
    objects.unet = objects.unet.clone()
    objects.unet.set_model_sampler_post_cfg_function(lambda args: args["denoised"] + amount)


def _unet() -> torch.nn.Module:
    objects = getattr(shared.sd_model, "forge_objects", None)
    return shared.sd_model.model.diffusion_model if objects is None else objects.unet.model.diffusion_model


def _parts() -> dict[str, torch.nn.Module]:
    """The live model's modules; Forge's engine is none itself and keeps its patchers apart by what is merged in."""
    objects = getattr(shared.sd_model, "forge_objects", None)
    if objects is None:
        return {"": shared.sd_model}
    return {
        "unet.": objects.unet.model,
        "clip.": objects.clip.cond_stage_model,
        "vae.": objects.vae.first_stage_model,
    }


def _fingerprint() -> dict[str, str]:
    digest = hashlib.sha256()
    for part, module in _parts().items():
        for name, tensor in sorted(module.state_dict().items()):
            digest.update((part + name).encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return {"sha256": digest.hexdigest()}


def _add_route(_blocks: Any, app: Any) -> None:
    app.add_api_route("/dd-faults/fingerprint", _fingerprint, methods=["GET"])
    app.add_api_route("/dd-faults/counts", lambda: dict(_COUNTS), methods=["GET"])
    app.add_api_route("/dd-faults/seen", lambda: LOOKOUT.last, methods=["GET"])
    app.add_api_route("/dd-faults/record", _record, methods=["GET"])


script_callbacks.on_app_started(_add_route)
script_callbacks.on_cfg_denoiser(_exchange)
watch_callbacks()
