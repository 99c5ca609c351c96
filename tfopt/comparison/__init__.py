"""Folds, paired tests and the verdict."""
