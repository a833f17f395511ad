"""UniPC, multistep, predicting x0 (Zhao et al. 2023, "UniPC: a unified predictor-corrector framework for fast sampling
of diffusion models"), with B(h) = h ("bh1") or exp(h) - 1 ("bh2"). Times t in (0, 1]; lambda is half the logarithm of
the signal-to-noise ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def _interpolate(x: torch.Tensor, xp: torch.Tensor, fp: torch.Tensor) -> torch.Tensor:
    """Piecewise linear through (xp, fp), xp rising; the outermost pieces go on beyond the ends."""
    i = torch.searchsorted(xp, x.contiguous()).clamp(1, len(xp) - 1)
    return fp[i - 1] + (x - xp[i - 1]) * (fp[i] - fp[i - 1]) / (xp[i] - xp[i - 1])


class NoiseScheduleVP:
    """A discrete schedule made continuous: step n of N stands at t = (n + 1) / N."""

    def __init__(
        self, schedule: str = "discrete", betas: torch.Tensor | None = None, alphas_cumprod: torch.Tensor | None = None
    ) -> None:
        if schedule != "discrete" or (betas is None) == (alphas_cumprod is None):
            raise ValueError(
                f"Only 'discrete' schedules of either betas or alphas_cumprod are known here, not {schedule!r}."
            )
        if alphas_cumprod is None:
            assert betas is not None
            alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        self.schedule = schedule
        self.log_alphas = 0.5 * torch.log(alphas_cumprod)
        self.total_N = len(alphas_cumprod)
        self.T = 1.0
        self.times = torch.linspace(0.0, 1.0, self.total_N + 1)[1:].to(alphas_cumprod)

    def marginal_log_mean_coeff(self, t: torch.Tensor) -> torch.Tensor:
        return _interpolate(t.reshape(-1), self.times.to(t), self.log_alphas.to(t))

    def marginal_alpha(self, t: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.marginal_log_mean_coeff(t))

    def marginal_std(self, t: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(1.0 - torch.exp(2.0 * self.marginal_log_mean_coeff(t)))

    def marginal_lambda(self, t: torch.Tensor) -> torch.Tensor:
        log_alpha = self.marginal_log_mean_coeff(t)
        return log_alpha - 0.5 * torch.log(1.0 - torch.exp(2.0 * log_alpha))

    def inverse_lambda(self, lamb: torch.Tensor) -> torch.Tensor:
        log_alpha = -0.5 * torch.logaddexp(torch.zeros((1,)).to(lamb), -2.0 * lamb)
        return _interpolate(log_alpha.reshape(-1), self.log_alphas.flip(0).to(lamb), self.times.flip(0).to(lamb))


def _image(v: torch.Tensor) -> torch.Tensor:
    return v[:, None, None, None]


class UniPC:
    """`model_fn(x, t, cond, uncond)` predicts noise at times t [B], or `model(x, t)` is overridden; `after_update(x, x0
    or None)` is called after each step.
    """

    def __init__(
        self,
        model_fn: Callable[..., torch.Tensor] | None,
        noise_schedule: NoiseScheduleVP,
        predict_x0: bool = True,
        thresholding: bool = False,
        max_val: float = 1.0,
        variant: str = "bh1",
        condition: Any = None,
        unconditional_condition: Any = None,
        before_sample: Any = None,
        after_sample: Any = None,
        after_update: Callable[[torch.Tensor, torch.Tensor | None], Any] | None = None,
    ) -> None:
        del max_val, before_sample, after_sample
        if variant not in ("bh1", "bh2") or not predict_x0 or thresholding:
            raise ValueError(
                f"UniPC variant {variant!r} is not part of the embedded WebUI; choose bh1 or bh2, predicting x0."
            )
        self.model_fn_ = model_fn
        self.noise_schedule = self.ns = noise_schedule
        self.variant = variant
        self.condition, self.unconditional_condition = condition, unconditional_condition
        self.after_update = after_update

    def get_time_steps(self, skip_type: str, t_T: float, t_0: float, N: int, device: Any) -> torch.Tensor:
        """Times [N + 1] from t_T down to t_0, spaced by "time_uniform", "time_quadratic" or "logSNR"."""
        if skip_type == "logSNR":
            first, last = (float(self.ns.marginal_lambda(torch.tensor([x]))) for x in (t_T, t_0))
            return self.ns.inverse_lambda(torch.linspace(first, last, N + 1).to(device))
        if skip_type == "time_uniform":
            return torch.linspace(t_T, t_0, N + 1).to(device)
        if skip_type == "time_quadratic":
            return torch.linspace(t_T**0.5, t_0**0.5, N + 1).pow(2).to(device)
        raise ValueError(
            f"Unsupported skip_type {skip_type}, need to be 'logSNR' or 'time_uniform' or 'time_quadratic'"
        )

    def model(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert self.model_fn_ is not None
        return self.model_fn_(x, t, self.condition, self.unconditional_condition)

    def model_fn(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x0 predicted at times t."""
        noise = self.model(x, t)
        return (x - _image(self.ns.marginal_std(t)) * noise) / _image(self.ns.marginal_alpha(t))

    def _coefficients(
        self, rks: torch.Tensor, hh: torch.Tensor, order: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """R [order, order], b [order] and B(h) of the paper's equations for the correction's weights."""
        b_h = hh if self.variant == "bh1" else torch.expm1(hh)
        rows, b = [], []
        h_phi_k, factorial = torch.expm1(hh) / hh - 1, 1
        for i in range(1, order + 1):
            rows.append(torch.pow(rks, i - 1))
            b.append(h_phi_k * factorial / b_h)
            factorial *= i + 1
            h_phi_k = h_phi_k / hh - 1 / factorial
        return torch.stack(rows), torch.tensor(b, device=rks.device), b_h

    def _update(
        self,
        x: torch.Tensor,
        x0s: list[torch.Tensor],
        times: list[torch.Tensor],
        t: torch.Tensor,
        order: int,
        correct: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        ns, t0, x0 = self.ns, times[-1], x0s[-1]
        h = ns.marginal_lambda(t) - ns.marginal_lambda(t0)
        rks, differences = [], []
        for i in range(1, order):
            rk = ((ns.marginal_lambda(times[-(i + 1)]) - ns.marginal_lambda(t0)) / h)[0]
            rks.append(rk)
            differences.append((x0s[-(i + 1)] - x0) / rk)
        r, b, b_h = self._coefficients(torch.tensor([*rks, 1.0], device=x.device), -h[0], order)
        d1s = torch.stack(differences, dim=1) if differences else None
        base = (
            _image(ns.marginal_std(t) / ns.marginal_std(t0)) * x
            - _image(ns.marginal_alpha(t) * torch.expm1(-h[0])) * x0
        )
        scale = _image(ns.marginal_alpha(t) * b_h)

        x_t = base
        if d1s is not None:
            rhos = torch.tensor([0.5], device=b.device) if order == 2 else torch.linalg.solve(r[:-1, :-1], b[:-1])
            x_t = base - scale * torch.einsum("k,bkchw->bchw", rhos, d1s)
        if not correct:
            return x_t, None
        rhos = torch.tensor([0.5], device=b.device) if order == 1 else torch.linalg.solve(r, b)
        x0_t = self.model_fn(x_t, t)
        correction = rhos[-1] * (x0_t - x0)
        if d1s is not None:
            correction = correction + torch.einsum("k,bkchw->bchw", rhos[:-1], d1s)
        return base - scale * correction, x0_t

    @torch.no_grad()
    def sample(
        self,
        x: torch.Tensor,
        steps: int = 20,
        t_start: float | None = None,
        t_end: float | None = None,
        order: int = 3,
        skip_type: str = "time_uniform",
        method: str = "multistep",
        lower_order_final: bool = True,
    ) -> torch.Tensor:
        """The first steps are of lower order; the last is not corrected. AssertionError where there are fewer steps
        than the order.
        """
        assert method == "multistep", "only the multistep method is known here"
        assert steps >= order, "UniPC order must be < sampling steps"
        start = self.ns.T if t_start is None else float(t_start)
        times = self.get_time_steps(
            skip_type, start, 1.0 / self.ns.total_N if t_end is None else t_end, steps, x.device
        )
        t_list = [times[0].expand(x.shape[0])]
        x0_list = [self.model_fn(x, t_list[0])]
        for step in range(1, steps + 1):
            t = times[step].expand(x.shape[0])
            ending = min(order, steps + 1 - step) if lower_order_final else order
            this_order = step if step < order else ending
            x, x0_t = self._update(x, x0_list, t_list, t, this_order, correct=step < steps)
            if self.after_update is not None:
                self.after_update(x, x0_t)
            if x0_t is not None:
                x0_list = [*x0_list, x0_t][-order:]
                t_list = [*t_list, t][-order:]
        return x
