"""The sampler of another name that makes the base's steps of a pass, with what other extensions did to the pass's own.

Extensions that tile or guide hook the sampler that the host makes for a pass: a function of its inner model or of its
denoiser, or they give it a denoiser of their own. Some put a function of theirs in the place of the host's
`sd_samplers.create_sampler` for that, so it is not asked for another sampler here: that function would take it for the
pass's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modules import sd_samplers, shared

from extension_core.hosts.common.plan.levels import sampler_data
from extension_core.hosts.common.processing.attributes import set_by_others
from extension_core.hosts.refusal import RequestRefused
from extension_core.sampling.plan import PassPlan

_DENOISER_HOOKS = ("forward", "combine_denoised")


class BaseSampler:
    """The base's sampler in one pass.

    Attributes:
        sampler: the host's sampler object.
        shares_denoiser: whether it runs over the pass's own denoiser, with all that was done to that.
    """

    def __init__(self, own: Any, plan: PassPlan) -> None:
        """Make it for the pass of the sampler `own`.

        Raises:
            RequestRefused: what another extension did to that one would be lost in it.
        """
        config = sampler_data(plan.base_sampler)
        self.sampler = config.constructor(shared.sd_model)
        self.sampler.config = config
        self.shares_denoiser = plan.unit == plan.base_unit == "sigma"
        inner = own.model_wrap_cfg.inner_model
        same_inner = type(inner) is type(self.sampler.model_wrap_cfg.inner_model)
        lost = [] if self.shares_denoiser else _changes_of_denoiser(own.model_wrap_cfg)
        lost += [] if same_inner else _changes_of_inner(inner)
        if lost:
            raise RequestRefused(_sentence(plan, lost[-1]))
        if same_inner:
            self.sampler.model_wrap = self.sampler.model_wrap_cfg.model_wrap = inner

    @contextmanager
    def in_denoiser(self, denoiser: Any) -> Iterator[None]:
        """While the base's steps are made: a shared denoiser asks the inner model of this sampler."""
        before, denoiser.model_wrap = denoiser.inner_model, self.sampler.model_wrap
        try:
            yield
        finally:
            denoiser.model_wrap = before


def _changes_of_denoiser(denoiser: Any) -> list[Any]:
    """What others have put on or in the place of a denoiser."""
    hooks = [hook for name in _DENOISER_HOOKS if (hook := set_by_others(denoiser, name)) is not None]
    return hooks if type(denoiser).__module__.startswith("modules.") else [*hooks, type(denoiser)]


def _changes_of_inner(inner: Any) -> list[Any]:
    """What others have put on a denoiser's inner model, or may have."""
    hooks = [hook for hook in [set_by_others(inner, "forward")] if hook is not None]
    replaced = getattr(sd_samplers.create_sampler, "__globals__", None) is not vars(sd_samplers)
    return [*hooks, sd_samplers.create_sampler] if replaced else hooks


def _sentence(plan: PassPlan, change: Any) -> str:
    who = getattr(change, "__module__", None) or type(change).__module__
    return (
        f"Another extension ('{who}') has changed the sampler {plan.sampler}, and the base's steps by "
        f"{plan.base_sampler} would be made without that; set base_sampler to same, or switch that extension off."
    )
