"""Trains few-step students of a diffusion model that keep its diversity: DDIL over the usual methods of distillation.

Knows tensors and networks alone, no host: a trainer runs in an environment and a process of its own.
"""
