"""Arms differ by one part, every part changes the network, and gains have the sign of the claims."""

import keras
import numpy as np
import pytest

from tfopt import layers


@pytest.fixture(scope="module")
def names(recipe_names):
    return recipe_names("tabular_networks")


def test_each_arm_has_one_part_less_than_all_or_one_more_than_none(names):
    arms, parts = names["ARMS"], set(names["PARTS"])
    for part in parts:
        assert set(arms[f"without {part}"]) == parts - {part}
        assert arms[f"{part} alone"] == (part,)
    assert len(arms) == 2 + 2 * len(parts)


def test_a_part_is_what_it_is_called(names, monkeypatch):
    found = {
        "waves": lambda model: any(isinstance(layer, layers.PeriodicEmbedding) for layer in model.layers),
        "input factors": lambda model: any(isinstance(layer, layers.FeatureScaling) for layer in model.layers),
        "neural tangent": lambda model: any(isinstance(layer, layers.NeuralTangentDense) for layer in model.layers),
        "trained activations": lambda model: any(isinstance(one, layers.ParametricActivation) for one in model.layers),
        "dropout": lambda model: any(isinstance(layer, layers.Dropout) for layer in model.layers),
        "cycles": lambda model: float(model.optimizer.learning_rate) == 0,  # a line begins at its top
    }
    for part in found:
        monkeypatch.setitem(names["ARMS"], part, (part,))
        model = names["network"]({"arm": part, "learning_rate": 0.01})
        assert [other for other in found if found[other](model)] == [part]


def test_a_neural_tangent_layer_begins_as_hes(names, monkeypatch):
    monkeypatch.setitem(names["ARMS"], "tangent", ("neural tangent",))
    keras.utils.set_random_seed(0)
    model = names["network"]({"arm": "tangent", "learning_rate": 0.01})
    first = next(layer for layer in model.layers if isinstance(layer, layers.NeuralTangentDense))
    kernel = first.kernel.numpy() / np.sqrt(first.kernel.shape[0])
    assert kernel.std() == pytest.approx(np.sqrt(2 / first.kernel.shape[0]), rel=0.1)


def test_a_part_that_helps_takes_something_off_the_error(names):
    errors, part = names["errors"], names["PARTS"][1]
    pairs = {"in-all": ("all parts", f"without {part}"), "alone": (f"{part} alone", "plain")}
    for end, (one, other) in pairs.items():
        evidence = names["claims"][f"tabular-{part.replace(' ', '-')}-{end}"]
        assert (evidence.not_so < 0.5) == (np.mean(errors[one]) < np.mean(errors[other]))
