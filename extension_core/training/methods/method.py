"""What every method of distillation is to the loop that runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from extension_core.training.denoiser import Conditioning, Denoising
from extension_core.training.draws import Draws
from extension_core.training.replay import Rows
from extension_core.training.states import Grid


class Loss(NamedTuple):
    """What one module descends. Its gradient reaches no other module that is trained.

    Args:
        module: key in the method's `trained`.
        value: a scalar with a gradient.
    """

    module: str
    value: Tensor


class Method(Protocol):
    """A method that has been given its networks."""

    @property
    def grid(self) -> Grid:
        """Where it trains, and how its student is sampled."""
        ...

    @property
    def trained(self) -> Mapping[str, nn.Module]:
        """What has an optimizer of its own, by name; `student` among them."""
        ...

    @property
    def sampled(self) -> Denoising:
        """The student as it is sampled."""
        ...

    def losses(self, states: Rows, conditioning: Conditioning, update: int, draws: Draws) -> Iterator[Loss]:
        """The losses at these states [n], their conditioning [n, ...], one after the other."""
        ...


def per_row(values: Tensor) -> Tensor:
    """Mean [B] over everything but the rows of [B, ...]."""
    return values.flatten(1).mean(dim=1)


def like_rows(values: Tensor, like: Tensor) -> Tensor:
    """[B] as [B, 1, ...], to be multiplied with `like` [B, ...]."""
    return values.to(like).view(-1, *[1] * (like.ndim - 1))
