"""What a build shows of its hyperparameters, and what it hides."""

import gc
import resource

import keras
import keras_tuner
import numpy as np
import pytest

from tfopt.training.builds import BuildRegistry, ZeroSlots, take_snapshot
from tfopt.training.fits import FitRequest
from tfopt.training.rows import Examples

layers = keras.layers


@pytest.fixture
def hidden(rows):
    """Return the function of a build and its configurations: what is said of it, and how many builds it took."""

    def find(build, *configurations):
        builds = []

        def counted(hp):
            builds.append(hp)
            return build(hp)

        requests = [FitRequest(hp, 1, 1) for hp in configurations]
        registry = BuildRegistry(counted, Examples(*rows))
        built = list(zip(requests, registry.snapshots(requests), strict=True))
        return registry.without_effect(built), len(builds) - len(requests)

    return find


def network(hp, *parts, seed=1):
    kernel = keras.initializers.GlorotUniform(seed=seed)
    model = keras.Sequential([keras.Input((16,)), *parts, layers.Dense(4, kernel_initializer=kernel)])
    model.compile(keras.optimizers.SGD(hp.get("lr", 0.01)), "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize(
    "build",
    [
        lambda hp: network({"lr": hp["number"]}),  # a variable of the optimizer
        lambda hp: network(hp, layers.Dropout(hp["number"])),
        lambda hp: network(hp, layers.Dense(4, kernel_regularizer=keras.regularizers.L2(hp["number"]))),
        lambda hp: network({"lr": keras.optimizers.schedules.CosineDecay(hp["number"], 9)}),
    ],
)
def test_a_number_of_the_model_is_seen_without_a_build(build, hidden):
    assert hidden(build, {"number": 0.3}, {"number": 0.7}) == (None, 0)


@pytest.mark.parametrize(
    "build",
    [
        lambda hp: network({"lr": 2 * hp["number"]}),  # a number that was computed
        lambda hp: network(hp, layers.Dense(4, kernel_initializer=keras.initializers.Constant(hp["number"]))),
        lambda hp: network(hp, layers.Dense(round(10 * hp["number"]))),
        lambda hp: network(hp, *[layers.ReLU()] * (hp["number"] > 0.5)),
    ],
)
def test_a_number_that_acts_elsewhere_is_found_by_a_build(build, hidden):
    said, builds = hidden(build, {"number": 0.3}, {"number": 0.7})
    assert said is None
    assert builds > 0


def test_a_number_that_nothing_shows_is_hidden(hidden):
    assert hidden(network, {"number": 0.3}, {"number": 0.7})[0].startswith("changing 'number' changes nothing")


def test_a_value_that_another_number_happens_to_have_shows_nothing(hidden):
    """In the first configuration the rate is equal to it, in the second it is not."""

    def build(hp):
        return network(hp, layers.Dropout(0.3))

    assert hidden(build, {"number": 0.3}, {"number": 0.7})[0].startswith("changing 'number' changes nothing")


def test_places_must_be_the_same_in_all_configurations(hidden):
    def build(hp):
        rates = (0.3, 0.5) if hp["number"] == 0.3 else (0.5, 0.7)
        return network(hp, *map(layers.Dropout, rates))

    assert hidden(build, {"number": 0.3}, {"number": 0.7})[1] > 0


def test_whole_numbers_are_always_tried(hidden):
    def build(hp):
        return network({"lr": keras.optimizers.schedules.CosineDecay(0.1, hp["number"])})

    said, builds = hidden(build, {"number": 5}, {"number": 7})
    assert said is None
    assert builds > 0


def test_a_layer_that_few_configurations_have_is_found(hidden):
    """As `units_1` in a loop over layers: the last three configurations have one layer."""

    def build(hp):
        return network(hp, *(layers.Dense(hp[f"units_{k}"]) for k in range(hp["depth"])))

    depths = (2, 1, 1, 1, 1)
    configurations = [{"depth": depth, "units_0": 4, "units_1": 5 + place} for place, depth in enumerate(depths)]
    assert hidden(build, *configurations)[0] is None


def test_what_a_conditional_scope_makes_active_has_its_default(hidden):
    def build(hp):
        kind = hp.Choice("kind", ["narrow", "wide"])
        with hp.conditional_scope("kind", ["narrow"]):
            units = hp.Int("few", 2, 4)
        with hp.conditional_scope("kind", ["wide"]):
            units = hp.Int("many", 8, 16) if kind == "wide" else units
        return network({}, layers.Dense(units))

    one = keras_tuner.HyperParameters()
    build(one)
    other = one.copy()
    other.values = {"kind": "wide", "many": 9}
    assert hidden(build, one, other) == (None, 1)


def test_a_configuration_that_only_was_tried_may_fail(hidden):
    def build(hp):
        if hp["units"] % hp["heads"]:
            raise ValueError("the heads must divide the units")
        return network({}, layers.Dense(hp["units"]), layers.Dense(hp["heads"]))

    allowed = [{"units": units, "heads": heads} for units, heads in ((4, 4), (9, 3), (12, 4))]
    assert hidden(build, *allowed[:2])[0].startswith("changing 'units', 'heads' changes nothing")
    assert hidden(build, *allowed)[0] is None


@pytest.mark.parametrize("momenta", [(0.9, 0.0, 0.9), (0.0, 0.9, 0.0)])
@pytest.mark.parametrize("kind", [keras.optimizers.SGD, keras.optimizers.RMSprop])
def test_slots_that_a_momentum_of_zero_does_without(kind, momenta, rows):
    def build(hp):
        model = network(hp)
        model.compile(kind(0.1, momentum=hp["momentum"]), "sparse_categorical_crossentropy")
        return model

    examples, slots = Examples(*rows), ZeroSlots()
    for momentum in momenta:
        request = FitRequest({"momentum": momentum}, 1, 1)
        quick, whole = take_snapshot(build, request, examples, slots)[0], take_snapshot(build, request, examples)[0]
        assert len(quick.state) == len(whole.state)
        assert all(map(np.array_equal, quick.state, whole.state))


@pytest.mark.slow
def test_snapshots_leave_no_memory_behind(mlp_model, rows):
    """Stock: 60 of them would leave 30 MB, a kernel for every name."""
    build, (hp, *_) = mlp_model
    examples = Examples(*rows)

    def cast(number):
        for seed in range(number):
            take_snapshot(build, FitRequest(hp, seed, 1), examples)
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20

    before = cast(10)
    assert cast(60) - before < 10


def test_a_convolution_multiplies_by_its_weights_at_every_place(rows):
    parts = [layers.Reshape((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten()]
    snapshot, model, _ = take_snapshot(lambda hp: network(hp, *parts), FitRequest({}, 1, 1), Examples(*rows))
    convolution = 2 * (9 + 1)
    assert snapshot.shared == 2 * 2 * convolution - convolution
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == convolution + 8 * 4 + 4
