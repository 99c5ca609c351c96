"""Each rule names the model made ill for it, and all keep silent on the healthy ones."""

import pytest

from tfopt.diagnosis import diagnose
from tfopt.diagnosis.rules import RULES

SICK = [
    "diverged", "exploding gradients", "vanishing gradients", "symmetric initialisation", "learning rate too high",
    "learning rate too low", "clipping always active", "clipping never active", "dead units", "dropout too strong",
    "dropout without effect", "over-regularised", "overfitting", "noise-dominated steps", "schedule ends too early",
]  # fmt: skip
HEALTHY = ["healthy dense", "healthy convolution", "healthy recurrent"]

DEAR = ("overfitting", "dropout too strong", "noise-dominated steps", "healthy recurrent")


def cases(names):
    """What trains longest is left to `-m long`; each rule's thresholds have tests of their own, without a training."""
    return [pytest.param(name, marks=pytest.mark.long) if name in DEAR else name for name in names]


def test_every_rule_has_its_patient(run_names):
    assert len(RULES) == len(SICK)
    assert run_names == SICK + HEALTHY
    assert all(rule.__doc__ for rule in RULES)


@pytest.mark.slow
@pytest.mark.parametrize("name", cases(SICK))
def test_the_illness_is_named(history_of, name):
    diagnosis = diagnose(history_of(name))
    assert name in diagnosis.names
    (finding,) = (finding for finding in diagnosis.findings if finding.name == name)
    assert any(character.isdigit() for character in finding.sentence)
    assert finding.advice.endswith(".")
    assert finding.reference


@pytest.mark.slow
@pytest.mark.parametrize("name", cases(HEALTHY))
def test_the_healthy_are_left_alone(history_of, name):
    diagnosis = diagnose(history_of(name))
    assert diagnosis.names == []
    assert "Nothing wrong was found." in str(diagnosis)
