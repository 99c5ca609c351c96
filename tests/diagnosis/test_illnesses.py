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

# Of what each callback measures the default run has one illness; each rule's thresholds have tests without a training.
LONG = set(SICK) - {"diverged", "vanishing gradients", "dead units"}


def test_every_rule_has_its_patient(run_names):
    assert len(RULES) == len(SICK)
    assert run_names == SICK + HEALTHY
    assert all(rule.__doc__ for rule in RULES)


@pytest.mark.slow
@pytest.mark.long(*LONG)
@pytest.mark.parametrize("name", SICK)
def test_the_illness_is_named(history_of, name):
    diagnosis = diagnose(history_of(name))
    assert name in diagnosis.names
    (finding,) = (finding for finding in diagnosis.findings if finding.name == name)
    assert any(character.isdigit() for character in finding.sentence)
    assert finding.advice.endswith(".")
    assert finding.reference


@pytest.mark.slow
@pytest.mark.long("healthy convolution", "healthy recurrent")
@pytest.mark.parametrize("name", HEALTHY)
def test_the_healthy_are_left_alone(history_of, name):
    diagnosis = diagnose(history_of(name))
    assert diagnosis.names == []
    assert "Nothing wrong was found." in str(diagnosis)
