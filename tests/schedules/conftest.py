"""One example of every public schedule class, for the batteries that run over all of them."""

import inspect

import pytest

import tfopt
from tfopt import schedules

T = 60


EXAMPLES = {
    "Constant": lambda: schedules.Constant(0.3),
    "CosineDecay": lambda: schedules.CosineDecay(0.5, T, alpha=0.1, exponent=1.5, k=1.2),
    "CosineRestarts": lambda: schedules.CosineRestarts(0.5, 10, t_mul=1.5, m_mul=0.8, alpha=0.05, num_cycles=3),
    "ExponentialDecay": lambda: schedules.ExponentialDecay(0.5, 10, 0.7, end_learning_rate=0.1),
    "InverseTimeDecay": lambda: schedules.InverseTimeDecay(0.5, 10, 0.7),
    "LinearDecay": lambda: schedules.LinearDecay(0.5, T, 0.05),
    "MultiStepDecay": lambda: schedules.MultiStepDecay(0.5, [20, 40], [0.5, 0.1]),
    "PolynomialDecay": lambda: schedules.PolynomialDecay(0.5, T, 0.05, power=2.0, k=1.5),
    "StepDecay": lambda: schedules.StepDecay(0.5, 20, 0.5),
    "Warmup": lambda: schedules.Warmup(schedules.CosineDecay(1.0, 20, alpha=0.1), 10, shape="cosine"),
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
