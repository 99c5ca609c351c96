"""Layers whose hyperparameters can change while training."""
