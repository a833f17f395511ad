"""Restart sampling (Xu et al. 2023, "Restart sampling for improving generative processes") with second-order Heun
steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import k_diffusion.sampling
import torch
import tqdm
from k_diffusion.sampling import get_sigmas_karras, to_d

RestartList = dict[float, list[Any]]


def _plan(sigmas: torch.Tensor, restart_list: RestartList | None) -> tuple[torch.Tensor, RestartList]:
    """From 20 steps on, part of them is spent on going back up from sigma 0.1 to 2; below, it is plain Heun."""
    steps = sigmas.shape[0] - 1
    if restart_list is not None:
        return sigmas, restart_list
    if steps < 20:
        return sigmas, {}
    restart_steps, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    shorter = get_sigmas_karras(
        steps - restart_steps * times, sigmas[-2].item(), sigmas[0].item(), device=sigmas.device
    )
    return shorter, {0.1: [restart_steps + 1, times, 2]}


def _steps(sigmas: torch.Tensor, restart_list: RestartList) -> list[tuple[torch.Tensor, torch.Tensor]]:
    def nearest(value: float) -> int:
        return int(torch.argmin(abs(sigmas - value), dim=0))

    restarts = {nearest(key): value for key, value in restart_list.items()}
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    for i in range(len(sigmas) - 1):
        pairs.append((sigmas[i], sigmas[i + 1]))
        if i + 1 in restarts:
            count, times, top = restarts[i + 1]
            top_index = nearest(top)
            if top_index < i + 1:
                back = get_sigmas_karras(count, sigmas[i + 1].item(), sigmas[top_index].item(), device=sigmas.device)[
                    :-1
                ]
                pairs += list(zip(back[:-1], back[1:])) * times
    return pairs


@torch.no_grad()
def restart_sampler(
    model: Callable[..., torch.Tensor],
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    disable: bool | None = None,
    s_noise: float = 1.0,
    restart_list: RestartList | None = None,
) -> torch.Tensor:
    """`restart_list`: {lowest sigma: [steps, times, highest sigma]}; chosen by the number of steps where None."""
    extra_args = extra_args or {}
    s_in = x.new_ones([x.shape[0]])
    last_sigma = None
    for i, (old, new) in enumerate(tqdm.tqdm(_steps(*_plan(sigmas, restart_list)), disable=disable)):
        if last_sigma is not None and last_sigma < old:
            x = x + k_diffusion.sampling.torch.randn_like(x) * s_noise * (old**2 - last_sigma**2) ** 0.5
        denoised = model(x, old * s_in, **extra_args)
        d = to_d(x, old, denoised)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": new, "sigma_hat": old, "denoised": denoised})
        dt = new - old
        if new == 0:
            x = x + d * dt
        else:
            x_2 = x + d * dt
            d_2 = to_d(x_2, new, model(x_2, new * s_in, **extra_args))
            x = x + (d + d_2) / 2 * dt
        last_sigma = new
    return x
