"""The trainers against `model.fit` itself."""

import keras
import numpy as np
import pytest

from tfopt.search.engine import DivergedError, PlainTrainer, Rows, SharedGraph, trainer_for

WIDTH = 5


@pytest.fixture(scope="module")
def rows() -> Rows:
    random = np.random.default_rng(0)
    x = random.normal(size=(43, WIDTH)).astype("float32")
    y = (x[:, :1] - 2 * x[:, 1:2] + random.normal(size=(43, 1)) / 10).astype("float32")
    return Rows(x, y, random.uniform(0.5, 1.5, 43).astype("float32"))


def build(optimizer=None, dropout=0.2) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((WIDTH,)),
            keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L1L2(1e-3, 1e-2)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(1),
        ]
    )
    schedule = keras.optimizers.schedules.PolynomialDecay(0.02, 12, 0.001)
    model.compile(optimizer or keras.optimizers.AdamW(schedule, weight_decay=0.1), "mse")
    return model


def fit_by_keras(rows: Rows, seed: int, epochs: int, batch_size: int, make=build) -> keras.Model:
    """Fit a fresh model in the order that the trainer draws from the seed."""
    keras.utils.set_random_seed(seed)
    model = make()
    order = np.random.default_rng(seed)
    for _ in range(epochs):
        chosen = order.permutation(len(rows))
        model.fit(
            rows.x[chosen],
            rows.y[chosen],
            sample_weight=rows.weights[chosen],
            batch_size=batch_size,
            shuffle=False,
            verbose=0,
        )
    return model


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(build, id="adamw"),
        pytest.param(lambda: build(keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)), id="momentum"),
        pytest.param(lambda: build(keras.optimizers.RMSprop(0.003, global_clipnorm=0.5)), id="rmsprop-clipped"),
    ],
)
def test_shared_graph_gives_the_weights_of_model_fit(rows, make):
    trainer = SharedGraph(make, WIDTH, batch_size=16, epochs=3, seeds=(5, 6))
    trainer.fit(rows, seed=6)  # another fit before must leave no trace
    trainer.fit(rows, seed=5)
    expected = fit_by_keras(rows, seed=5, epochs=3, batch_size=16, make=make)
    for mine, theirs in zip(trainer.model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(mine.value.numpy(), theirs.value.numpy(), rtol=2e-5, atol=2e-6, err_msg=mine.path)


def test_averaged_weights_are_taken_over_at_the_end_as_keras_does(rows):
    def make():
        return build(keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5))

    trainer = SharedGraph(make, WIDTH, batch_size=16, epochs=1)
    trainer.fit(rows, seed=0)
    expected = fit_by_keras(rows, seed=0, epochs=1, batch_size=16, make=make)
    np.testing.assert_allclose(trainer.predict(rows.x), expected.predict(rows.x, verbose=0), rtol=1e-4, atol=1e-6)


def test_a_fit_is_the_same_alone_and_in_company(rows):
    fewer = Rows(rows.x[:30], rows.y[:30], rows.weights[:30])
    alone = SharedGraph(build, WIDTH, batch_size=8, epochs=2, seeds=(3,))
    curve = alone.fit(fewer, seed=3)
    company = SharedGraph(build, WIDTH, batch_size=8, epochs=2, seeds=(1, 3))
    company.fit(rows, seed=1)
    assert company.fit(fewer, seed=3) == curve
    np.testing.assert_array_equal(company.predict(rows.x), alone.predict(rows.x))


def test_curve_holds_losses_and_the_rate_at_each_epochs_first_step(rows):
    trainer = SharedGraph(build, WIDTH, batch_size=16, epochs=4)
    curve = trainer.fit(rows, seed=0, validation=rows)
    schedule = keras.optimizers.schedules.PolynomialDecay(0.02, 12, 0.001)
    np.testing.assert_allclose(curve.learning_rate, [float(schedule(step)) for step in (0, 3, 6, 9)], rtol=1e-6)
    assert len(curve.loss) == 4
    squared_error = np.mean((trainer.predict(rows.x) - rows.y) ** 2)
    assert curve.val_loss == [pytest.approx(squared_error, rel=1e-5)], "validation loss has no penalty in it"


def test_patience_stops_when_validation_no_longer_improves(rows):
    trainer = SharedGraph(build, WIDTH, batch_size=16, epochs=200, patience=2)
    curve = trainer.fit(rows, seed=0, validation=Rows(rows.x, -rows.y, rows.weights))
    assert 3 <= len(curve.loss) < 200
    assert np.argmin(curve.val_loss) == len(curve.val_loss) - 3


def test_fewer_epochs_are_the_beginning_of_the_same_training(rows):
    trainer = SharedGraph(build, WIDTH, batch_size=16, epochs=4)
    assert trainer.fit(rows, seed=0, epochs=2).loss == trainer.fit(rows, seed=0).loss[:2]


def test_divergence_is_an_error_that_names_the_epoch(rows):
    trainer = SharedGraph(lambda: build(keras.optimizers.SGD(1e9), dropout=0.0), WIDTH, batch_size=16, epochs=30)
    with pytest.raises(DivergedError, match=r"in epoch \d+\. Lower the learning rate"):
        trainer.fit(rows, seed=0)


class DoubleStep(keras.Model):
    """A model whose `train_step` is its own."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        super().train_step(data)
        return super().train_step(data)


def compiled_double_step() -> keras.Model:
    model = DoubleStep()
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def test_a_train_step_of_the_users_own_is_trained_by_keras(rows):
    trainer = trainer_for(compiled_double_step, width=WIDTH, batch_size=43, epochs=1)
    assert isinstance(trainer, PlainTrainer)
    trainer.fit(rows, seed=0)
    assert int(trainer.model.optimizer.iterations) == 2
    first = trainer.predict(rows.x)
    trainer.fit(rows, seed=0)
    np.testing.assert_array_equal(trainer.predict(rows.x), first)


def test_models_that_cannot_be_trained_are_refused_at_once():
    with pytest.raises(TypeError, match=r"must return a keras\.Model"):
        SharedGraph(lambda: None, WIDTH, batch_size=4, epochs=1)
    with pytest.raises(ValueError, match="not compiled"):
        SharedGraph(lambda: keras.Sequential([keras.layers.Dense(1)]), WIDTH, batch_size=4, epochs=1)


def test_building_leaves_pythons_and_numpys_random_streams_alone():
    np.random.seed(1)
    expected = np.random.RandomState(1).uniform()
    SharedGraph(build, WIDTH, batch_size=4, epochs=1)
    assert np.random.uniform() == expected


def test_mixed_precision_trains_with_loss_scaling(rows):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        trainer = SharedGraph(lambda: build(keras.optimizers.Adam(0.01)), WIDTH, batch_size=16, epochs=20)
        curve = trainer.fit(rows, seed=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert type(trainer.model.optimizer).__name__ == "LossScaleOptimizer"
    assert curve.loss[-1] < curve.loss[0]
