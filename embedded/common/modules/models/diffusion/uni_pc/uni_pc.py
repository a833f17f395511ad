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
        if schedule != "discrete" or betas is not None or alphas_cumprod is None:
            raise ValueError("Only 'discrete' schedules of alphas_cumprod are known here.")
        self.schedule, self.T, self.total_N = schedule, 1.0, len(alphas_cumprod)
        self.log_alphas = 0.5 * torch.log(alphas_cumprod)
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
            raise ValueError(f"UniPC's variant {variant!r} is not played here; choose bh1 or bh2, predicting x0.")
        self.noise_schedule, self.variant, self.after_update = noise_schedule, variant, after_update
        self._eps, self._conds = model_fn, (condition, unconditional_condition)

    def get_time_steps(self, skip_type: str, t_T: float, t_0: float, N: int, device: Any) -> torch.Tensor:
        """Times [N + 1] from t_T down to t_0, spaced by "time_uniform", "time_quadratic" or "logSNR"."""
        if skip_type == "logSNR":
            ns = self.noise_schedule
            first, last = (float(ns.marginal_lambda(torch.tensor([x]))) for x in (t_T, t_0))
            return ns.inverse_lambda(torch.linspace(first, last, N + 1).to(device))
        power = {"time_uniform": 1, "time_quadratic": 2}[skip_type]
        return torch.linspace(t_T ** (1 / power), t_0 ** (1 / power), N + 1).pow(power).to(device)

    def model(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert self._eps is not None
        return self._eps(x, t, *self._conds)

    def model_fn(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x0 predicted at times t."""
        ns = self.noise_schedule
        return (x - _image(ns.marginal_std(t)) * self.model(x, t)) / _image(ns.marginal_alpha(t))

    def _equations(
        self, ratios: torch.Tensor, hh: torch.Tensor, order: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """R [order, order], b [order] and B(h) of the paper's equations for the correction's weights."""
        b_h = hh if self.variant == "bh1" else torch.expm1(hh)
        b, phi, factorial = [], torch.expm1(hh) / hh - 1, 1
        for i in range(1, order + 1):
            b.append(phi * factorial / b_h)
            factorial *= i + 1
            phi = phi / hh - 1 / factorial
        powers = torch.stack([ratios**i for i in range(order)])
        return powers, torch.tensor(b, device=ratios.device), b_h

    def _update(
        self, x: torch.Tensor, known: list[tuple[torch.Tensor, torch.Tensor]], t: torch.Tensor, correct: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """x at times t, and x0 there where it is corrected; from the last (times, x0) that are known."""
        ns, order, (t_now, x0) = self.noise_schedule, len(known), known[-1]
        start = ns.marginal_lambda(t_now)
        h = ns.marginal_lambda(t) - start
        earlier = [(((ns.marginal_lambda(time) - start) / h)[0], past) for time, past in known[-2::-1]]
        ratios = torch.tensor([*(ratio for ratio, _ in earlier), 1.0], device=x.device)
        r, b, b_h = self._equations(ratios, -h[0], order)
        slopes = torch.stack([(past - x0) / ratio for ratio, past in earlier], dim=1) if earlier else None
        alpha = ns.marginal_alpha(t)
        linear = _image(ns.marginal_std(t) / ns.marginal_std(t_now)) * x - _image(alpha * torch.expm1(-h[0])) * x0
        scale, half = _image(alpha * b_h), torch.tensor([0.5], device=x.device)

        def combined(weights: torch.Tensor) -> Any:
            return 0.0 if slopes is None else torch.einsum("k,bkchw->bchw", weights, slopes)

        predictor = half if order <= 2 else torch.linalg.solve(r[:-1, :-1], b[:-1])
        predicted = linear if slopes is None else linear - scale * combined(predictor)
        if not correct:
            return predicted, None
        corrector = half if order == 1 else torch.linalg.solve(r, b)
        x0_there = self.model_fn(predicted, t)
        return linear - scale * (corrector[-1] * (x0_there - x0) + combined(corrector[:-1])), x0_there

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
        assert method == "multistep"
        assert steps >= order, f"UniPC of order {order} needs as many steps, not {steps}"
        ns = self.noise_schedule
        ends = (ns.T if t_start is None else t_start, 1.0 / ns.total_N if t_end is None else t_end)
        times = [time.expand(len(x)) for time in self.get_time_steps(skip_type, *ends, steps, x.device)]
        known = [(times[0], self.model_fn(x, times[0]))]
        for step, t in enumerate(times[1:], 1):
            left = steps + 1 - step if lower_order_final else order
            x, x0 = self._update(x, known[-min(order, step, left) :], t, correct=step < steps)
            if self.after_update is not None:
                self.after_update(x, x0)
            if x0 is not None:
                known = [*known, (t, x0)][-order:]
        return x
