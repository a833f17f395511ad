"""Attributes set on one object of the host's for a while, never on its class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_MISSING: Any = object()
_STACK = "diversity_distillation_stack"
_BENEATH = "diversity_distillation_beneath"


def set_until_closed(stack: ExitStack, owner: Any, name: str, value: Any) -> None:
    """Set an attribute of this object; closing the stack puts back what was there, or takes it away again."""
    before = vars(owner).get(name, _MISSING)
    setattr(owner, name, value)
    if name not in vars(owner).setdefault(_BENEATH, {}):
        vars(owner)[_BENEATH][name] = before
        stack.callback(vars(owner)[_BENEATH].pop, name, None)
    stack.callback(_put_back, owner, name, before)


def set_by_others(owner: Any, name: str) -> Any:
    """An attribute that somebody else has set on this object itself, beneath what is set here; None if nobody has."""
    found = vars(owner).get(_BENEATH, {}).get(name, vars(owner).get(name))
    return None if found is _MISSING else found


@contextmanager
def during(owner: Any, **values: Any) -> Iterator[None]:
    """Attributes of this object for the length of a block."""
    with ExitStack() as stack:
        for name, value in values.items():
            set_until_closed(stack, owner, name, value)
        yield


def fresh_stack(owner: Any) -> ExitStack:
    """A stack of changes to this object; what the last one changed is undone first.

    Hosts run several passes on one sampler object (batches in img2img), and Forge calls its hook twice before one.
    """
    previous: ExitStack | None = vars(owner).get(_STACK)
    if previous is not None:
        previous.close()
    stack = ExitStack()
    setattr(owner, _STACK, stack)
    return stack


def _put_back(owner: Any, name: str, before: Any) -> None:
    if before is _MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, before)
