"""Penalties for Keras layers."""
