"""Constraints for Keras weights."""
