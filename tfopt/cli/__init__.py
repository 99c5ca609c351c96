"""The command line. Nothing here imports TensorFlow, scikit-learn, pandas or matplotlib before a command runs."""

from tfopt.cli.main import main

__all__ = ["main"]
