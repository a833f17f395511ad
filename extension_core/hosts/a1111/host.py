"""A1111 as the common part sees it: two sets of parameters under the host's one U-Net."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules import sd_models, sd_vae

from extension_core.hosts.a1111 import conditioning, guidance, kinds, memory, model, noise, prompt_loras
from extension_core.hosts.a1111.decoding import A1111Decoding
from extension_core.hosts.a1111.predictions import Watched
from extension_core.hosts.noise import Noise
from extension_core.sampling.plan import PassPlan
from extension_core.sampling.roles import Resident, Roles
from extension_core.sampling.routing import Phase
from extension_core.sampling.schedule import NoiseSchedule
from extension_core.sampling.session import Session
from extension_core.weights.live_model import LiveModel
from extension_core.weights.placement import Choice, Placed
from extension_core.weights.second_model import SecondModel
from extension_core.weights.selection import Selection


@dataclass
class ExchangedModel:
    """A second model whose parameters are exchanged with the host's."""

    model: SecondModel
    choice: Choice
    _base_in_8_bits: bool = False
    _roles: Roles = field(default_factory=Roles)

    @property
    def notes(self) -> tuple[str, ...]:
        """As `protocols.Second`."""
        return (*self.model.notes, *filter(None, [self.choice.warning]))

    @property
    def placed(self) -> Placed:
        """As `protocols.Second`."""
        return memory.placed_with(self.choice)

    def make_room(self) -> str:
        """As `protocols.Second`."""
        choice = model.make_room(self.model, self.choice.placement)
        if choice is None:
            return ""
        self.choice, self._base_in_8_bits = choice, False
        return choice.warning

    def keep_networks_apart(self) -> None:
        """As `protocols.Second`."""
        self.model.keep_networks_apart(model.text_parameters())

    def own_conds(self, p: Any, lora_factor: float) -> tuple[Any, Any] | None:
        """As `protocols.Second`."""
        return conditioning.own_conds(p, self.model, lora_factor)

    def sampling(self, p: Any, plan: PassPlan, session: Session) -> AbstractContextManager[None]:
        """Both sets are where they are to wait; a base in 8 bits runs in the place of the distilled model's set."""
        both = bool(plan.split.base and plan.split.distilled)
        self._roles = session.roles
        self._base_in_8_bits = both and self.model.base is not None
        if self._base_in_8_bits:
            self._put_in(Phase.DISTILLED)
        return nullcontext()

    def _put_in(self, phase: Phase) -> None:
        self.model.unet.activate(self._roles.resident(phase) is Resident.SECOND)

    def phase(self, phase: Phase, denoiser: Any) -> AbstractContextManager[None]:
        """Put the phase's parameters in; they stay in until another phase's are wanted."""
        if self._base_in_8_bits and self.model.base is not None and phase is Phase.BASE:
            return self.model.base.active()
        self._put_in(phase)
        if memory.moved_by_host():  # it may send a part of the U-Net away before that part is called
            self.model.unet.settle()
        return nullcontext()

    def restore(self) -> None:
        """As `protocols.Second`."""
        self.model.restore()


class A1111:
    """As `protocols.Host`."""

    decoding = A1111Decoding()

    def watch_model_changes(self) -> None:
        """As `protocols.Host`."""
        model.watch_model_changes()

    def is_loaded(self) -> bool:
        """Whether a checkpoint is loaded."""
        return sd_models.model_data.sd_model is not None

    def check_model(self) -> None:
        """Refuse what the exchange of parameters cannot serve."""
        model.check_host_model()

    def check_request(self, p: Any) -> None:
        """Refuse what the host cannot make with a model of the loaded one's kind."""
        if self.is_loaded():
            kinds.check_request(sd_models.model_data.sd_model, p)

    def live_model(self) -> LiveModel:
        """As `protocols.Host`."""
        return model.live_model()

    def other_vae(self) -> bool:
        """As `protocols.Host`."""
        return sd_vae.loaded_vae_file is not None

    def noise(self, live: bool = False) -> Noise:
        """As `protocols.Host`."""
        return noise.live() if live else noise.in_force()

    def noise_schedule(self) -> NoiseSchedule:
        """As `protocols.Host`."""
        return noise.in_force().schedule

    def keep_levels(self) -> Callable[[], None]:
        """Nothing to put back: the host makes its noise levels anew for every request."""
        return lambda: None

    def prepare_request(self, p: Any, session: Session) -> None:
        """Nothing: A1111 computes both conditionings at any CFG."""

    def neighbours_notes(self, p: Any, session: Session) -> tuple[str, ...]:
        """None of the host's own would need one."""
        return ()

    def second_model(self, selection: Selection, p: Any, residency: str) -> ExchangedModel:
        """As `protocols.Host`."""
        return ExchangedModel(*model.second_model(selection, p, residency))

    def expected_placement(self, path: Path | None, p: Any, residency: str) -> Placed:
        """As `protocols.Host`."""
        return model.expected_placement(path, p, residency)

    def base_alone(self) -> None:
        """The U-Net's networks are set at each call."""

    def text_networks(self, p: Any, factor: float) -> AbstractContextManager[None]:
        """As `protocols.Host`."""
        return prompt_loras.text_at_factor(p, factor)

    def unet_networks(self, denoiser: Any, factor: float) -> AbstractContextManager[None]:
        """As `protocols.Host`."""
        return prompt_loras.unet_at_factor(denoiser, factor)

    def guidance(self, p: Any, denoiser: Any, cond: Any, cfg: float) -> AbstractContextManager[None]:
        """Without the unconditional half where the result does not need it; `cfg` is an argument of the call."""
        return guidance.around(denoiser, cond, cfg)

    def watch(self, stack: ExitStack, p: Any, sampler: Any) -> Watched:
        """As `protocols.Host`."""
        return Watched(stack, sampler)
