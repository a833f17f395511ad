"""What the common part asks of a host: how a second model is held, run and guided, how latents become pictures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from extension_core.hosts.noise import Noise
from extension_core.sampling.plan import PassPlan
from extension_core.sampling.routing import Phase
from extension_core.sampling.schedule import NoiseSchedule
from extension_core.sampling.session import Session
from extension_core.weights.live_model import LiveModel
from extension_core.weights.placement import Placed
from extension_core.weights.selection import Selection


class Decoding(Protocol):
    """How one kind of host makes pictures of latents. Nothing here loads a checkpoint or downloads a file."""

    def latent_kind(self) -> str:
        """Kind of the loaded model's latents: "sd", "sdxl", "sd3" or "flux"; "" if no checkpoint is loaded."""
        ...

    def vae_in_use(self) -> tuple[str, ...]:
        """What the host decodes with now, its name first; () if no checkpoint is loaded."""
        ...

    def colours(self, eye: torch.Tensor) -> torch.Tensor:
        """The host's approximate colours in -1..1 of latents [n, C, 1, 1], float32 in RAM, of the loaded kind."""
        ...

    def taesd(self, path: str) -> torch.nn.Module:
        """The decoder in a file that is there, in RAM; [B, C, h, w] to pictures in 0..1. Raises what torch raises."""
        ...

    def device(self) -> tuple[torch.device, torch.dtype]:
        """Where and in which precision the host computes."""
        ...

    def beside_sampling(self) -> bool:
        """Whether another thread may compute on that device while the host samples."""
        ...

    def without_gradients(self) -> AbstractContextManager[Any]:
        """Around what a thread of ours computes."""
        ...

    def decode_full(self, latent: torch.Tensor) -> torch.Tensor:
        """A latent [C, h, w] as the host decodes its images: [3, H, W] in -1..1 in RAM, float32.

        The caller holds the host's queue, or runs inside the request that does.
        """
        ...


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of x0, [B, C, H, W] each.

    Attributes:
        guided: after guidance, as the sampler uses it.
        cond: the conditional prediction alone, None where it cannot be told apart.
        uncond: the unconditional one, None where it was not computed.
    """

    guided: torch.Tensor
    cond: torch.Tensor | None = None
    uncond: torch.Tensor | None = None


class Watched(Protocol):
    """One sampler of the host, watched while it runs."""

    def calling(self, sigma: torch.Tensor, cond_scale: float, s_min_uncond: float) -> float:
        """The denoiser is about to be called at levels [B], sigma or timestep; returns the scale that will guide it."""
        ...

    def called(self, x: torch.Tensor, sigma: torch.Tensor, result: torch.Tensor) -> Predicted:
        """It was, with x [B, C, h, w] at levels [B], and returned this, shaped as x: x0, or eps over timesteps."""
        ...


class Second(Protocol):
    """A second model, the distilled one or the base, that is ready to take turns with the host's model."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how it was loaded."""
        ...

    @property
    def placed(self) -> Placed:
        """Where base and distilled model live now."""
        ...

    def make_room(self) -> str:
        """Free memory where the host computes, after it ran out while this ran; a warning for the user, "" if none."""
        ...

    def keep_networks_apart(self) -> None:
        """From now on it may have other networks than the host's, its reading of the prompt included."""
        ...

    def own_conds(self, p: Any, lora_factor: float) -> tuple[Any, Any] | None:
        """(cond, uncond) of the current pass by its own reading of the prompt, None if it has none of its own."""
        ...

    def sampling(self, p: Any, plan: PassPlan, session: Session) -> AbstractContextManager[None]:
        """Around one run of the host's sampler: the models, and their networks, are where the run needs them."""
        ...

    def phase(self, phase: Phase, denoiser: Any) -> AbstractContextManager[None]:
        """Around one call of the host's denoiser: the phase's model is the one that it runs."""
        ...

    def restore(self) -> None:
        """Give the host its own model back; safe to call at any time."""
        ...


class Host(Protocol):
    """One kind of host."""

    @property
    def decoding(self) -> Decoding:
        """How it makes pictures of latents."""
        ...

    def watch_model_changes(self) -> None:
        """Let the second model go when the host loads another checkpoint; asked again after every "Reload UI"."""
        ...

    def is_loaded(self) -> bool:
        """Whether a checkpoint is loaded."""
        ...

    def check_model(self) -> None:
        """Refuse a loaded model that cannot take turns with another.

        Raises:
            DiversityError: the loaded model is of another kind, or not the host's own.
        """
        ...

    def check_request(self, p: Any) -> None:
        """Refuse what this host alone offers and what would not go together with a second model.

        Raises:
            DiversityError: says what to switch off.
        """
        ...

    def live_model(self) -> LiveModel:
        """The loaded checkpoint's model, as files are compared with it."""
        ...

    def other_vae(self) -> bool:
        """Whether the user has put a VAE of its own file in the place of any checkpoint's."""
        ...

    def noise(self, live: bool = False) -> Noise:
        """The noise schedule that a request of now will sample over, or the model's own at this moment; reads alone.

        Raises:
            DiversityError: no checkpoint is loaded, so nobody knows the noise levels.
        """
        ...

    def noise_schedule(self) -> NoiseSchedule:
        """The first of these as plans have it."""
        ...

    def keep_levels(self) -> Callable[[], None]:
        """What gives the model its present noise levels back, called where `p.sample` raises."""
        ...

    def prepare_request(self, p: Any, session: Session) -> None:
        """Give the request the settings under which both phases' CFG can be honoured."""
        ...

    def neighbours_notes(self, p: Any, session: Session) -> tuple[str, ...]:
        """What the user should know of other extensions that this request has switched on, once it is settled."""
        ...

    def second_model(self, selection: Selection, p: Any, residency: str) -> Second:
        """The resident second model, loaded if it is not resident yet.

        Args:
            p: the request, whose size says how much memory it needs beside the models.
            residency: the option of that name.

        Raises:
            DiversityError: the file cannot be read or memory does not suffice; nothing is changed.
        """
        ...

    def expected_placement(self, path: Path | None, p: Any, residency: str) -> Placed:
        """Where the models would live if a request ran now with the second model in `path`, if any."""
        ...

    def base_alone(self) -> Second | None:
        """What runs where no second model is named, None if the host needs nothing for it."""
        ...

    def text_networks(self, p: Any, factor: float) -> AbstractContextManager[None]:
        """While this request reads a prompt: weights of its networks times `factor`."""
        ...

    def unet_networks(self, denoiser: Any, factor: float) -> AbstractContextManager[None]:
        """Around one call of the denoiser: the same for the U-Net, where `Second.sampling` has not done it."""
        ...

    def guidance(self, p: Any, denoiser: Any, cond: Any, cfg: float) -> AbstractContextManager[None]:
        """Around one call of the denoiser: the host guides with `cfg`, without the unconditional half at CFG 1."""
        ...

    def watch(self, stack: ExitStack, p: Any, sampler: Any) -> Watched:
        """Watch a sampler that is about to run, for the DT-preview; closing the stack ends it."""
        ...
