"""UniPC, multistep, predicting x0 (Zhao et al. 2023, "UniPC: a unified predictor-corrector framework for fast sampling of diffusion
models"), with B(h) = h ("bh1") or exp(h) - 1 ("bh2"). Times t in (0, 1]; lambda is half the logarithm of the signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable

import torch


def _interpolate(x: torch.Tensor, xp: torch.Tensor, fp: torch.Tensor) -> torch.Tensor:
    """Piecewise linear through (xp, fp), xp rising; the outermost pieces go on beyond the ends."""
    i = torch.searchsorted(xp, x.contiguous()).clamp(1, len(xp) - 1)
    return fp[i - 1] + (x - xp[i - 1]) * (fp[i] - fp[i - 1]) / (xp[i] - xp[i - 1])


class NoiseScheduleVP:
    """A discrete schedule made continuous: step n of N stands at t = (n + 1) / N."""

    T = 1.0

    def __init__(self, alphas_cumprod: torch.Tensor) -> None:
        self.log_alphas = 0.5 * torch.log(alphas_cumprod)
        self.total_N = len(alphas_cumprod)
        self.times = torch.linspace(0.0, 1.0, self.total_N + 1)[1:].to(alphas_cumprod)

    def log_alpha(self, t: torch.Tensor) -> torch.Tensor:
        return _interpolate(t.reshape(-1), self.times.to(t), self.log_alphas.to(t))

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.log_alpha(t))

    def std(self, t: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(1.0 - torch.exp(2.0 * self.log_alpha(t)))

    def lambda_(self, t: torch.Tensor) -> torch.Tensor:
        log_alpha = self.log_alpha(t)
        return log_alpha - 0.5 * torch.log(1.0 - torch.exp(2.0 * log_alpha))

    def inverse_lambda(self, lamb: torch.Tensor) -> torch.Tensor:
        log_alpha = -0.5 * torch.logaddexp(torch.zeros((1,)).to(lamb), -2.0 * lamb)
        return _interpolate(log_alpha.reshape(-1), self.log_alphas.flip(0).to(lamb), self.times.flip(0).to(lamb))

    def time_steps(self, skip_type: str, start: float, end: float, n: int, device: torch.device) -> torch.Tensor:
        """Times [n + 1] from start to end, spaced by "time_uniform", "time_quadratic" or "logSNR"."""
        if skip_type == "logSNR":
            first, last = (float(self.lambda_(torch.tensor([x]))) for x in (start, end))
            return self.inverse_lambda(torch.linspace(first, last, n + 1).to(device))
        if skip_type == "time_uniform":
            return torch.linspace(start, end, n + 1).to(device)
        if skip_type == "time_quadratic":
            return torch.linspace(start**0.5, end**0.5, n + 1).pow(2).to(device)
        raise ValueError(f"Unsupported skip_type {skip_type}, need to be 'logSNR' or 'time_uniform' or 'time_quadratic'")


def _image(v: torch.Tensor) -> torch.Tensor:
    return v[:, None, None, None]


class UniPC:
    """`eps_model(x, t)` predicts noise at times t [B]; `after_update(x, x0 or None)` is called after each step."""

    def __init__(
        self, eps_model: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], schedule: NoiseScheduleVP, variant: str,
        after_update: Callable[[torch.Tensor, torch.Tensor | None], None],
    ) -> None:
        if variant not in ("bh1", "bh2"):
            raise ValueError(f"UniPC variant {variant!r} is not part of the embedded WebUI; choose bh1 or bh2.")
        self.eps_model, self.ns, self.variant, self.after_update = eps_model, schedule, variant, after_update

    def x0(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        noise = self.eps_model(x, t)
        return (x - _image(self.ns.std(t)) * noise) / _image(self.ns.alpha(t))

    def _coefficients(self, rks: torch.Tensor, hh: torch.Tensor, order: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
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
        self, x: torch.Tensor, x0s: list[torch.Tensor], times: list[torch.Tensor], t: torch.Tensor, order: int, correct: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        ns, t0, x0 = self.ns, times[-1], x0s[-1]
        h = ns.lambda_(t) - ns.lambda_(t0)
        rks, differences = [], []
        for i in range(1, order):
            rk = ((ns.lambda_(times[-(i + 1)]) - ns.lambda_(t0)) / h)[0]
            rks.append(rk)
            differences.append((x0s[-(i + 1)] - x0) / rk)
        r, b, b_h = self._coefficients(torch.tensor([*rks, 1.0], device=x.device), -h[0], order)
        d1s = torch.stack(differences, dim=1) if differences else None
        base = _image(ns.std(t) / ns.std(t0)) * x - _image(ns.alpha(t) * torch.expm1(-h[0])) * x0
        scale = _image(ns.alpha(t) * b_h)

        x_t = base
        if d1s is not None:
            rhos = torch.tensor([0.5], device=b.device) if order == 2 else torch.linalg.solve(r[:-1, :-1], b[:-1])
            x_t = base - scale * torch.einsum("k,bkchw->bchw", rhos, d1s)
        if not correct:
            return x_t, None
        rhos = torch.tensor([0.5], device=b.device) if order == 1 else torch.linalg.solve(r, b)
        x0_t = self.x0(x_t, t)
        correction = rhos[-1] * (x0_t - x0)
        if d1s is not None:
            correction = correction + torch.einsum("k,bkchw->bchw", rhos[:-1], d1s)
        return base - scale * correction, x0_t

    @torch.no_grad()
    def sample(self, x: torch.Tensor, steps: int, t_start: float | None, order: int, skip_type: str, lower_order_final: bool) -> torch.Tensor:
        """The first steps are of lower order; the last is not corrected. AssertionError where there are fewer steps than the order."""
        assert steps >= order, "UniPC order must be < sampling steps"
        times = self.ns.time_steps(skip_type, self.ns.T if t_start is None else float(t_start), 1.0 / self.ns.total_N, steps, x.device)
        t_list = [times[0].expand(x.shape[0])]
        x0_list = [self.x0(x, t_list[0])]
        for step in range(1, steps + 1):
            t = times[step].expand(x.shape[0])
            if step < order:
                this_order = step
            else:
                this_order = min(order, steps + 1 - step) if lower_order_final else order
            x, x0_t = self._update(x, x0_list, t_list, t, this_order, correct=step < steps)
            self.after_update(x, x0_t)
            if x0_t is not None:
                x0_list = [*x0_list, x0_t][-order:]
                t_list = [*t_list, t][-order:]
        return x
