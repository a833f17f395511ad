"""Hybrid sampling against its own U-Net calls, made bare: the same module, inputs and parameter set, nothing around."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from benches.host import Host
from benches.timing import Clock, Seconds


class Calls:
    """Time spent in the U-Nets while it is open."""

    def __init__(self, unets: Iterable[torch.nn.Module]) -> None:
        self.seconds = Seconds()
        self._unets, self._clock = list(unets), Clock()
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Calls:
        for unet in self._unets:
            self._handles.append(unet.register_forward_pre_hook(self._before))
            self._handles.append(unet.register_forward_hook(self._after))
        return self

    def __exit__(self, *_error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(self, *_args: Any) -> None:
        self._clock = Clock()

    def _after(self, *_args: Any) -> None:
        self.seconds += self._clock.read()


@dataclass
class Round:
    """One hybrid request.

    Attributes:
        sampling: its `p.sample`, without the bare calls made inside.
        calls: its U-Net calls as they ran.
        bare: the same calls made bare, each next to the call it repeats.
        gaps: milliseconds between each call's end and the next one's begin, bare calls not counted.
    """

    sampling: Seconds = field(default_factory=Seconds)
    calls: Seconds = field(default_factory=Seconds)
    bare: Seconds = field(default_factory=Seconds)
    gaps: list[float] = field(default_factory=list)
    count: int = 0


class _Recorder:
    """Times the U-Nets' calls and repeats each, before it or after it in turn.

    Side by side, because what else the machine does changes within seconds.
    """

    def __init__(self, unets: Iterable[torch.nn.Module], bare_first: bool) -> None:
        self.round = Round()
        self._bare_first, self._clock, self._busy = bare_first, Clock(), False
        self._since_call = Clock()
        self._handles: list[RemovableHandle] = []
        for unet in unets:
            self._handles.append(unet.register_forward_pre_hook(self._before, with_kwargs=True))
            self._handles.append(unet.register_forward_hook(self._after, with_kwargs=True))

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(self, unet: torch.nn.Module, args: Any, kwargs: Any) -> None:
        if self._busy:
            return
        if self.round.count:
            self.round.gaps.append(1e3 * self._since_call.read().wall)
        if self._bare_now():
            self._repeat(unet, args, kwargs)
        self._clock = Clock()

    def _after(self, unet: torch.nn.Module, args: Any, kwargs: Any, _output: Any) -> None:
        if self._busy:
            return
        self.round.calls += self._clock.read()
        if not self._bare_now():
            self._repeat(unet, args, kwargs)
        self.round.count += 1
        self._since_call = Clock()

    def _bare_now(self) -> bool:
        return self._bare_first == (self.round.count % 2 == 0)

    def _repeat(self, unet: torch.nn.Module, args: Any, kwargs: Any) -> None:
        self._busy = True
        clock = Clock()
        unet(*args, **kwargs)
        self.round.bare += clock.read()
        self._busy = False


def measure(host: Host, size: int, arguments: dict[str, Any], rounds: int) -> list[Round]:
    """Hybrid requests of `size` pixels, after one that is not counted (it loads the distilled model)."""
    host.generate(size, arguments)
    measured = []
    for i in range(rounds):
        recorder = _Recorder(host.unets(), bare_first=i % 2 == 0)
        try:
            sampling = host.generate(size, arguments)
        finally:
            recorder.remove()
        recorder.round.sampling = sampling - recorder.round.bare
        measured.append(recorder.round)
    return measured


def figures(rounds: list[Round]) -> dict[str, float]:
    """Medians of the rounds' ratios, and what they were made from."""

    def seconds(times: Iterable[Seconds]) -> float:
        return statistics.median(time.wall for time in times)

    return {
        "hybrid_over_bare_calls": statistics.median(r.sampling.wall / r.bare.wall for r in rounds),
        "hybrid_over_bare_calls_cpu": statistics.median(r.sampling.cpu / r.bare.cpu for r in rounds),
        "hybrid_over_own_calls": statistics.median(r.sampling.wall / r.calls.wall for r in rounds),
        "hybrid_seconds": seconds(r.sampling for r in rounds),
        "bare_calls_seconds": seconds(r.bare for r in rounds),
        "outside_calls_ms": 1e3 * seconds(r.sampling - r.calls for r in rounds),
        "outside_calls_cpu_ms": 1e3 * statistics.median((r.sampling - r.calls).cpu for r in rounds),
        "unet_calls": rounds[0].count,
    }
