"""Looks on while a request runs, as any other thread could: which of the host's things are others than before it.

A look goes through the host's modules, their classes and small tables, the settings, the flags and the loaded model.
It is taken at every call of a U-Net and of a text encoder, at every callback and hook, and by a thread of its own.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from modules import extra_networks, script_callbacks, shared

HOSTS_PACKAGES = ("modules", "modules_forge", "backend", "k_diffusion", "networks", "extra_networks_lora", "ldm", "sgm")
_LONGEST_TABLE = 300
_PLAIN = (bool, int, float, str, bytes, type(None))
_MISSING = object()
# What the host itself counts up and times: `state`'s own fields, and what belongs to a single image.
_PATCHERS = ("unet", "clip", "vae")
# What is seen while the host itself puts a prompt's networks on, one by one: that is its own doing.
LOADING = "while networks load: "
_OFTEN = 1e-5  # seconds, between two turns of threads
_RARELY = 1.0


class Witness:
    """One request that is looked at; `told` says what was seen."""

    def __init__(self) -> None:
        self._networks_load = False
        self._loads_networks = sys.modules["networks"].load_networks
        sys.modules["networks"].load_networks = self._load_networks  # type: ignore[attr-defined]
        self._roots = list(_roots())
        self._before = {name: dict(owner) for name, owner in self._roots}
        self._changed: set[str] = set()
        self._seen: dict[str, set[str]] = {}
        self.looks: Counter[str] = Counter()
        self._over = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(_OFTEN)
        kinds = tuple(_callable_parts())
        self._hook = torch.nn.modules.module.register_module_forward_pre_hook(
            lambda module, _args: self.look(type(module).__name__) if isinstance(module, kinds) else None
        )
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._over.wait(0.001):
            self.look("thread")

    def look(self, where: str) -> None:
        """Compare everything with what it was."""
        with self._one_at_a_time:
            self.looks[where] += 1
            for name, owner in self._roots:
                self._changed.update(_differences(name, self._before[name], owner))
            for name, value in self._states_at_one_time():
                self._seen.setdefault(name, set()).add(value)

    def _states_at_one_time(self) -> list[tuple[str, str]]:
        """The model's states, with no turn of the host's thread among them, and whether it loads networks."""
        sys.setswitchinterval(_RARELY)
        try:
            while True:
                loading = self._networks_load
                states = list(_model_states())
                if loading == self._networks_load:
                    return [(LOADING + name, value) for name, value in states] if loading else states
        finally:
            sys.setswitchinterval(_OFTEN)

    def _load_networks(self, *args: Any, **kwargs: Any) -> None:
        self._networks_load = True
        try:
            self._loads_networks(*args, **kwargs)
        finally:
            self._networks_load = False

    def end(self) -> None:
        """The request is over."""
        self._over.set()
        self._thread.join()
        sys.modules["networks"].load_networks = self._loads_networks  # type: ignore[attr-defined]
        self._hook.remove()
        sys.setswitchinterval(self._interval)

    def told(self) -> dict[str, Any]:
        """What was other than before at any time, what the model was like, and how often it was looked."""
        return {
            "changed": sorted(self._changed),
            "seen": {name: sorted(values) for name, values in self._seen.items()},
            "looks": dict(self.looks),
        }


class Lookout:
    """The witness of the request that is looked at, if any."""

    def __init__(self) -> None:
        self.witness: Witness | None = None
        self.last: dict[str, Any] = {}

    def begin(self) -> None:
        self.end()
        self.witness = Witness()

    def look(self, where: str) -> None:
        if self.witness is not None:
            self.witness.look(where)

    def end(self) -> None:
        if self.witness is not None:
            self.witness.end()
            self.last = self.witness.told()
            self.witness = None


LOOKOUT = Lookout()


def watch_callbacks() -> None:
    """Look at the callbacks of the denoiser; on every execution of the script."""
    for name in ("on_cfg_denoiser", "on_cfg_denoised", "on_cfg_after_cfg"):
        getattr(script_callbacks, name)(lambda _params, name=name: LOOKOUT.look(name))


def _roots() -> Iterator[tuple[str, Any]]:
    """(name, what holds things by name) of all that belongs to everybody."""
    modules = [(name, module) for name, module in sys.modules.items() if _is_hosts(name, module)]
    for name, module in modules:
        yield name, vars(module)
        for key, value in list(vars(module).items()):
            if isinstance(value, type) and value.__module__ == name:
                yield f"{name}.{key}", vars(value)
            elif isinstance(value, dict) and len(value) <= _LONGEST_TABLE and not key.startswith("__"):
                yield f"{name}.{key}", value
    yield "opts.data", shared.opts.data
    yield "opts", vars(shared.opts)
    yield "cmd_opts", vars(shared.cmd_opts)
    yield "the loaded model", vars(shared.sd_model)
    for name, network in extra_networks.extra_network_registry.items():
        yield f"the extra network {name}", vars(network)


def _is_hosts(name: str, module: Any) -> bool:
    return isinstance(module, ModuleType) and name.split(".", maxsplit=1)[0] in HOSTS_PACKAGES


def _differences(name: str, before: dict[str, Any], owner: Any) -> Iterator[str]:
    now = dict(owner)
    for key in before.keys() | now.keys():
        if not _same(before.get(key, _MISSING), now.get(key, _MISSING)):
            yield f"{name}: {key}"


def _same(before: Any, now: Any) -> bool:
    return before is now or (type(before) is type(now) and isinstance(now, _PLAIN) and before == now)


def _callable_parts() -> Iterator[type]:
    model = shared.sd_model
    objects = getattr(model, "forge_objects", None)
    if objects is None:
        yield type(model.model.diffusion_model)
        yield type(model.cond_stage_model)
    else:
        yield type(objects.unet.model.diffusion_model)
        yield from (type(part) for part in objects.clip.cond_stage_model.children())


def _model_states() -> Iterator[tuple[str, str]]:
    """What Forge's model is like, in words that are the same from request to request."""
    model = shared.sd_model
    if not hasattr(model, "forge_objects"):
        return
    kinds = {"in use": model.forge_objects, "original": model.forge_objects_original}
    kinds["with networks"] = model.forge_objects_after_applying_lora
    for part in _PATCHERS:
        in_use = getattr(kinds["in use"], part)
        known = [kind for kind in ("original", "with networks") if getattr(kinds[kind], part) is in_use]
        yield f"{part} in use", known[0] if known else "another"
        for kind, objects in kinds.items():
            patcher = getattr(objects, part)
            yield from ((f"{part} {kind}: {name}", value) for name, value in _of_patcher(patcher))
    yield "current networks", str(model.current_lora_hash)


def _of_patcher(patcher: Any) -> Iterator[tuple[str, str]]:
    patcher = getattr(patcher, "patcher", patcher)
    yield "networks", str(list(patcher.lora_patches))
    yield "options", str({name: _counted(value) for name, value in sorted(patcher.model_options.items())})
    yield "exchanged objects", str(sorted(patcher.object_patches))
    for name in ("extra_model_patchers_during_sampling", "controlnet_linked_list", "extra_concat_condition"):
        yield name, _counted(getattr(patcher, name, None))
    yield "preserved memory", str(getattr(patcher, "extra_preserved_memory_during_sampling", 0))


def _counted(value: Any) -> str:
    return f"{len(value)} of {type(value).__name__}" if isinstance(value, (list, dict)) else type(value).__name__
