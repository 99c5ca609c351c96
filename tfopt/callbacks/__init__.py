"""Callbacks that measure or schedule without disturbing the training."""

from tfopt.callbacks.gradient_norms import GradientNorms

__all__ = ["GradientNorms"]
