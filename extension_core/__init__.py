"""Diversity Distillation: the base model runs the first step, a distilled model the rest."""

__version__ = "0.1.0"
