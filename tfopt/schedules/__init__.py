"""Learning-rate schedules: functions of the optimizer step, right to the last one."""

from tfopt.schedules.composition import AccumulatedSteps, Anneal, Clip, Offset, Product, Scale, Sequence
from tfopt.schedules.constant import Constant
from tfopt.schedules.cosine import CosineDecay, CosineRestarts, CosLog
from tfopt.schedules.cyclical import Cyclical
from tfopt.schedules.dropout import CurriculumDropout, EarlyDropout, LateDropout
from tfopt.schedules.exponential import ExponentialDecay, InverseTimeDecay, MultiStepDecay, StepDecay
from tfopt.schedules.fitting import for_fit, num_updates
from tfopt.schedules.noise import Noise
from tfopt.schedules.one_cycle import OneCycle, OneCycleMomentum
from tfopt.schedules.piecewise import PiecewiseConstant, PiecewiseInterpolation
from tfopt.schedules.polynomial import LinearDecay, PolynomialDecay
from tfopt.schedules.power import InverseSquareRootDecay, NoamDecay, PowerLawDecay
from tfopt.schedules.refinement import refine
from tfopt.schedules.registry import deserialize, from_name, get, names, serialize
from tfopt.schedules.resuming import resume_from_weights
from tfopt.schedules.schedule import Schedule
from tfopt.schedules.shapes import (
    ChebyshevSteps,
    CosineWave,
    FlatThenAnneal,
    RexDecay,
    TanhDecay,
    WarmupStableDecay,
)
from tfopt.schedules.warmup import Warmup

__all__ = [
    "AccumulatedSteps",
    "Anneal",
    "ChebyshevSteps",
    "Clip",
    "Constant",
    "CosLog",
    "CosineDecay",
    "CosineRestarts",
    "CosineWave",
    "CurriculumDropout",
    "Cyclical",
    "EarlyDropout",
    "ExponentialDecay",
    "FlatThenAnneal",
    "InverseSquareRootDecay",
    "InverseTimeDecay",
    "LateDropout",
    "LinearDecay",
    "MultiStepDecay",
    "NoamDecay",
    "Noise",
    "Offset",
    "OneCycle",
    "OneCycleMomentum",
    "PiecewiseConstant",
    "PiecewiseInterpolation",
    "PolynomialDecay",
    "PowerLawDecay",
    "Product",
    "RexDecay",
    "Scale",
    "Schedule",
    "Sequence",
    "StepDecay",
    "TanhDecay",
    "Warmup",
    "WarmupStableDecay",
    "deserialize",
    "for_fit",
    "from_name",
    "get",
    "names",
    "num_updates",
    "refine",
    "resume_from_weights",
    "serialize",
]
