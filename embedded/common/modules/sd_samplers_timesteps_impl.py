"""Samplers on timesteps: DDIM (Song et al. 2020), its CFG++ variant (Chung et al. 2024), PLMS (Liu et al. 2022) and
UniPC. The model predicts eps; `timesteps` [n] rise and are gone through backwards, the last (lowest) pair's step left
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import k_diffusion.sampling
import numpy as np
import torch
import tqdm

from modules import shared
from modules.models.diffusion.uni_pc import uni_pc

Callback = Callable[[dict[str, Any]], Any]


class _Schedule:
    """Signal levels of the timesteps and of the ones before them, in the precision the host uses for each."""

    def __init__(self, model: Any, x: torch.Tensor, timesteps: torch.Tensor) -> None:
        alphas_cumprod = model.inner_model.inner_model.alphas_cumprod
        previous = torch.nn.functional.pad(timesteps[:-1], pad=(1, 0))
        self.alphas = alphas_cumprod[timesteps]
        self.alphas_prev = alphas_cumprod[previous].to(torch.float64)
        self.sqrt_one_minus_alphas = torch.sqrt(1 - self.alphas)
        self.s_x = x.new_ones((x.shape[0], 1, 1, 1))

    def noise_levels(self, eta: float) -> torch.Tensor:
        a, a_prev = self.alphas.cpu(), self.alphas_prev.cpu().numpy()
        return eta * np.sqrt((1 - a_prev) / (1 - a) * (1 - a / a_prev))

    def x0(self, x: torch.Tensor, eps: torch.Tensor, index: int) -> torch.Tensor:
        signal = self.alphas[index].item() * self.s_x
        noise = self.sqrt_one_minus_alphas[index].item() * self.s_x
        return (x - noise * eps) / signal.sqrt()

    def previous(self, index: int) -> torch.Tensor:
        return self.alphas_prev[index].item() * self.s_x


def _backwards(timesteps: torch.Tensor, disable: bool | None) -> Iterator[tuple[int, int]]:
    """(number of the step, index of its timestep), with a progress bar."""
    last = len(timesteps) - 1
    for i in tqdm.trange(last, disable=disable):
        yield i, last - i


def _predictor(
    model: Any, x: torch.Tensor, timesteps: torch.Tensor, extra_args: dict[str, Any] | None
) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """eps of a latent at the timestep with this index."""
    rows = x.new_ones(x.shape[0])

    def predict(latent: torch.Tensor, index: int) -> torch.Tensor:
        return model(latent, timesteps[index].item() * rows, **(extra_args or {}))

    return predict


def _report(callback: Callback | None, x: torch.Tensor, i: int, x0: torch.Tensor | None) -> None:
    if callback is not None:
        callback({"x": x, "i": i, "sigma": 0, "sigma_hat": 0, "denoised": x0})


def _ddim(
    model: Any,
    x: torch.Tensor,
    timesteps: torch.Tensor,
    extra_args: dict[str, Any] | None,
    callback: Callback | None,
    disable: bool | None,
    eta: float,
    use_uncond_direction: bool,
) -> torch.Tensor:
    schedule = _Schedule(model, x, timesteps)
    sigmas = schedule.noise_levels(eta)
    predict = _predictor(model, x, timesteps, extra_args)
    for i, index in _backwards(timesteps, disable):
        eps = predict(x, index)
        direction = model.last_noise_uncond if use_uncond_direction else eps
        a_prev, sigma = schedule.previous(index), sigmas[index].item() * schedule.s_x
        x0 = schedule.x0(x, eps, index)
        renoised = (1.0 - a_prev - sigma**2).sqrt() * direction
        x = a_prev.sqrt() * x0 + renoised + sigma * k_diffusion.sampling.torch.randn_like(x)
        _report(callback, x, i, x0)
    return x


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
    return _ddim(model, x, timesteps, extra_args, callback, disable, eta, False)


@torch.no_grad()
def ddim_cfgpp(
    model: Any,
    x: torch.Tensor,
    timesteps: torch.Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    eta: float = 0.0,
) -> torch.Tensor:
    """Renoises along the unconditional prediction. CFG is divided by 12.5, so that its usual range becomes 0 to 1."""
    model.cond_scale_miltiplier = 1 / 12.5
    model.need_last_noise_uncond = True
    return _ddim(model, x, timesteps, extra_args, callback, disable, eta, True)


# Adams-Bashforth weights by number of earlier predictions at hand, latest first
_MULTISTEP = {1: ([3, -1], 2), 2: ([23, -16, 5], 12), 3: ([55, -59, 37, -9], 24)}


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
    schedule = _Schedule(model, x, timesteps)
    predict = _predictor(model, x, timesteps, extra_args)
    old_eps: list[torch.Tensor] = []

    def step(eps: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pred_x0, a_prev = schedule.x0(x, eps, index), schedule.previous(index)
        return a_prev.sqrt() * pred_x0 + (1.0 - a_prev).sqrt() * eps, pred_x0

    for i, index in _backwards(timesteps, disable):
        eps = predict(x, index)
        if not old_eps:
            ahead, _ = step(eps, index)
            better = (eps + predict(ahead, max(index - 1, 0))) / 2
        else:
            weights, divisor = _MULTISTEP[len(old_eps)]
            better = sum(w * e for w, e in zip(weights, [eps, *reversed(old_eps)])) / divisor
        x, x0 = step(better, index)
        old_eps = [*old_eps, eps][-3:]
        _report(callback, x, i, x0)
    return x


class UniPCCFG(uni_pc.UniPC):
    """UniPC over the guided denoiser, which is asked at fractional timesteps."""

    def __init__(
        self, cfg_model: Any, extra_args: dict[str, Any], callback: Callback | None, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(None, *args, after_update=self._after_update, **kwargs)
        self.cfg_model = cfg_model
        self.extra_args = extra_args
        self.callback = callback
        self.index = 0

    def _after_update(self, x: torch.Tensor, model_x: torch.Tensor | None) -> None:
        _report(self.callback, x, self.index, model_x)
        self.index += 1

    def get_model_input_time(self, t_continuous: torch.Tensor) -> torch.Tensor:
        return (t_continuous - 1.0 / self.noise_schedule.total_N) * 1000.0

    def model(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.cfg_model(x, self.get_model_input_time(t), **self.extra_args)


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
    o = shared.opts
    ns = uni_pc.NoiseScheduleVP("discrete", alphas_cumprod=model.inner_model.inner_model.alphas_cumprod)
    t_start = float(timesteps[-1] / 1000 + 1 / 1000) if is_img2img else None
    solver = UniPCCFG(
        model, extra_args or {}, callback, ns, predict_x0=True, thresholding=False, variant=o.uni_pc_variant
    )
    return solver.sample(
        x,
        steps=len(timesteps),
        t_start=t_start,
        skip_type=o.uni_pc_skip_type,
        method="multistep",
        order=o.uni_pc_order,
        lower_order_final=o.uni_pc_lower_order_final,
    )
