"""Optimizers, schedules and penalties, every number of theirs a member's own, against Keras's fits."""

import keras
import numpy as np
import pytest

import tfopt
from tfopt.training.fits import FitRequest, Monitor
from tfopt.training.model_walk import ModelWalk
from tfopt.training.numpy_stack.schedules import ScheduleValues
from tfopt.training.plain import PlainEngine

layers, optimizers, regularizers, schedules = (
    keras.layers,
    keras.optimizers,
    keras.regularizers,
    keras.optimizers.schedules,
)


def dense(hp):
    return layers.Dense(8, "tanh")


def members(**varied):
    """Return two configurations, or as many as a number has values."""
    number = max(len(values) for values in varied.values())
    return [{name: values[i % len(values)] for name, values in varied.items()} for i in range(number)]


SMALL, LARGE = (0.01, 0.003), (0.1, 0.03)
OPTIMIZERS = {
    "SGD": (lambda hp: optimizers.SGD(hp["lr"]), members(lr=LARGE)),
    "SGD, momentum": (lambda hp: optimizers.SGD(hp["lr"], hp["m"]), members(lr=LARGE, m=(0.9, 0.5))),
    "SGD, nesterov": (lambda hp: optimizers.SGD(hp["lr"], hp["m"], nesterov=True), members(lr=LARGE, m=(0.9, 0.5))),
    "SGD, momentum 0 beside 0.9": (lambda hp: optimizers.SGD(0.1, hp["m"]), members(m=(0.9, 0.0, 0.5))),
    "SGD, momentum 0 before 0.9": (lambda hp: optimizers.SGD(0.1, hp["m"]), members(m=(0.0, 0.9, 0.0))),
    "SGD, weight decay": (
        lambda hp: optimizers.SGD(0.1, 0.9, weight_decay=hp["d"]),
        members(d=(0.1, 0.02)),
    ),
    "RMSprop": (
        lambda hp: optimizers.RMSprop(hp["lr"], rho=hp["rho"], epsilon=hp["e"]),
        members(lr=SMALL, rho=(0.9, 0.7), e=(1e-7, 1e-3)),
    ),
    "RMSprop, momentum": (
        lambda hp: optimizers.RMSprop(hp["lr"], momentum=hp["m"]),
        members(lr=SMALL, m=(0.9, 0.0, 0.5)),
    ),
    "RMSprop, weight decay": (lambda hp: optimizers.RMSprop(0.01, weight_decay=hp["d"]), members(d=(0.1, 0.02))),
    "Adam": (
        lambda hp: optimizers.Adam(hp["lr"], beta_1=hp["b1"], beta_2=hp["b2"], epsilon=hp["e"]),
        members(lr=SMALL, b1=(0.9, 0.5), b2=(0.999, 0.9), e=(1e-7, 1e-2)),
    ),
    "Adam, weight decay": (lambda hp: optimizers.Adam(0.01, weight_decay=hp["d"]), members(d=(0.1, 0.02))),
    "AdamW": (lambda hp: optimizers.AdamW(hp["lr"], weight_decay=hp["d"]), members(lr=SMALL, d=(1.0, 0.02))),
}


@pytest.mark.long("SGD, momentum", "SGD, momentum 0 before 0.9", "RMSprop, weight decay")
@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, network, check):
    make, configurations = OPTIMIZERS[name]
    check(network(dense, optimizer=make), configurations, engine={"validation": None})


A, B, STEPS = (0.1, 0.05), (0.03, 0.02), (4, 3)
SCHEDULES = {
    "ExponentialDecay": (lambda hp: schedules.ExponentialDecay(hp["a"], hp["n"], hp["b"]), members(a=A, b=B, n=STEPS)),
    "ExponentialDecay, staircase": (
        lambda hp: schedules.ExponentialDecay(hp["a"], hp["n"], 0.5, staircase=True),
        members(a=A, n=STEPS),
    ),
    "InverseTimeDecay": (lambda hp: schedules.InverseTimeDecay(hp["a"], hp["n"], hp["b"]), members(a=A, b=B, n=STEPS)),
    "PolynomialDecay": (
        lambda hp: schedules.PolynomialDecay(hp["a"], hp["n"], hp["b"], power=hp["p"]),
        members(a=A, b=B, n=STEPS, p=(1.0, 2.0)),
    ),
    "PiecewiseConstantDecay": (
        lambda hp: schedules.PiecewiseConstantDecay([hp["n"]], [hp["a"], hp["b"]]),
        members(a=A, b=B, n=STEPS),
    ),
    "CosineDecay": (lambda hp: schedules.CosineDecay(hp["a"], hp["n"], hp["b"]), members(a=A, b=B, n=STEPS)),
    "CosineDecay, warm-up": (  # takes one step at a time
        lambda hp: schedules.CosineDecay(hp["b"], hp["n"], warmup_target=hp["a"], warmup_steps=3),
        members(a=A, b=B, n=STEPS),
    ),
    "CosineDecayRestarts": (lambda hp: schedules.CosineDecayRestarts(hp["a"], hp["n"]), members(a=A, n=STEPS)),
    "tfopt's LinearDecay": (
        lambda hp: tfopt.schedules.LinearDecay(hp["a"], hp["n"], hp["b"]),
        members(a=A, b=B, n=STEPS),
    ),
} | {
    f"tfopt's {name}, warm-up": (
        lambda hp, name=name: tfopt.schedules.from_name(name, hp["a"], hp["n"], warmup_fraction=0.3),
        members(a=A, n=(9, 5)),
    )
    for name in ("cosine", "step")  # every name is looked up below
}


