"""Callbacks that measure or schedule without disturbing the training."""

__all__: list[str] = []
