"""Initializers for Keras layers."""
