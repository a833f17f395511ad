"""Controls of a U-Net: linked one to the next, each loaded beside it and asked at every call."""

from __future__ import annotations

from typing import Any


class ControlBase:
    """One control. Of a class of an extension's, whose `get_control` says what it and those before it add."""

    previous_controlnet: Any = None

    def set_previous_controlnet(self, controlnet: Any) -> Any:
        self.previous_controlnet = controlnet
        return self

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        """Before the first step."""

    def cleanup(self) -> None:
        """After the last one."""

    def get_models(self) -> list[Any]:
        """Patchers to be loaded beside the U-Net."""
        return self.previous_controlnet.get_models() if self.previous_controlnet else []

    def inference_memory_requirements(self, dtype: Any) -> float:
        return self.previous_controlnet.inference_memory_requirements(dtype) if self.previous_controlnet else 0
