"""Diversity and adherence from attribute values that were read from images.

`values` maps an attribute's name to one integer per image, int [n]. Nothing here knows what the attributes mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import log

import numpy as np

Values = Mapping[str, np.ndarray]


def entropy(values: np.ndarray, labels: int | None = None, corrected: bool = True) -> float:
    """Entropy in nats of the distribution that n observations int [n] come from.

    The plug-in estimate is low by about (K - 1) / 2n for K values seen; `corrected` adds that (Miller and Madow 1955).
    With `labels`, the number of possible values, the result never exceeds ln(labels). No observations: nan.
    """
    n = len(values)
    if n == 0:
        return float("nan")
    counts = np.unique(np.asarray(values), return_counts=True)[1]
    if len(counts) == 1:
        return 0.0
    shares = counts / n
    nats = float(-(shares * np.log(shares)).sum())
    if corrected:
        nats += (len(counts) - 1) / (2 * n)
    return nats if labels is None else min(nats, log(labels))


def attribute_entropy(values: Values, free_attributes: Mapping[str, int], corrected: bool = True) -> float:
    """Mean over the free attributes of each one's own (marginal) entropy, in nats.

    `free_attributes` maps what a prompt leaves open to its number of possible values. The joint entropy of many
    attributes cannot be estimated from 64 seeds, which show at most ln 64 = 4.16 nats; the marginals can.
    """
    if not free_attributes:
        raise ValueError("no free attributes were given: a prompt that fixes everything has no diversity to measure")
    return float(np.mean([entropy(values[name], labels, corrected) for name, labels in free_attributes.items()]))


def joint_entropy(values: Values, names: Collection[str], corrected: bool = False) -> float:
    """Entropy in nats of the combinations of the named attributes; from n images at most ln n is seen, uncorrected."""
    rows = np.stack([np.asarray(values[name]) for name in names], axis=1)
    return entropy(np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1), corrected=corrected)


def attribute_differences(values: Values, names: Collection[str]) -> np.ndarray:
    """Share of the named attributes in which two images differ: float [n, n].

    Its mean over pairs is an estimate of the mean Gini-Simpson diversity without bias at any n.
    """
    rows = np.stack([np.asarray(values[name]) for name in names], axis=1)
    return (rows[:, None, :] != rows[None, :, :]).mean(axis=2)


def adherence(values: Values, required: Mapping[str, int]) -> np.ndarray:
    """Which images show every required attribute value: bool [n]; all of them when nothing is required."""
    if not values:
        raise ValueError("no attribute values were given, so adherence cannot be told")
    n = len(next(iter(values.values())))
    follows = np.ones(n, dtype=bool)
    for name, value in required.items():
        follows &= np.asarray(values[name]) == value
    return follows
