"""Callbacks that measure or schedule without disturbing the training."""
