"""Samplers that count in timesteps: what their denoiser receives as `sigma` is a timestep, and what it returns is eps.

DDIM (Song et al. 2020), PLMS (Liu et al. 2022) and UniPC. `timesteps` [n] rise and are gone through backwards, the step
from the lowest one to 0 left out.
"""

from __future__ import annotations

from typing import Any

import torch
from k_diffusion import sampling
from torch import Tensor

from modules import devices, sd_samplers_common, shared
from modules.models.diffusion.uni_pc import uni_pc
from modules.sd_samplers_cfg_denoiser import CFGDenoiserTimesteps, CompVisTimestepsDenoiser


class CompVisSampler(sd_samplers_common.Sampler):
    eta_option_field, eta_infotext_field, eta_default = "eta_ddim", "Eta DDIM", 0.0

    def __init__(self, funcname: Any, sd_model: Any) -> None:
        super().__init__(funcname)
        self.model_wrap_cfg = CFGDenoiserTimesteps(self)
        self.model_wrap = self.model_wrap_cfg.inner_model

    def get_timesteps(self, p: Any, steps: int) -> Tensor:
        """Every (1000 // steps)-th timestep plus one, rising: often more than `steps` of them."""
        count = steps + 1 if self._discards_second_last(p.extra_generation_params) else steps
        return (torch.arange(0, 1000, 1000 // count, device=devices.device) + 1).clip(0, 999)

    def _from_noise(self, p: Any, x: Tensor, steps: int) -> sd_samplers_common.Start:
        return x, {"timesteps": self.get_timesteps(p, steps)}

    def _from_latents(self, p: Any, x: Tensor, noise: Tensor, total: int, run: int) -> Any:
        timesteps = self.get_timesteps(p, total)
        signal = shared.sd_model.alphas_cumprod[timesteps[run]]
        return x * signal.sqrt() + noise * (1 - signal).sqrt(), {"timesteps": timesteps[:run], "is_img2img": True}


class _Walk:
    """Backwards over the timesteps, with the signal's power at each and at the one before it."""

    def __init__(self, model: Any, timesteps: Tensor, extra_args: Any, callback: Any) -> None:
        self.model, self.timesteps = model, timesteps
        self.extra_args, self.callback = extra_args or {}, callback
        powers = model.inner_model.inner_model.alphas_cumprod
        self.powers = powers[timesteps]
        self.powers_before = powers[torch.nn.functional.pad(timesteps[:-1], (1, 0))]
        last = len(timesteps) - 1
        self.places = [(i, last - i) for i in range(last)]
        """(number of the step, index of its timestep)."""

    def eps(self, x: Tensor, index: int) -> Tensor:
        return self.model(x, self.timesteps[index].item() * x.new_ones(len(x)), **self.extra_args)

    def step(self, x: Tensor, eps: Tensor, index: int, spread: Any = 0.0) -> tuple[Tensor, ...]:
        """The latent at the timestep before, without the noise of standard deviation `spread` that goes on it; x0."""
        power, before = self.powers[index], self.powers_before[index]
        x0 = (x - (1 - power).sqrt() * eps) / power.sqrt()
        return before.sqrt() * x0 + (1.0 - before - spread**2).sqrt() * eps, x0

    def tell(self, i: int, x: Tensor, x0: Tensor) -> None:
        if self.callback is not None:
            self.callback({"x": x, "i": i, "sigma": 0, "sigma_hat": 0, "denoised": x0})


@torch.no_grad()
def ddim(model, x, timesteps, extra_args=None, callback=None, disable=None, eta=0.0) -> Tensor:
    walk = _Walk(model, timesteps, extra_args, callback)
    later, earlier = walk.powers.double(), walk.powers_before.double()
    spreads = (eta * ((1 - earlier) / (1 - later) * (1 - later / earlier)).sqrt()).float()
    for i, index in walk.places:
        x, x0 = walk.step(x, walk.eps(x, index), index, spreads[index])
        x = x + spreads[index] * sampling.torch.randn_like(x)
        walk.tell(i, x, x0)
    return x


# Adams-Bashforth weights by number of predictions at hand, latest first, and what they are divided by
_WEIGHTS = {2: ((3, -1), 2), 3: ((23, -16, 5), 12), 4: ((55, -59, 37, -9), 24)}


@torch.no_grad()
def plms(model, x, timesteps, extra_args=None, callback=None, disable=None) -> Tensor:
    """Calls the model once more in the first step."""
    walk = _Walk(model, timesteps, extra_args, callback)
    known: list[Tensor] = []
    for i, index in walk.places:
        known = [walk.eps(x, index), *known[:3]]
        if i == 0:
            ahead, _ = walk.step(x, known[0], index)
            eps = (known[0] + walk.eps(ahead, max(index - 1, 0))) / 2
        else:
            weights, divisor = _WEIGHTS[len(known)]
            eps = sum(weight * past for weight, past in zip(weights, known, strict=True)) / divisor
        x, x0 = walk.step(x, eps, index)
        walk.tell(i, x, x0)
    return x


@torch.no_grad()
def unipc(model, x, timesteps, extra_args=None, callback=None, disable=None, is_img2img=False) -> Tensor:
    """Takes of `timesteps` how many they are and, in img2img, the highest. Of first order, whatever the setting."""
    steps, ns = len(timesteps), uni_pc.NoiseScheduleVP(alphas_cumprod=model.inner_model.inner_model.alphas_cumprod)
    assert steps >= shared.opts.uni_pc_order, f"UniPC of order {shared.opts.uni_pc_order} needs as many steps"
    lowest = 1.0 / ns.total_N
    highest = float(timesteps[-1] / 1000 + lowest) if is_img2img else ns.T
    solver = uni_pc.UniPC(None, ns, variant=shared.opts.uni_pc_variant)
    times = solver.get_time_steps(shared.opts.uni_pc_skip_type, highest, lowest, steps, x.device)

    def predicted(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = ns.alpha_and_sigma(t)
        eps = model(x, ((t - lowest) * 1000.0).expand(len(x)), **(extra_args or {}))
        return (x - sigma * eps) / alpha

    x0 = predicted(x, times[0])
    for i, (now, then) in enumerate(zip(times, times[1:])):
        (alpha_now, sigma_now), (alpha, sigma) = ns.alpha_and_sigma(now), ns.alpha_and_sigma(then)
        kept = sigma / sigma_now
        there, used = None, x0
        if i < steps - 1:
            there = predicted(kept * x + (alpha - kept * alpha_now) * x0, then)
            used = (x0 + there) / 2
        x = kept * x + (alpha - kept * alpha_now) * used
        if callback is not None:
            callback({"x": x, "i": i, "sigma": 0, "sigma_hat": 0, "denoised": there})
        x0 = x0 if there is None else there
    return x


samplers_data_timesteps = sd_samplers_common.offered(
    CompVisSampler, {"DDIM": (ddim, "ddim", {}), "PLMS": (plms, "plms", {}), "UniPC": (unipc, "unipc", {})}
)

__all__ = ["CFGDenoiserTimesteps", "CompVisSampler", "CompVisTimestepsDenoiser"]
