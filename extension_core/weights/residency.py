"""Keeps the second model between images, and lets it go when the host's model is another one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet


class Resident(Protocol):
    """What can be let go."""

    def release(self) -> None:
        """Give the host everything back and free the memory, whoever still refers to the model."""
        ...


ModelT = TypeVar("ModelT", bound=Resident)


_residencies: WeakSet[Residency[Any]] = WeakSet()


def drop_all() -> None:
    """Free every resident model: before this package is imported anew, which knows nothing of them."""
    for residency in list(_residencies):
        residency.drop()


class Residency(Generic[ModelT]):
    """At most one resident distilled model, valid for one state of the host's model."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._model: ModelT | None = None
        _residencies.add(self)

    @property
    def model(self) -> ModelT | None:
        """The resident model, if any."""
        return self._model

    def resident(self, key: Hashable) -> ModelT | None:
        """The resident model if it is the one for `key`."""
        return self._model if self._key == key else None

    def get(self, key: Hashable, load: Callable[[], ModelT]) -> ModelT:
        """The resident model if it is the one for `key`, else a newly loaded one; a failed load leaves none."""
        if self._model is None or self._key != key:
            self.drop()
            self._model = load()
            self._key = key
        return self._model

    def drop(self) -> None:
        """Free the second model; the host's model gets its own weights back first.

        Finished requests refer to it until Python collects cycles, which may be gigabytes later.
        """
        model, self._model, self._key = self._model, None, None
        if model is not None:
            model.release()
