"""Samplers that count in timesteps: what their denoiser receives as `sigma` is a timestep, and what it returns is eps.

DDIM (Song et al. 2020), PLMS (Liu et al. 2022) and UniPC. `timesteps` [n] rise and are gone through backwards, the step
from the lowest one to 0 left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import tqdm
from k_diffusion import sampling

from modules import devices, sd_samplers_common, shared
from modules.models.diffusion.uni_pc import uni_pc
from modules.sd_samplers_cfg_denoiser import CFGDenoiserTimesteps, CompVisTimestepsDenoiser

Callback = Callable[[dict[str, Any]], Any]


class CompVisSampler(sd_samplers_common.Sampler):
    eta_option_field, eta_infotext_field, eta_default = "eta_ddim", "Eta DDIM", 0.0

    def __init__(self, funcname: Any, sd_model: Any) -> None:
        del sd_model
        super().__init__(funcname)
        self.model_wrap_cfg = CFGDenoiserTimesteps(self)
        self.model_wrap = self.model_wrap_cfg.inner_model

    def get_timesteps(self, p: Any, steps: int) -> torch.Tensor:
        """Every (1000 // steps)-th timestep plus one, rising: often more than `steps` of them."""
        count = steps + 1 if self._discards_second_last(p.extra_generation_params) else steps
        return (torch.arange(0, 1000, 1000 // count, device=devices.device) + 1).clip(0, 999)

    def sample_img2img(
        self,
        p: Any,
        x: torch.Tensor,
        noise: torch.Tensor,
        conditioning: Any,
        unconditional_conditioning: Any,
        steps: int | None = None,
        image_conditioning: Any = None,
    ) -> Any:
        total, run = sd_samplers_common.setup_img2img_steps(p, steps)
        timesteps = self.get_timesteps(p, total)
        signal = shared.sd_model.alphas_cumprod[timesteps[run]]
        start = x * signal.sqrt() + noise * (1 - signal).sqrt()
        self.model_wrap_cfg.init_latent = self.last_latent = x
        conds = (conditioning, unconditional_conditioning, image_conditioning)
        return self._run(p, run + 1, start, conds, {"timesteps": timesteps[:run], "is_img2img": True})

    def sample(
        self,
        p: Any,
        x: torch.Tensor,
        conditioning: Any,
        unconditional_conditioning: Any,
        steps: int | None = None,
        image_conditioning: Any = None,
    ) -> Any:
        count, self.last_latent = steps or p.steps, x
        conds = (conditioning, unconditional_conditioning, image_conditioning)
        return self._run(p, count, x, conds, {"timesteps": self.get_timesteps(p, count)})


class _Walk:
    """Backwards over the timesteps, with the signal's power at each and at the one before it."""

    def __init__(self, model: Any, timesteps: torch.Tensor, extra_args: Any, callback: Callback | None) -> None:
        self.model, self.timesteps = model, timesteps
        self.extra_args, self.callback = extra_args or {}, callback
        powers = model.inner_model.inner_model.alphas_cumprod
        self.powers = powers[timesteps]
        self.powers_before = powers[torch.nn.functional.pad(timesteps[:-1], (1, 0))]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(number of the step, index of its timestep), with a progress bar."""
        last = len(self.timesteps) - 1
        return ((i, last - i) for i in tqdm.trange(last))

    def eps(self, x: torch.Tensor, index: int) -> torch.Tensor:
        return self.model(x, self.timesteps[index].item() * x.new_ones(len(x)), **self.extra_args)

    def x0(self, x: torch.Tensor, eps: torch.Tensor, index: int) -> torch.Tensor:
        power = self.powers[index]
        return (x - (1 - power).sqrt() * eps) / power.sqrt()

    def step(self, x0: torch.Tensor, eps: torch.Tensor, index: int, spread: torch.Tensor | float = 0.0) -> torch.Tensor:
        """The latent at the timestep before, without the noise of standard deviation `spread` that goes on it."""
        power = self.powers_before[index]
        return power.sqrt() * x0 + (1.0 - power - spread**2).sqrt() * eps

    def tell(self, i: int, x: torch.Tensor, x0: torch.Tensor) -> None:
        if self.callback is not None:
            self.callback({"x": x, "i": i, "sigma": 0, "sigma_hat": 0, "denoised": x0})


@torch.no_grad()
def ddim(
    model: Any,
    x: torch.Tensor,
    timesteps: torch.Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    eta: float = 0.0,
) -> torch.Tensor:
    del disable
    walk = _Walk(model, timesteps, extra_args, callback)
    later, earlier = walk.powers.double(), walk.powers_before.double()
    spreads = (eta * ((1 - earlier) / (1 - later) * (1 - later / earlier)).sqrt()).float()
    for i, index in walk:
        eps = walk.eps(x, index)
        x0 = walk.x0(x, eps, index)
        x = walk.step(x0, eps, index, spreads[index]) + spreads[index] * sampling.torch.randn_like(x)
        walk.tell(i, x, x0)
    return x


# Adams-Bashforth weights by number of predictions at hand, latest first, and what they are divided by
_WEIGHTS = {2: ((3, -1), 2), 3: ((23, -16, 5), 12), 4: ((55, -59, 37, -9), 24)}


@torch.no_grad()
def plms(
    model: Any,
    x: torch.Tensor,
    timesteps: torch.Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
) -> torch.Tensor:
    """Calls the model once more in the first step."""
    del disable
    walk = _Walk(model, timesteps, extra_args, callback)
    known: list[torch.Tensor] = []
    for i, index in walk:
        known = [walk.eps(x, index), *known[:3]]
        if i == 0:
            ahead = walk.step(walk.x0(x, known[0], index), known[0], index)
            eps = (known[0] + walk.eps(ahead, max(index - 1, 0))) / 2
        else:
            weights, divisor = _WEIGHTS[len(known)]
            eps = sum(weight * past for weight, past in zip(weights, known, strict=True)) / divisor
        x0 = walk.x0(x, eps, index)
        x = walk.step(x0, eps, index)
        walk.tell(i, x, x0)
    return x


class UniPCCFG(uni_pc.UniPC):
    """UniPC over the guided denoiser, which is asked at fractional timesteps."""

    def __init__(self, cfg_model: Any, extra_args: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(None, *args, **kwargs)
        self.cfg_model, self.extra_args = cfg_model, extra_args

    def model(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.cfg_model(x, (t - 1.0 / self.noise_schedule.total_N) * 1000.0, **self.extra_args)


def unipc(
    model: Any,
    x: torch.Tensor,
    timesteps: torch.Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    is_img2img: bool = False,
) -> torch.Tensor:
    """Takes of `timesteps` only how many they are and, in img2img, the highest; spaces its own between."""
    del disable
    count, o = iter(range(len(timesteps))), shared.opts

    def after_update(x: torch.Tensor, x0: torch.Tensor | None) -> None:
        if callback is not None:
            callback({"x": x, "i": next(count), "sigma": 0, "sigma_hat": 0, "denoised": x0})

    ns = uni_pc.NoiseScheduleVP("discrete", alphas_cumprod=model.inner_model.inner_model.alphas_cumprod)
    solver = UniPCCFG(model, extra_args or {}, ns, variant=o.uni_pc_variant, after_update=after_update)
    return solver.sample(
        x,
        steps=len(timesteps),
        t_start=float(timesteps[-1] / 1000 + 1 / 1000) if is_img2img else None,
        skip_type=o.uni_pc_skip_type,
        order=o.uni_pc_order,
        lower_order_final=o.uni_pc_lower_order_final,
    )


samplers_data_timesteps = sd_samplers_common.offered(
    CompVisSampler, {"DDIM": (ddim, "ddim", {}), "PLMS": (plms, "plms", {}), "UniPC": (unipc, "unipc", {})}
)

__all__ = ["CFGDenoiserTimesteps", "CompVisSampler", "CompVisTimestepsDenoiser"]
