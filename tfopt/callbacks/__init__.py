"""Callbacks that measure or schedule without disturbing the training."""

from tfopt.callbacks.dropout_effects import DropoutEffects
from tfopt.callbacks.gradient_norms import GradientNorms
from tfopt.callbacks.hyperparameter_scheduler import HyperparameterScheduler
from tfopt.callbacks.non_finite_guard import NonFiniteGuard
from tfopt.callbacks.run_log import RunLog

__all__ = [
    "DropoutEffects",
    "GradientNorms",
    "HyperparameterScheduler",
    "NonFiniteGuard",
    "RunLog",
]
