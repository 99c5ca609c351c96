"""What is wrong with a training run, told from its logs."""

from tfopt.diagnosis.diagnose import Diagnosis, diagnose
from tfopt.diagnosis.rules import Finding
from tfopt.diagnosis.run import Run

__all__ = ["Diagnosis", "Finding", "Run", "diagnose"]
