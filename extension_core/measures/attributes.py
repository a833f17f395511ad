"""Diversity and adherence from attribute values that were read from images.

`values` maps an attribute's name to one integer per image, int [n]. Nothing here knows what the attributes mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = Mapping[str, NDArray[Any]]


def entropies(
    values: NDArray[Any], weights: NDArray[Any], labels: int | None = None, corrected: bool = True
) -> NDArray[Any]:
    """Entropies in nats, float [r], of r weighted sets of n observations.

    values int [n], each 0 or more; weights [r, n] say how often each observation counts (a bootstrap draw). The
    plug-in estimate is low by about (K - 1) / 2n for K values seen; `corrected` adds that (Miller and Madow 1955). With
    `labels`, the number of possible values, no entropy exceeds ln(labels). No observations: nan.
    """
    values, totals = np.asarray(values), weights.sum(axis=1)
    counts = weights @ (values[:, None] == np.unique(values)[None, :]).astype(np.float64)
    shares = counts / np.where(totals > 0, totals, np.nan)[:, None]
    nats = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1)
    if corrected:
        nats = nats + ((counts > 0).sum(axis=1) - 1) / (2 * np.maximum(totals, 1))
    nats = np.where(totals > 0, np.maximum(nats, 0.0), np.nan)
    return nats if labels is None else np.minimum(nats, log(labels))


def entropy(values: NDArray[Any], labels: int | None = None, corrected: bool = True) -> float:
    """Entropy in nats of the distribution that n observations int [n] come from, as `entropies` estimates it."""
    return float(entropies(values, np.ones((1, len(values))), labels, corrected)[0])


def attribute_entropies(values: Values, free_attributes: Mapping[str, int], weights: NDArray[Any]) -> NDArray[Any]:
    """`attribute_entropy` of r weighted sets, weights [r, n]: float [r]."""
    if not free_attributes:
        raise ValueError("no free attributes were given: a prompt that fixes everything has no diversity to measure")
    return np.mean([entropies(values[name], weights, labels) for name, labels in free_attributes.items()], axis=0)


def attribute_entropy(values: Values, free_attributes: Mapping[str, int]) -> float:
    """Mean over the free attributes of each one's own (marginal) entropy, in nats, corrected for few images.

    `free_attributes` maps what a prompt leaves open to its number of possible values. The joint entropy of many
    attributes cannot be estimated from 64 seeds, which show at most ln 64 = 4.16 nats; the marginals can.
    """
    n = len(next(iter(values.values()))) if values else 0
    return float(attribute_entropies(values, free_attributes, np.ones((1, n)))[0])


def joint_entropy(values: Values, names: Collection[str], corrected: bool = False) -> float:
    """Entropy in nats of the combinations of the named attributes; from n images at most ln n is seen, uncorrected."""
    rows = np.stack([np.asarray(values[name]) for name in names], axis=1)
    return entropy(np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1), corrected=corrected)


def attribute_differences(values: Values, names: Collection[str]) -> NDArray[Any]:
    """Share of the named attributes in which two images differ: float [n, n].

    Its mean over pairs is an estimate of the mean Gini-Simpson diversity without bias at any n.
    """
    rows = np.stack([np.asarray(values[name]) for name in names], axis=1)
    return (rows[:, None, :] != rows[None, :, :]).mean(axis=2)


def adherence(values: Values, required: Mapping[str, int]) -> NDArray[Any]:
    """Which images show every required attribute value: bool [n]; all of them when nothing is required."""
    if not values:
        raise ValueError("no attribute values were given, so adherence cannot be told")
    n = len(next(iter(values.values())))
    follows = np.ones(n, dtype=bool)
    for name, value in required.items():
        follows &= np.asarray(values[name]) == value
    return follows
