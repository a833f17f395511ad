"""CLIP's text model with the parameters that every one gets, whether its file has them or not."""

from __future__ import annotations

from typing import Any

import torch

_LOGIT_SCALE = 4.6055


class IntegratedCLIP(torch.nn.Module):
    def __init__(self, cls: Any, config: Any, add_text_projection: bool = False) -> None:
        super().__init__()
        self.transformer = cls(config)
        self.logit_scale = torch.nn.Parameter(torch.tensor(_LOGIT_SCALE))
        if add_text_projection:
            width = config.hidden_size
            self.transformer.text_projection = torch.nn.Linear(width, width, bias=False)


class ModuleDict(torch.nn.Module):
    def __init__(self, module_dict: dict[str, torch.nn.Module]) -> None:
        super().__init__()
        for name, module in module_dict.items():
            self.add_module(name, module)


class ObjectDict:
    def __init__(self, module_dict: dict[str, Any]) -> None:
        vars(self).update(module_dict)
