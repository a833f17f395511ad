"""What a request has changed on its processing object: given back when it has sampled, taken again for the next batch.

Outside of our own sampling a processing object is the user's. Scripts process one several times (Loopback), and other
extensions read it, copy it and make requests of its settings when its images are being finished (ADetailer).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from extension_core.hosts.refusal import raising, refusal

_ATTRIBUTE = "diversity_distillation_taken"
_MISSING: Any = object()
# How a request is sampled, as users set it.
_SETTINGS = (
    "steps",
    "sampler_name",
    "scheduler",
    "cfg_scale",
    "hr_sampler_name",
    "hr_scheduler",
    "hr_second_pass_steps",
    "hr_cfg",
    "sampler_noise_scheduler_override",
)
# What hosts read a request's prompts by; the second, for the hires pass, inside of the first or by itself.
READINGS = ("setup_conds", "calculate_hr_conds")

Method = Callable[..., Any]


@dataclass
class _Setting:
    """One field of a processing object.

    Attributes:
        held: whether it is ours now.
        given_back: whether it was still ours when it was to be given back.
    """

    p: Any
    name: str
    before: Any
    ours: Any
    held: bool = True
    given_back: bool = False

    @property
    def now(self) -> Any:
        return vars(self.p).get(self.name, _MISSING)

    def give_back(self) -> None:
        if self.held:
            self.held, self.given_back = False, self.now == self.ours
            if self.given_back:
                _put(self.p, self.name, self.before)

    def take_again(self) -> None:
        if not self.held and self.given_back and self.now == self.before:
            self.held = True
            _put(self.p, self.name, self.ours)

    def take_off(self, copied: Any) -> None:
        if self.held and vars(copied).get(self.name, _MISSING) == self.ours:
            _put(copied, self.name, self.before)


class Replaced:
    """One method of a processing object with our layers around it.

    Attributes:
        entry: what stands in the method's place, always the same function.
        chain: what that runs while the request is taken.
        before: what stood there, `_MISSING` for the class's own method.
        covered: what another has put there meanwhile; it may run `entry` inside.
    """

    def __init__(self, p: Any, name: str, run: Callable[[Replaced, Any, Any], Any]) -> None:
        self.p, self.name = p, name
        self.before = vars(p).get(name, _MISSING)
        self.covered: Any = _MISSING
        self.chain: Method = self.under
        self.entry: Method = lambda *args, **kwargs: run(self, args, kwargs)
        setattr(p, name, self.entry)

    def under(self, *args: Any, **kwargs: Any) -> Any:
        """The method without us, looked up when it is called: another may be there by then."""
        original = getattr(type(self.p), self.name).__get__(self.p) if self.before is _MISSING else self.before
        return original(*args, **kwargs)

    def take_off(self, owner: Any) -> None:
        """Off the processing object or a copy of it; what another has put over it stays."""
        if vars(owner).get(self.name) is self.entry:
            _put(owner, self.name, self.before)

    def give_back(self) -> None:
        now = vars(self.p).get(self.name, _MISSING)
        self.covered = _MISSING if now is self.entry else now
        self.take_off(self.p)

    def take_again(self) -> None:
        now = vars(self.p).get(self.name, _MISSING)
        if now is self.entry or (now is not _MISSING and now is self.covered):
            return
        self.before = now
        setattr(self.p, self.name, self.entry)


class TakeOver:
    """The changes of one processing of one processing object.

    Attributes:
        inner: whether the object is a copy of another that is being processed itself; perhaps nothing is sampled.
        begun: whether the `process` hook has been there.
        ended: nothing is ours any more, for good.
        refused: whether the request fails at its first sampling.
        held: whether the request's methods and settings are ours now.
    """

    def __init__(self, p: Any, inner: bool = False) -> None:
        self.p, self.inner = p, inner
        self.begun = self.ended = self.refused = False
        self.held = True
        self._settings: dict[str, _Setting] = {}
        self._methods: dict[str, Replaced] = {}
        self._close: Replaced | None = None
        self._at_end: list[Callable[[], None]] = []
        self._at_failure: list[Callable[[], None]] = []

    def at_end(self, call: Callable[[], None]) -> None:
        """Call this when the processing has ended, well or not."""
        self._at_end.append(call)
        self._watch_close()

    def at_failure(self, call: Callable[[], None]) -> None:
        """Call this when `p.sample` has raised; hosts leave some things as they were while it ran."""
        self._at_failure.append(call)

    def layer(self, name: str, around: Callable[[Method], Method]) -> None:
        """Put a function around a method of the request, outside of the layers that it has.

        Args:
            around: makes the function of what it is to be put around.
        """
        self._watch_close()
        replaced = self._methods.get(name)
        if replaced is None:
            replaced = self._methods[name] = Replaced(self.p, name, self._run)
        replaced.chain = around(replaced.chain)

    def _watch_close(self) -> None:
        if self._close is None and hasattr(self.p, "close"):
            self._close = Replaced(self.p, "close", self._closing)

    def refuse(self, error: Exception) -> None:
        """Let the request fail at its first sampling; `p.sample` is called unguarded by both hosts."""
        self.refused = True
        self.layer("sample", lambda _inner: raising(refusal(error)))

    @contextmanager
    def changes(self) -> Iterator[None]:
        """Whatever the block sets of the request's settings, and of what reads its prompts, is noted to be ours."""
        values = {name: vars(self.p).get(name, _MISSING) for name in _SETTINGS}
        for name in READINGS:
            if hasattr(self.p, name):
                self.layer(name, lambda inner: inner)
                setattr(self.p, name, self._methods[name].chain)
        try:
            yield
        finally:
            for name, before in values.items():
                self._note_setting(name, before)
            for name in READINGS:
                if name in self._methods:
                    self._methods[name].chain = vars(self.p)[name]
                    setattr(self.p, name, self._methods[name].entry)

    def _note_setting(self, name: str, before: Any) -> None:
        now = vars(self.p).get(name, _MISSING)
        known = self._settings.get(name)
        if type(now) is type(before) and now == before:
            return
        if known is None:
            self._settings[name] = _Setting(self.p, name, before, now)
        else:
            known.ours = now

    def ours(self) -> dict[str, Any]:
        """The settings that run instead of the user's."""
        return {name: setting.ours for name, setting in self._settings.items()}

    def give_back(self) -> None:
        """Nothing of the request is ours, but that its end is watched; what another has set meanwhile stays."""
        self.give_settings_back()
        if self.held:
            self.held = False
            for replaced in self._methods.values():
                replaced.give_back()

    def take_again(self) -> None:
        """Another batch begins; settings that another has changed since they were given back stay as they are."""
        if self.held or self.ended:
            return
        self.held = True
        self.take_settings_again()
        for replaced in self._methods.values():
            replaced.take_again()

    def take_settings_again(self) -> None:
        """The request is to tell what ran, to whoever reads its fields."""
        for setting in self._settings.values():
            setting.take_again()

    def give_settings_back(self) -> None:
        """What ran has been read."""
        for setting in self._settings.values():
            setting.give_back()

    def end(self) -> None:
        """The processing is over, or the object is to be processed anew."""
        if self.ended:
            return
        self.give_back()
        self.ended = True
        if self._close is not None:
            self._close.give_back()
        for call in self._at_end:
            call()

    def leave(self, copied: Any) -> None:
        """Take what is ours off a copy of the request: it would run the original."""
        for replaced in (*self._methods.values(), *filter(None, [self._close])):
            replaced.take_off(copied)
        for setting in self._settings.values():
            setting.take_off(copied)

    def _run(self, replaced: Replaced, args: Any, kwargs: Any) -> Any:
        if not self.held:
            return replaced.under(*args, **kwargs)
        if replaced.name != "sample":
            return replaced.chain(*args, **kwargs)
        try:
            return replaced.chain(*args, **kwargs)
        except BaseException:
            for call in self._at_failure:
                call()
            raise
        finally:
            self.give_back()

    def _closing(self, replaced: Replaced, args: Any, kwargs: Any) -> Any:
        self.end()
        return replaced.under(*args, **kwargs)


def start(p: Any) -> TakeOver:
    """A processing begins: what an earlier one left on the object is given back, what a copy has brought is left."""
    known: TakeOver | None = vars(p).get(_ATTRIBUTE)
    inner = False
    if known is not None and known.p is p:
        known.end()
    elif known is not None:
        known.leave(p)
        inner = known.begun and not known.ended
    taken = TakeOver(p, inner)
    setattr(p, _ATTRIBUTE, taken)
    return taken


def of(p: Any) -> TakeOver | None:
    """The processing of an object that goes on, None for a copy of another's and where there is none."""
    known: TakeOver | None = vars(p).get(_ATTRIBUTE)
    return known if known is not None and known.p is p and not known.ended else None


def _put(owner: Any, name: str, value: Any) -> None:
    if value is not _MISSING:
        setattr(owner, name, value)
    elif name in vars(owner):
        delattr(owner, name)
