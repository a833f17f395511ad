"""Controls of a U-Net: linked one to the next, each loaded beside it and asked at every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from backend import memory_management
from backend.patcher.base import ModelPatcher

Control = dict[str, list[Any]]


class ControlBase:
    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or memory_management.get_torch_device()
        self.cond_hint_original: Any = None
        self.cond_hint: Any = None
        self.strength = 1.0
        self.timestep_percent_range = (0.0, 1.0)
        self.timestep_range: tuple[float, float] | None = None
        self.transformer_options: dict[str, Any] = {}
        self.previous_controlnet: Any = None

    def set_cond_hint(
        self, cond_hint: Any, strength: float = 1.0, timestep_percent_range: tuple[float, float] = (0.0, 1.0)
    ) -> Any:
        self.cond_hint_original, self.strength = cond_hint, strength
        self.timestep_percent_range = timestep_percent_range
        return self

    def pre_run(self, model: Any, percent_to_timestep_function: Callable[[float], float]) -> None:
        start, end = map(percent_to_timestep_function, self.timestep_percent_range)
        self.timestep_range = (start, end)

    def set_previous_controlnet(self, controlnet: Any) -> Any:
        self.previous_controlnet = controlnet
        return self

    def cleanup(self) -> None:
        self.cond_hint = self.timestep_range = None

    def get_models(self) -> list[ModelPatcher]:
        return [] if self.previous_controlnet is None else self.previous_controlnet.get_models()

    def inference_memory_requirements(self, dtype: Any) -> float:
        before = self.previous_controlnet
        return 0 if before is None else before.inference_memory_requirements(dtype)


class ControlNet(ControlBase):
    def __init__(self, control_model: Any, device: torch.device | None = None) -> None:
        super().__init__(device)
        self.control_model = control_model
        self.control_model_wrapped = ModelPatcher(
            control_model, load_device=self.device, offload_device=memory_management.unet_offload_device()
        )
        self.predictor: Any = None

    def copy(self) -> ControlNet:
        other = ControlNet(self.control_model, self.device)
        other.control_model_wrapped = self.control_model_wrapped
        return other

    def get_models(self) -> list[ModelPatcher]:
        return [*super().get_models(), self.control_model_wrapped]

    def pre_run(self, model: Any, percent_to_timestep_function: Callable[[float], float]) -> None:
        super().pre_run(model, percent_to_timestep_function)
        self.predictor = model.predictor

    def cleanup(self) -> None:
        super().cleanup()
        self.predictor = None

    def get_control(self, x_noisy: torch.Tensor, t: torch.Tensor, cond: dict[str, Any], batched_number: int) -> Any:
        """What this control and those before it add; None where none of them acts at this level."""
        before = self.previous_controlnet
        earlier = None if before is None else before.get_control(x_noisy, t, cond, batched_number)
        if self.timestep_range is not None and not self.timestep_range[0] >= t[0] >= self.timestep_range[1]:
            return earlier
        dtype = self.control_model.dtype
        outputs = self.control_model(
            self.predictor.calculate_input(t, x_noisy).to(dtype),
            self._hint(x_noisy).to(dtype),
            self.predictor.timestep(t).float(),
            cond["c_crossattn"].to(dtype),
        )
        *skips, middle = (output.to(x_noisy.dtype) * self.strength for output in outputs)
        return _added({"input": [], "middle": [middle], "output": skips}, earlier)

    def _hint(self, x: torch.Tensor) -> torch.Tensor:
        """The picture in the size of the latents' picture, once for each row."""
        size = (x.shape[2] * 8, x.shape[3] * 8)
        if self.cond_hint is None or self.cond_hint.shape[-2:] != size:
            hint = self.cond_hint_original.to(x.device)
            self.cond_hint = hint if hint.shape[-2:] == size else F.interpolate(hint, size=size, mode="nearest-exact")
        return self.cond_hint.expand(x.shape[0], -1, -1, -1)


def _added(control: Control, earlier: Control | None) -> Control:
    for name, outputs in (earlier or {}).items():
        mine = control[name]
        control[name] = (
            [b if a is None else a if b is None else a + b for a, b in zip(mine, outputs, strict=True)]
            if mine
            else outputs
        )
    return control


def apply_controlnet_advanced(
    unet: Any,
    controlnet: ControlNet,
    image_bchw: torch.Tensor,
    strength: float,
    start_percent: float,
    end_percent: float,
) -> Any:
    """A clone of the U-Net's patcher with one more control."""
    control = controlnet.copy().set_cond_hint(image_bchw, strength, (start_percent, end_percent))
    patched = unet.clone()
    patched.add_patched_controlnet(control)
    return patched
