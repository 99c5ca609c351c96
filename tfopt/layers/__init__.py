"""Layers: dropout and noise whose strength can change, gates, and what networks for tables are made of."""

from tfopt.layers.batch_ensemble import BatchEnsembleDense, EnsembleScaling, SeparateDense
from tfopt.layers.columns import CategoryCodes, CategoryEmbedding, OneHotCategories, SelectColumns
from tfopt.layers.dropout import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from tfopt.layers.feature_scaling import FeatureScaling, ParametricActivation
from tfopt.layers.l0_gate import L0Gate
from tfopt.layers.neural_tangent_dense import NeuralTangentDense
from tfopt.layers.periodic_embedding import PeriodicEmbedding
from tfopt.layers.piecewise_linear_embedding import PiecewiseLinearEmbedding
from tfopt.layers.product_dense import ProductDense
from tfopt.layers.residual_gain import ResidualGain
from tfopt.layers.robust_scaling import RobustScaling, TargetScaling

__all__ = [
    "AlphaDropout",
    "BatchEnsembleDense",
    "CategoryCodes",
    "CategoryEmbedding",
    "Dropout",
    "EnsembleScaling",
    "FeatureScaling",
    "GaussianDropout",
    "GaussianNoise",
    "L0Gate",
    "NeuralTangentDense",
    "OneHotCategories",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "ProductDense",
    "ResidualGain",
    "RobustScaling",
    "SelectColumns",
    "SeparateDense",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "TargetScaling",
]
