"""Hyperparameter searches over Keras models."""
