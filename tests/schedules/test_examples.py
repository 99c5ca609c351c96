"""The examples in the docstrings of schedules, layers, models and schedule callbacks run and print what they say."""

import doctest
import importlib
import os
import pkgutil

import keras
import numpy as np
import pytest

import tfopt
from tfopt import layers, models, schedules

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras on saving
MODULES = [
    f"{package.__name__}.{found.name}"
    for package in (schedules, layers, models)
    for found in pkgutil.iter_modules(package.__path__)
]
CALLBACKS = [
    "hyperparameter_scheduler",
    "plateau_scale",
    "greedy_scale",
    "learning_rate_logger",
    "learning_rate_multipliers",
]
MODULES += [f"tfopt.callbacks.{name}" for name in CALLBACKS]
MODULES += ["tfopt.learning_rate_finder"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)  # whatever ran before: some examples train a model
    module = importlib.import_module(name)
    found = doctest.DocTestFinder().find(module, extraglobs={"tfopt": tfopt, "np": np, "keras": keras, "os": os})
    runner = doctest.DocTestRunner(verbose=False)
    for example in found:
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
