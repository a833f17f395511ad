"""Measures of diversity over sets of images, with intervals, grids and reports."""

from .attributes import adherence, attribute_differences, attribute_entropy, entropy, joint_entropy
from .grids import image_grid
from .intervals import Interval, Replicates, bootstrap, difference, json_number, share_of_gap
from .perceptual import available_measures, distance_matrix, paired_distances, pairwise_mean
from .report import Measured, PromptImages, compare, measure, text_table

__all__ = [
    "Interval",
    "Measured",
    "PromptImages",
    "Replicates",
    "adherence",
    "attribute_differences",
    "attribute_entropy",
    "available_measures",
    "bootstrap",
    "compare",
    "difference",
    "distance_matrix",
    "entropy",
    "image_grid",
    "joint_entropy",
    "json_number",
    "measure",
    "paired_distances",
    "pairwise_mean",
    "share_of_gap",
    "text_table",
]
