"""One example of every public schedule class, for the batteries that run over all of them."""

import inspect

import pytest

import tfopt
from tfopt import schedules

T = 60


EXAMPLES = {
    "AccumulatedSteps": lambda: schedules.AccumulatedSteps(schedules.LinearDecay(0.5, T // 3, 0.1), 3),
    "Anneal": lambda: schedules.Anneal(schedules.LinearDecay(0.5, 100), 30, 20, 0.05, shape="1-sqrt"),
    "ChebyshevSteps": lambda: schedules.ChebyshevSteps(0.5, 20.0, 16),
    "Clip": lambda: schedules.Clip(schedules.LinearDecay(0.5, T), 0.1, 0.4),
    "Constant": lambda: schedules.Constant(0.3),
    "CosLog": lambda: schedules.CosLog(0.5, T, num_cycles=3),
    "CosineDecay": lambda: schedules.CosineDecay(0.5, T, alpha=0.1, exponent=1.5, k=1.2),
    "CosineRestarts": lambda: schedules.CosineRestarts(0.5, 10, t_mul=1.5, m_mul=0.8, alpha=0.05, num_cycles=3),
    "CosineWave": lambda: schedules.CosineWave(0.5, T, 1.5, 0.1),
    "CurriculumDropout": lambda: schedules.CurriculumDropout(0.5, T),
    "Cyclical": lambda: schedules.Cyclical(0.1, 0.5, 10, 15, scale="exp_range", gamma=0.99),
    "EarlyDropout": lambda: schedules.EarlyDropout(0.5, 20),
    "ExponentialDecay": lambda: schedules.ExponentialDecay(0.5, 10, 0.7, end_learning_rate=0.1),
    "FlatThenAnneal": lambda: schedules.FlatThenAnneal(0.5, T, 0.6, 0.05, shape="exponential"),
    "InverseSquareRootDecay": lambda: schedules.InverseSquareRootDecay(0.5, 10),
    "InverseTimeDecay": lambda: schedules.InverseTimeDecay(0.5, 10, 0.7),
    "LateDropout": lambda: schedules.LateDropout(0.5, 20),
    "LinearDecay": lambda: schedules.LinearDecay(0.5, T, 0.05),
    "MultiStepDecay": lambda: schedules.MultiStepDecay(0.5, [20, 40], [0.5, 0.1]),
    "NoamDecay": lambda: schedules.NoamDecay(1.0, 10, 4),
    "Noise": lambda: schedules.Noise(schedules.LinearDecay(0.5, T), 0.2, "normal", seed=3, start_step=5, end_step=T),
    "Offset": lambda: schedules.Offset(schedules.CosineDecay(0.5, 30), 12),
    "OneCycle": lambda: schedules.OneCycle(0.5, T, num_phases=3, warmup_fraction=0.25),
    "OneCycleMomentum": lambda: schedules.OneCycleMomentum(T, reach_end="last_step"),
    "PiecewiseConstant": lambda: schedules.PiecewiseConstant([10, 30], [0.5, 0.2, 0.3]),
    "PiecewiseInterpolation": lambda: schedules.PiecewiseInterpolation([5, 20, 20, 40], [0, 0.5, 0.3, 0.1], "cosine"),
    "PolynomialDecay": lambda: schedules.PolynomialDecay(0.5, T, 0.05, power=2.0, k=1.5),
    "PowerLawDecay": lambda: schedules.PowerLawDecay(0.5, T, -0.3, 0.25),
    "Product": lambda: schedules.Product([schedules.LinearDecay(0.5, T), schedules.RexDecay(1.0, 40, 0.1)]),
    "RexDecay": lambda: schedules.RexDecay(0.5, T, 0.05),
    "Scale": lambda: schedules.Scale(schedules.LinearDecay(0.5, T), 1.5),
    "Sequence": lambda: schedules.Sequence([0.1, schedules.LinearDecay(0.5, 20), schedules.StepDecay(0.2, 9)], [7, 40]),
    "StepDecay": lambda: schedules.StepDecay(0.5, 20, 0.5),
    "TanhDecay": lambda: schedules.TanhDecay(0.5, T, 0.05),
    "Warmup": lambda: schedules.Warmup(schedules.CosineDecay(1.0, 20, alpha=0.1), 10, shape="cosine"),
    "WarmupStableDecay": lambda: schedules.WarmupStableDecay(0.5, T, 10, 20, 0.01),
}


def public_classes():
    """Every schedule class that tfopt.schedules names, but the base."""
    found = {name: getattr(tfopt.schedules, name) for name in schedules.__all__}
    return sorted(name for name, item in found.items() if inspect.isclass(item) and item is not schedules.Schedule)


def pytest_generate_tests(metafunc):
    if "class_name" in metafunc.fixturenames:
        metafunc.parametrize("class_name", public_classes())


@pytest.fixture
def example(class_name):
    """A schedule of `class_name`; a class without an example here fails every battery."""
    return EXAMPLES[class_name]()


@pytest.fixture
def all_examples():
    """The schedules of all classes by name."""
    return {name: EXAMPLES[name]() for name in public_classes()}