def walked(schedule):
    """Return the walk through a model whose learning rate is this schedule."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    model.compile(optimizers.SGD(schedule), "mse")
    return ModelWalk(model)


@pytest.mark.parametrize("name", tfopt.schedules.names())
def test_every_schedule_of_tfopt_is_looked_up_as_it_says_itself(name):
    made = [tfopt.schedules.from_name(f"warmup_{name}", a, n) for a, n in ((0.1, 40), (0.05, 30))]
    configs = [tfopt.schedules.serialize(schedule) for schedule in made]
    walk, other = map(walked, made)
    varying = frozenset(path for path, number in walk.numbers.items() if other.numbers[path] != number)
    assert varying
    values = ScheduleValues(made[0], walk, varying)
    assert values.mismatch(other.numbers) is None
    values = values.of([walk.numbers, other.numbers])
    fresh = [tfopt.schedules.deserialize(config) for config in configs]
    expected = [np.asarray(schedule(np.arange(45))) for schedule in fresh]
    looked_up = [values.at(step)[:, 0] for step in range(45)]
    np.testing.assert_allclose(looked_up, np.transpose(expected), rtol=2e-7)


@pytest.mark.long("ExponentialDecay", "InverseTimeDecay", "CosineDecay", "tfopt's cosine, warm-up")
@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name, network, check):
    make, configurations = SCHEDULES[name]
    build = network(dense, optimizer=lambda hp: optimizers.SGD(make(hp), momentum=0.5))
    check(build, configurations, engine={"validation": None})


def test_schedules_far_along(network, check, monkeypatch):
    """Rates are looked up in blocks: here of two steps."""
    from tfopt.training.numpy_stack import schedules as module

    monkeypatch.setattr(module, "_AHEAD", 2)
    build = network(dense, optimizer=lambda hp: optimizers.SGD(schedules.CosineDecay(hp["a"], 9)))
    check(build, members(a=A), epochs=3)


L1, L2 = (0.01, 0.001), (0.02, 0.1)
PENALTIES = {
    "L1": (lambda hp: regularizers.L1(hp["l1"]), members(l1=L1)),
    "L2": (lambda hp: regularizers.L2(hp["l2"]), members(l2=L2)),
    "L1L2": (lambda hp: regularizers.L1L2(hp["l1"], hp["l2"]), members(l1=L1, l2=L2)),
    "tfopt's L1": (lambda hp: tfopt.regularizers.L1(hp["l1"]), members(l1=L1)),
    "tfopt's L2": (lambda hp: tfopt.regularizers.L2(hp["l2"]), members(l2=L2)),
    "tfopt's L1L2": (lambda hp: tfopt.regularizers.L1L2(hp["l1"], hp["l2"]), members(l1=L1, l2=L2)),
    "ElasticNet": (
        lambda hp: tfopt.regularizers.ElasticNet(hp["l1"], hp["ratio"]),
        members(l1=L1, ratio=(0.2, 0.9)),
    ),
    "TextbookL2": (lambda hp: tfopt.regularizers.TextbookL2(hp["l2"], num_samples=7), members(l2=L2)),
    "strength 0 beside others": (lambda hp: regularizers.L1L2(hp["l1"], 0.01), members(l1=(0.01, 0.0, 0.02))),
}


@pytest.mark.long("tfopt's L1", "tfopt's L2", "tfopt's L1L2", "L1", "L2")
@pytest.mark.slow
@pytest.mark.parametrize("name", PENALTIES)
def test_penalties(name, network, check):
    make, configurations = PENALTIES[name]

    def hidden(hp):
        return layers.Dense(8, "tanh", bias_initializer="ones", kernel_regularizer=make(hp), bias_regularizer=make(hp))

    check(network(hidden, optimizer=lambda hp: optimizers.SGD(0.1)), configurations)


def test_penalties_of_a_normalization(network, check):
    def hidden(hp):
        return layers.BatchNormalization(gamma_regularizer=regularizers.L2(hp["l2"]))

    check(network(dense, hidden, optimizer=lambda hp: optimizers.SGD(0.1)), members(l2=L2))


@pytest.mark.long("<lambda>1")
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [lambda hp: optimizers.SGD(hp["lr"], 0.9), lambda hp: optimizers.AdamW(hp["lr"])])
def test_rates_by_weight(optimizer, network, numpy_engine):
    """The callback that gives each weight a rate of its own, beside fits without it, against Keras's own `fit`."""

    def slow(lowest):
        thaw = tfopt.schedules.PolynomialDecay(lowest, 5, 1.0)
        return [tfopt.callbacks.LearningRateMultipliers({"kernel": 0.3, "bias": thaw}, depth_decay=0.5)]

    engine = numpy_engine(network(dense, optimizer=optimizer))
    requests = [FitRequest({"lr": lr}, 1, 2) for lr in (*SMALL, 0.01)]
    callbacks = [slow(0.1), slow(0.1), []]
    results = engine.fit(requests, callbacks)
    assert [(result.engine, result.reason) for result in results] == [("population", "")] * 3
    plain = PlainEngine(**engine.arguments()).fit([requests[0], requests[2]], [slow(0.1), []])
    for mine, theirs in zip([results[0], results[2]], plain, strict=True):
        for a, b in zip(mine.state, theirs.state, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(results[0].state, results[2].state, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop",
    [
        {"monitor": "loss", "patience": 2, "min_delta": 0.02},
        {"monitor": "val_loss", "mode": "max", "patience": 1, "start_from_epoch": 2},
        {"monitor": "val_loss", "baseline": 0.0, "patience": 3, "min_delta": 0.05},
        {"monitor": "val_loss", "patience": 2, "min_delta": 0.05, "restore_best_weights": True},
        {"monitor": "loss", "mode": "max", "patience": 9, "restore_best_weights": True},
        {"monitor": "val_accuracy", "patience": 2},
        {"monitor": "val_nothing", "mode": "min"},  # Keras warns
    ],
)
@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")
def test_early_stopping_ends_a_member_where_it_ends_a_fit(network, numpy_engine, assert_same, stop):
    engine = numpy_engine(network(dense, metrics=["accuracy"]))
    monitor = Monitor("val_loss", "min")
    requests = [FitRequest({"lr": lr}, 1, 7, predict=np.arange(9), monitor=monitor) for lr in (*SMALL, 0.3)]

    def stops():
        return [keras.callbacks.EarlyStopping(**stop), tfopt.callbacks.LearningRateMultipliers({"kernel": 0.5})]

    ended = []
    results = engine.fit(requests, [stops] * 3, lambda index, result: ended.append(index))
    assert [(result.engine, result.reason) for result in results] == [("population", "")] * 3
    for mine, theirs in zip(results, PlainEngine(**engine.arguments()).fit(requests, [stops] * 3), strict=True):
        assert len(mine.history["loss"]) == len(theirs.history["loss"])
        assert_same(mine, theirs, atol=1e-5)
    assert sorted(ended) == [0, 1, 2]
    assert any(len(result.history["loss"]) < 7 for result in results) == (stop.get("patience") in (1, 2, 3))


def test_early_stopping_that_asks_the_model_what_is_better_is_left_to_keras(network, numpy_engine):
    engine, stop = numpy_engine(network(dense)), keras.callbacks.EarlyStopping("val_score")
    found = dict(engine.stacked([FitRequest({"lr": 0.1}, 1, 1)], [[stop]]))
    assert found == {0: "it has callbacks of its own"}


def test_rates_by_weight_beside_other_callbacks_are_left_to_keras(network, numpy_engine):
    engine = numpy_engine(network(dense))
    callbacks = [tfopt.callbacks.LearningRateMultipliers({"kernel": 0.3}), keras.callbacks.TerminateOnNaN()]
    found = dict(engine.stacked([FitRequest({"lr": 0.1}, 1, 1)], [callbacks]))
    assert found == {0: "it has callbacks of its own"}
