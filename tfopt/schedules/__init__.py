"""Learning-rate schedules: functions of the optimizer step, right to the last one."""

from tfopt.schedules.constant import Constant
from tfopt.schedules.cosine import CosineDecay, CosineRestarts
from tfopt.schedules.exponential import ExponentialDecay, InverseTimeDecay, MultiStepDecay, StepDecay
from tfopt.schedules.polynomial import LinearDecay, PolynomialDecay
from tfopt.schedules.registry import deserialize, from_name, get, names, serialize
from tfopt.schedules.schedule import Schedule
from tfopt.schedules.warmup import Warmup

__all__ = [
    "Constant",
    "CosineDecay",
    "CosineRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LinearDecay",
    "MultiStepDecay",
    "PolynomialDecay",
    "Schedule",
    "StepDecay",
    "Warmup",
    "deserialize",
    "from_name",
    "get",
    "names",
    "serialize",
]
