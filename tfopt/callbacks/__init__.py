"""Callbacks that measure, schedule or average without disturbing the training. They need TensorFlow."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(f"tfopt.callbacks needs Keras's TensorFlow backend. Received: {keras.backend.backend()}.")

from tfopt.callbacks.activation_stats import ActivationStats
from tfopt.callbacks.dropout_effects import DropoutEffects
from tfopt.callbacks.gradient_norms import GradientNorms
from tfopt.callbacks.greedy_scale import GreedyScale
from tfopt.callbacks.hyperparameter_scheduler import HyperparameterScheduler
from tfopt.callbacks.learning_rate_logger import LearningRateLogger
from tfopt.callbacks.learning_rate_multipliers import LearningRateMultipliers
from tfopt.callbacks.non_finite_guard import NonFiniteGuard
from tfopt.callbacks.plateau_scale import PlateauScale
from tfopt.callbacks.run_log import RunLog
from tfopt.callbacks.stochastic_weight_averaging import StochasticWeightAveraging
from tfopt.callbacks.weight_stats import WeightStats

__all__ = [
    "ActivationStats",
    "DropoutEffects",
    "GradientNorms",
    "GreedyScale",
    "HyperparameterScheduler",
    "LearningRateLogger",
    "LearningRateMultipliers",
    "NonFiniteGuard",
    "PlateauScale",
    "RunLog",
    "StochasticWeightAveraging",
    "WeightStats",
]
