"""Layers whose strength can change while training: dropout and noise, gates, products, residual gains."""

from tfopt.layers.dropout import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from tfopt.layers.l0_gate import L0Gate
from tfopt.layers.product_dense import ProductDense
from tfopt.layers.residual_gain import ResidualGain

__all__ = [
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "L0Gate",
    "ProductDense",
    "ResidualGain",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]
