"""Exported models that take raw columns."""
