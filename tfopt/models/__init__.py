"""Networks for tables: compiled Keras models from a description of the columns."""

from tfopt.models.mlp import mlp
from tfopt.models.realmlp import realmlp, realmlp_s
from tfopt.models.tabm import tabm
from tfopt.training.ensemble import EnsembleModel, MeanOfMembers, MeanOfNetworks
from tfopt.training.label_crossentropy import LabelCrossentropy

__all__ = [
    "EnsembleModel",
    "LabelCrossentropy",
    "MeanOfMembers",
    "MeanOfNetworks",
    "mlp",
    "realmlp",
    "realmlp_s",
    "tabm",
]
