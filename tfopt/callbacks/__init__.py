"""Callbacks that measure or schedule without disturbing the training."""

from tfopt.callbacks.gradient_norms import GradientNorms
from tfopt.callbacks.hyperparameter_scheduler import HyperparameterScheduler

__all__ = [
    "GradientNorms",
    "HyperparameterScheduler",
]
