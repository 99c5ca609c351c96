"""Small models, each with the hyperparameters that only change numbers in it."""

import keras
import numpy as np
import pytest

from tfopt.training.plain import PlainEngine
from tfopt.training.rows import Examples, row_order

layers, regularizers, optimizers = keras.layers, keras.regularizers, keras.optimizers
ROWS = 70  # two full batches of 32 and a partial one


def _compiled(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> keras.Model:
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def mlp(hp: dict) -> keras.Model:
    hidden = [layers.Dense(16, "relu", kernel_regularizer=regularizers.L2(hp["l2"])), layers.Dropout(hp["rate"])]
    return _compiled(keras.Sequential([keras.Input((16,)), *hidden, layers.Dense(4)]), optimizers.Adam(hp["lr"]))


def normalized(hp: dict) -> keras.Model:
    hidden = [layers.GaussianNoise(hp["noise"]), layers.Dense(16), layers.BatchNormalization(momentum=hp["momentum"])]
    model = keras.Sequential([keras.Input((16,)), *hidden, layers.ReLU(), layers.Dense(4)])
    return _compiled(model, optimizers.AdamW(hp["lr"], weight_decay=hp["decay"]))


def convolutional(hp: dict) -> keras.Model:
    hidden = [layers.Reshape((4, 4, 1)), layers.Conv2D(4, 2, activation="relu"), layers.SpatialDropout2D(hp["rate"])]
    schedule = optimizers.schedules.ExponentialDecay(hp["lr"], hp["steps"], hp["decay"])
    model = keras.Sequential([keras.Input((16,)), *hidden, layers.Flatten(), layers.Dense(4)])
    return _compiled(model, optimizers.SGD(schedule, momentum=hp["momentum"]))


def recurrent(hp: dict) -> keras.Model:
    hidden = [layers.Reshape((4, 4)), layers.LSTM(6, dropout=hp["rate"])]
    model = keras.Sequential([keras.Input((16,)), *hidden, layers.Dense(4)])
    return _compiled(model, optimizers.RMSprop(hp["lr"], rho=hp["rho"]))


def functional(hp: dict) -> keras.Model:
    inputs = keras.Input((16,))
    first = layers.Dense(8, "relu", kernel_regularizer=regularizers.L1L2(hp["l1"], hp["l2"]))(inputs)
    second = layers.Dense(8, "tanh", activity_regularizer=regularizers.L2(hp["l2"]))(inputs)
    outputs = layers.Dense(4)(layers.Dropout(hp["rate"])(layers.Concatenate()([first, second])))
    return _compiled(keras.Model(inputs, outputs), optimizers.Adam(hp["lr"], beta_1=hp["beta"], clipnorm=hp["clip"]))


MODELS = {
    "mlp": (
        mlp,
        [
            {"l2": 1e-4, "rate": 0.2, "lr": 1e-3},
            {"l2": 1e-2, "rate": 0.5, "lr": 1e-2},
            {"l2": 3e-3, "rate": 0.37, "lr": 3e-3},
        ],
    ),
    "normalized": (
        normalized,
        [
            {"noise": 0.1, "momentum": 0.9, "decay": 0.01, "lr": 1e-3},
            {"noise": 0.4, "momentum": 0.99, "decay": 0.1, "lr": 1e-2},
            {"noise": 0.23, "momentum": 0.77, "decay": 0.033, "lr": 3e-3},
        ],
    ),
    "convolutional": (
        convolutional,
        [
            {"rate": 0.1, "lr": 0.1, "steps": 10, "decay": 0.9, "momentum": 0.9},
            {"rate": 0.3, "lr": 0.03, "steps": 5, "decay": 0.5, "momentum": 0.5},
            {"rate": 0.23, "lr": 0.07, "steps": 7, "decay": 0.77, "momentum": 0.63},
        ],
    ),
    "recurrent": (
        recurrent,
        [
            {"rate": 0.1, "lr": 1e-3, "rho": 0.9},
            {"rate": 0.4, "lr": 1e-2, "rho": 0.8},
            {"rate": 0.23, "lr": 3e-3, "rho": 0.87},
        ],
    ),
    "functional": (
        functional,
        [
            {"l1": 1e-4, "l2": 1e-3, "rate": 0.1, "lr": 1e-3, "beta": 0.9, "clip": 0.5},
            {"l1": 1e-3, "l2": 1e-2, "rate": 0.4, "lr": 1e-2, "beta": 0.8, "clip": 2.0},
            {"l1": 3e-4, "l2": 3e-3, "rate": 0.23, "lr": 3e-3, "beta": 0.85, "clip": 0.1},
        ],
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (70, 16) and four classes that depend on them."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 16)).astype("float32")
    return x, np.argmax(x[:, :4] + 0.1 * random.normal(size=(ROWS, 4)), axis=1).astype("int32")


@pytest.fixture(params=list(MODELS))
def model(request):
    """Return a `build` and three configurations of it."""
    return MODELS[request.param]


@pytest.fixture
def mlp_model():
    """Return the first of them."""
    return MODELS["mlp"]


@pytest.fixture
def nothing_dense(monkeypatch):
    """Leave every population to a traced graph, as models are that NumPy does not train."""
    from tfopt.errors import CannotStack
    from tfopt.training import stack_pool

    def refuse(*_):
        raise CannotStack("this test wants a graph")

    monkeypatch.setattr(stack_pool.StackPool, "make_numpy_stack", refuse)


@pytest.fixture(scope="session")
def plain():
    """Return the maker of what Keras's own fits of an engine's requests give."""
    return plain_fits


def plain_fits(engine, requests):
    """Build and fit each request, step by step: `fit` itself would trace a graph for each of them."""

    def build(hp):
        model = engine.build(hp)
        model.run_eagerly = True
        return model

    arguments = engine.arguments() | {"build": build}
    return [PlainEngine(**arguments, fit=_stepwise(request.seed)).fit([request])[0] for request in requests]


def _stepwise(seed):
    def fit(
        _, model, x, y, sample_weight, batch_size, epochs, initial_epoch, shuffle, validation_data, callbacks, **__
    ):
        examples = Examples(x, y, sample_weight)
        order = row_order("once" if shuffle else False, seed, len(examples), 0)
        callbacks[0].set_model(model)
        for epoch in range(initial_epoch, epochs):
            logs = _over(model, model.train_step, examples, order, batch_size)
            if validation_data is not None:
                held = Examples(*validation_data)
                tests = _over(model, model.test_step, held, np.arange(len(held)), batch_size)
                logs |= {f"val_{name}": value for name, value in tests.items()}
            callbacks[0].on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        model.optimizer.finalize_variable_values(model.trainable_variables)  # averages of weights

    return fit


def _over(model, step, examples, order, batch_size):
    model.reset_metrics()
    for rows in np.split(order, range(batch_size, len(order), batch_size)):
        step(examples.take(rows))
    return dict(model.get_metrics_result())
